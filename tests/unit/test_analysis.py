"""The judging of analyses: pure, over any measurements, and the questions that are asked for them."""

from __future__ import annotations

import random
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.ecs import analysis, gate, metrics
from orchestrator.ecs.analysis import Measurement, Outcome, Question, State
from orchestrator.ecs.followed import Stage
from orchestrator.ecs.strategy import ROLLING
from orchestrator.errors import AwsError, PreconditionError
from orchestrator.events import Measured, PauseContinued, Warned
from orchestrator.report import json_lines, text
from orchestrator.settings_analysis import AnalysisSettings

RATE = {
    "name": "errors",
    "expression": "100 * FILL(errors, 0) / requests",
    "success": "value < 1",
    "queries": {
        "errors": {
            "namespace": "AWS/ApplicationELB",
            "metric": "HTTPCode_Target_5XX_Count",
            "statistic": "Sum",
        },
        "requests": {
            "namespace": "AWS/ApplicationELB",
            "metric": "RequestCount",
            "statistic": "Sum",
            "dimensions": {"TargetGroup": "$TARGET_GROUP", "LoadBalancer": "$LOAD_BALANCER"},
        },
    },
}
LATENCY = {
    "name": "latency",
    "namespace": "Shop",
    "metric": "Latency",
    "statistic": "p99",
    "success": "value < 1",
}
OUTCOMES = st.sampled_from(Outcome)
TARGETS = {"TARGET_GROUP": "targetgroup/green/2", "LOAD_BALANCER": "app/shop/3"}


def made(**changes) -> AnalysisSettings:
    return AnalysisSettings.model_validate(LATENCY | changes)


def series(*outcomes: Outcome) -> list[Measurement]:
    return [Measurement(60 * (number + 1), outcome, (1.5,)) for number, outcome in enumerate(outcomes)]


S, F, I, E = Outcome.SUCCESS, Outcome.FAILURE, Outcome.INCONCLUSIVE, Outcome.ERROR  # noqa: E741

# --- judging


@pytest.mark.parametrize(
    ("settings", "outcomes", "state"),
    [
        ({"count": 3}, [S, S], State.RUNNING),
        ({"count": 3}, [S, S, S], State.PASSED),
        ({"count": 0}, [S] * 50, State.RUNNING),
        ({"count": 3}, [S, F], State.FAILED),
        ({"count": 3, "failure_limit": 1}, [S, F, S, S], State.PASSED),
        ({"count": 3, "failure_limit": 1}, [S, F, S, F, S], State.FAILED),
        ({"count": 3}, [S, I], State.INCONCLUSIVE),
        ({"count": 2, "inconclusive_limit": 2}, [I, I, S, S], State.PASSED),
        ({"count": 2, "inconclusive_limit": 2}, [I, I, S, I], State.INCONCLUSIVE),
        ({"count": 2, "error_limit": 1}, [E, S, E, S], State.PASSED),
        ({"count": 2, "error_limit": 1}, [E, S, E, E], State.INCONCLUSIVE),
        ({"count": 1, "error_limit": 0}, [E], State.INCONCLUSIVE),
        ({"count": 2, "failure_limit": 0, "inconclusive_limit": 0}, [I, F], State.FAILED),
        ({"count": 1}, [], State.RUNNING),
    ],
)
def test_what_measurements_come_to(settings, outcomes, state):
    assert analysis.judge(made(**settings), series(*outcomes)).state is state


@given(
    st.lists(OUTCOMES, max_size=40),
    st.integers(0, 6),
    st.integers(0, 3),
    st.integers(0, 3),
    st.integers(0, 3),
    st.randoms(use_true_random=False),
)
def test_limits_hold_for_any_measurements_in_any_order(
    outcomes, count, failures, inconclusives, errors, chance
):
    one = made(count=count, failure_limit=failures, inconclusive_limit=inconclusives, error_limit=errors)
    taken = series(*outcomes)
    said = analysis.judge(one, taken)
    shuffled = random.Random(chance.random()).sample(
        [*taken, *taken[: len(taken) // 2]], len(taken) + len(taken) // 2
    )
    assert analysis.judge(one, shuffled) == said
    if said.state is State.PASSED:
        assert count > 0
        assert outcomes.count(S) >= count
        assert outcomes.count(F) <= failures
        assert outcomes.count(I) <= inconclusives
    if outcomes.count(F) > failures:
        assert said.state is State.FAILED
        assert f"{outcomes.count(F)} measurement" in said.reason
    if said.state is State.FAILED:
        # More measurements make no failed analysis good.
        more = [Measurement(9_000 + 60 * number, S) for number in range(10)]
        assert analysis.judge(one, [*taken, *more]).state is State.FAILED


def test_of_two_measurements_of_the_same_period_the_worse_counts():
    both = [Measurement(60, S, (0.1,)), Measurement(60, F, (9.0,)), Measurement(60, E)]
    assert analysis.judge(made(count=1), both).state is State.FAILED
    assert analysis.judge(made(count=1), [Measurement(60, E), Measurement(60, S)]).state is State.PASSED


@pytest.mark.parametrize(
    ("settings", "values", "outcome"),
    [
        ({}, [0.5], S),
        ({}, [1.0], F),
        ({}, [0.1, 2.0], F),
        ({"failure": "value > 5"}, [3.0], I),
        ({"failure": "value > 5"}, [6.0], F),
        ({"failure": "value > 5"}, [0.5, 3.0], I),
        ({"failure": "value > 0"}, [0.5], F),
        ({}, [], I),
        ({"on_no_data": "success"}, [], S),
        ({"on_no_data": "failure"}, [], F),
        ({}, [float("nan")], I),
        ({}, [float("inf"), 0.5], S),
    ],
)
def test_what_values_are_worth(settings, values, outcome):
    assert analysis.measure(made(**settings), 60, values).outcome is outcome


def test_a_failure_names_the_metric_the_values_and_the_condition():
    one = made(failure_limit=1)
    taken = [analysis.measure(one, 60 * n, [value]) for n, value in ((1, 2.71828), (2, 0.1), (3, 12345.6))]
    assert analysis.judge(one, taken).reason == (
        "analysis latency: p99 of Shop/Latency was 2.718, 1.235e+04 and must be `value < 1`;"
        " 2 measurements failed, and 1 may"
    )


# --- when to ask


def test_only_periods_that_began_in_the_stage_have_ended_and_may_be_published_are_asked_for():
    one = made(period_s=60, interval_s=60, delay_s=60)
    # The stage began at second 10 of a minute: that minute still holds the old revision's.
    assert analysis.next_end(one, 610.0, None) == 720
    assert analysis.due_end(one, 610.0, None, 779.9) is None
    assert analysis.due_end(one, 610.0, None, 780.0) == 720
    assert analysis.due_end(one, 610.0, 720, 839.9) is None
    assert analysis.due_end(one, 610.0, 720, 840.0) == 780
    assert analysis.next_end(made(initial_delay_s=100), 610.0, None) == 780


def test_after_a_gap_the_newest_period_is_asked_for():
    assert analysis.due_end(made(), 0.0, 60, 1000.0) == 900


@given(
    st.sampled_from([1, 10, 60, 300]),
    st.integers(0, 3600),
    st.integers(0, 600),
    st.floats(0, 1e6, allow_nan=False),
    st.lists(st.floats(0.1, 2000), min_size=1, max_size=30),
)
def test_no_period_is_asked_for_twice_or_before_its_time(period, more, delay, began, steps):
    one = made(period_s=period, interval_s=period + more, delay_s=delay)
    last, now = None, began
    for step in steps:
        now += step
        end = analysis.due_end(one, began, last, now)
        if end is None:
            continue
        assert end % period == 0
        assert began <= end - period
        assert end + delay <= now
        assert last is None or end >= last + one.interval_s
        last = end


# --- what is asked


def test_one_call_asks_for_all_and_keeps_their_names_apart():
    questions = [
        Question(AnalysisSettings.model_validate(RATE), 600, TARGETS),
        Question(made(), 660),
        Question(AnalysisSettings.model_validate(RATE), 600, TARGETS),
    ]
    asked = analysis.request(questions)
    queries = {query["Id"]: query for query in asked["MetricDataQueries"]}
    assert len(queries) == len(asked["MetricDataQueries"]) == 7
    assert queries["q0"]["Expression"] == "100 * FILL(q0_errors, 0) / q0_requests"
    assert queries["q2"]["Expression"] == "100 * FILL(q2_errors, 0) / q2_requests"
    assert queries["q0_requests"]["MetricStat"]["Metric"]["Dimensions"] == [
        {"Name": "TargetGroup", "Value": "targetgroup/green/2"},
        {"Name": "LoadBalancer", "Value": "app/shop/3"},
    ]
    assert [query["Id"] for query in asked["MetricDataQueries"] if query["ReturnData"]] == ["q0", "q1", "q2"]
    assert (asked["StartTime"], asked["EndTime"]) == (
        datetime.fromtimestamp(540, UTC),
        datetime.fromtimestamp(660, UTC),
    )


def test_start_time_is_a_multiple_of_every_period():
    both = [Question(made(period_s=300, interval_s=300), 900), Question(made(), 1020)]
    assert analysis.request(both)["StartTime"] == datetime.fromtimestamp(600, UTC)


def test_names_in_quotes_and_parts_of_names_stay():
    changes = {
        "expression": "e + errors_2 - SEARCH('{A,e} e', \"e\")",
        "queries": {"e": RATE["queries"]["errors"]},
    }
    one = AnalysisSettings.model_validate(RATE | changes)
    (_, asked) = analysis.request([Question(one, 60)])["MetricDataQueries"]
    assert asked["Expression"] == "q0_e + errors_2 - SEARCH('{A,e} e', \"e\")"


def test_a_call_holds_500_queries_and_one_sql_query_at_most():
    many = [Question(AnalysisSettings.model_validate(RATE), 60, TARGETS)] * 200
    assert [len(batch) for batch in analysis.batches(many)] == [166, 34]
    sql = AnalysisSettings.model_validate(
        {"name": "sql", "success": "value < 1", "expression": 'SELECT MAX(Latency) FROM "Shop"'}
    )
    mixed = [Question(sql, 60), Question(made(), 60), Question(sql, 60)]
    assert list(analysis.batches(mixed)) == [[0, 1], [2]]
    assert list(analysis.batches([])) == []


def result(number: int, *points: tuple[int, float], code: str = "Complete", **more):
    stamps = [datetime.fromtimestamp(at, UTC) for at, _ in points]
    return {
        "Id": f"q{number}",
        "Timestamps": stamps,
        "Values": [v for _, v in points],
        "StatusCode": code,
        **more,
    }


def test_only_the_values_of_the_period_count():
    question = Question(made(), 120)
    assert analysis.values(
        question, 0, [result(0, (0, 9.0), (60, 1.0), (120, 9.0)), result(1, (60, 9.0))]
    ) == (1.0,)
    assert analysis.values(question, 0, [result(0)]) == ()
    assert analysis.values(question, 0, [result(0, (60, 1.0)), result(0, (60, 2.0))]) == (1.0, 2.0)
    bad = result(0, code="InternalError", Messages=[{"Code": "x", "Value": "try again"}])
    assert analysis.values(question, 0, [bad]) == "CloudWatch answered InternalError: try again"
    assert analysis.values(question, 0, []) == "CloudWatch answered no result"


@pytest.mark.parametrize(
    ("arn", "name"),
    [
        (
            "arn:aws:elasticloadbalancing:eu-central-1:1:listener-rule/app/shop/50dc6c495c0c9188/f2f7dc8efc522ab2/9683b2d0",
            "app/shop/50dc6c495c0c9188",
        ),
        ("arn:aws:elasticloadbalancing:eu-central-1:1:listener/net/shop/50dc/f2f7", "net/shop/50dc"),
    ],
)
def test_the_load_balancers_name_is_part_of_its_listeners_arn(arn, name):
    assert analysis.load_balancer_name(arn) == name


def test_the_target_groups_name_is_the_end_of_its_arn():
    arn = "arn:aws:elasticloadbalancing:eu-central-1:1:targetgroup/green/73e2d6bc24d8a067"
    assert analysis.target_group_name(arn) == "targetgroup/green/73e2d6bc24d8a067"


# --- reading


class CloudWatch:
    """Answers by a script: an exception, or pages."""

    def __init__(self, *answers):
        self.answers, self.asked = list(answers), []

    def get_metric_data(self, **request):
        self.asked.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def refused(code: str) -> Exception:
    from botocore.exceptions import ClientError

    return ClientError({"Error": {"Code": code, "Message": "no"}}, "GetMetricData")


def test_pages_are_put_together():
    cloudwatch = CloudWatch(
        {"MetricDataResults": [result(0, (0, 1.0), code="PartialData")], "NextToken": "more"},
        {"MetricDataResults": [result(1, (0, 2.0)), result(0)]},
    )
    assert metrics.read(cloudwatch, [Question(made(), 60), Question(made(), 60)]) == [(1.0,), (2.0,)]
    assert cloudwatch.asked[1]["NextToken"] == "more"


def test_a_throttled_call_is_an_error_for_each_question_and_not_repeated():
    cloudwatch = CloudWatch(refused("Throttling"))
    found = metrics.read(cloudwatch, [Question(made(), 60), Question(made(), 60)])
    assert found == ["cloudwatch:GetMetricData failed: Throttling: no"] * 2


def test_a_question_that_cloudwatch_refuses_spoils_no_other():
    cloudwatch = CloudWatch(
        refused("ValidationError"), refused("ValidationError"), {"MetricDataResults": [result(0, (0, 1.0))]}
    )
    found = metrics.read(cloudwatch, [Question(made(), 60), Question(made(), 60)])
    assert found == ["cloudwatch:GetMetricData failed: ValidationError: no", (1.0,)]


# --- the gate


class Story:
    """A gate whose clock and whose answers the test sets."""

    def __init__(self, *analyses: AnalysisSettings):
        self.now, self.events, self.asked, self.continued = 1000.0, [], [], []
        self.answer = lambda _question: (0.5,)
        self.refuse = None
        self.targets = lambda _arn: TARGETS
        self.gate = gate.Gate(
            self.events.append,
            read=self.read,
            now=lambda: self.now,
            find_targets=self.find_targets,
            resume=self.resume,
        )
        self.gate.add("web", analyses, {"SERVICE": "web"})

    def read(self, questions):
        self.asked.append(list(questions))
        return [self.answer(question) for question in questions]

    def find_targets(self, arn):
        return self.targets(arn)

    def resume(self, arn, hook):
        if self.refuse is not None:
            raise self.refuse
        self.continued.append((arn, hook))

    def look(self, seconds: float, stage: str = "BAKE_TIME", percent: float = 100.0, pauses=()) -> str:
        """Looks every 5 s for so long, and returns why to roll back."""
        said = {}
        for _ in range(int(seconds / 5)):
            said = self.gate.judge({"web": Stage(ROLLING, stage, percent, bool(pauses), "arn:web", pauses)})
            self.now += 5
        return said.get("web", "")

    def told(self, kind):
        return [event for event in self.events if isinstance(event, kind)]

    def measured(self):
        return self.told(Measured)


def test_measurements_are_taken_in_the_stages_alone_and_told():
    story = Story(made(count=3))
    assert story.look(600, "SCALE_UP") == ""
    assert story.asked == []
    assert story.look(600) == ""
    assert [event.outcome for event in story.measured()] == ["success"] * 3
    assert [(event.successes, event.count, event.state) for event in story.measured()] == [
        (1, 3, "running"),
        (2, 3, "running"),
        (3, 3, "passed"),
    ]
    first = story.measured()[0]
    # The stage began in the minute until 1620, and 60 s later the one after it may be published.
    assert (first.ended_at, first.stage, first.values) == ("1970-01-01T00:28:00+00:00", "BAKE_TIME", (0.5,))


def test_a_failure_asks_for_a_rollback_until_it_happens_and_measures_no_more():
    story = Story(made(failure_limit=1), made(name="other"))
    story.answer = lambda question: (2.0,) if question.analysis.name == "latency" else (0.0,)
    assert "was 2, 2 and must be `value < 1`" in story.look(400)
    assert [len(questions) for questions in story.asked] == [2, 2]


def test_inconclusive_rolls_back_or_is_told_as_the_settings_say():
    story = Story(made())
    story.answer = lambda _question: ()
    said = story.look(300)
    assert "said neither yes nor no (no data)" in said
    story = Story(made(on_inconclusive="continue"))
    story.answer = lambda _question: ()
    assert story.look(600, "POST_PRODUCTION_TRAFFIC_SHIFT", pauses=("hook-1",)) == ""
    assert [event.message for event in story.told(Warned)] == [said]
    # Nobody knows how the revision does: the pause is left to people.
    assert story.continued == []


def test_errors_are_borne_up_to_the_limit():
    story = Story(made(count=2, error_limit=2))
    answers = iter(["Throttling", "Throttling", (0.1,), "Throttling", (0.2,)])
    story.answer = lambda _question: next(answers)
    assert story.look(600) == ""
    assert [event.state for event in story.measured()][-1] == "passed"
    story = Story(made(count=2, error_limit=1))
    story.answer = lambda _question: "Throttling"
    assert story.look(600) == "analysis latency: 2 errors on end, the last: Throttling"


def test_a_pause_is_continued_once_when_all_have_passed_and_then_measured_anew():
    story = Story(made(count=1, continue_when_passed=True), made(name="other", count=2))
    paused = {"stage": "POST_PRODUCTION_TRAFFIC_SHIFT", "pauses": ("hook-1",)}
    assert story.look(180, **paused) == ""
    assert story.continued == []
    story.look(120, **paused)
    assert story.continued == [("arn:web", "hook-1")]
    (told,) = story.told(PauseContinued)
    assert (told.stage, told.reason) == (
        "POST_PRODUCTION_TRAFFIC_SHIFT",
        "analysis latency: 1 measurement succeeded; analysis other: 2 measurements succeeded",
    )
    story.events.clear()
    story.answer = lambda _question: (5.0,)
    assert story.look(200) != ""
    assert [event.stage for event in story.measured()] == ["BAKE_TIME"] * 2
    # ECS may still show the pause a while later.
    assert len(story.continued) == 1


def test_a_pause_that_cannot_be_continued_is_told_once_and_tried_again():
    story = Story(made(count=1, continue_when_passed=True))
    story.refuse = AwsError("ecs:ContinueServiceDeployment failed: Throttling", code="ThrottlingException")
    paused = {"stage": "POST_PRODUCTION_TRAFFIC_SHIFT", "pauses": ("hook-1",)}
    story.look(300, **paused)
    assert [event.message for event in story.told(Warned)] == [
        "web could not be continued: ecs:ContinueServiceDeployment failed: Throttling"
    ]
    story.refuse = None
    story.look(5, **paused)
    assert story.continued == [("arn:web", "hook-1")]


def test_a_pause_is_left_to_people_unless_an_analysis_continues_it():
    story = Story(made(count=1))
    story.look(600, "POST_PRODUCTION_TRAFFIC_SHIFT", pauses=("hook-1",))
    assert story.measured()[-1].state == "passed"
    assert story.continued == []
    story = Story(made(count=1, continue_when_passed=True))
    story.look(600, "POST_TEST_TRAFFIC_SHIFT", 0.0, pauses=("hook-1",))
    assert story.continued == []


def test_before_the_first_shift_there_is_nothing_to_measure():
    story = Story(made(count=1, continue_when_passed=True))
    story.look(300, "PRE_PRODUCTION_TRAFFIC_SHIFT", 0.0, ("hook-1",))
    assert (story.continued, story.asked) == ([("arn:web", "hook-1")], [])
    story.look(100, "PRODUCTION_TRAFFIC_SHIFT", 5.0)
    story.look(100, "PRE_PRODUCTION_TRAFFIC_SHIFT", 5.0, ("hook-2",))
    assert story.continued[1:] == [("arn:web", "hook-2")]
    assert [event.reason for event in story.told(PauseContinued)] == [
        "no production traffic yet, and nothing to measure",
        "analysis latency: 1 measurement succeeded",
    ]


def test_a_deployment_that_ends_too_early_for_its_analysis_is_told():
    story = Story(made(count=5))
    story.look(210)
    story.gate.end("web", has_succeeded=True)
    (warned,) = story.told(Warned)
    assert "analysis latency had 2 of 5 successful measurements" in warned.message
    story = Story(made(count=5))
    story.gate.end("web", has_succeeded=False)
    assert story.events == []


def test_a_deployment_that_was_faster_than_its_rollback_is_told():
    story = Story(made())
    story.answer = lambda _question: (2.0,)
    reason = story.look(150)
    story.gate.end("web", has_succeeded=True)
    (warned,) = story.told(Warned)
    assert warned.message == f"web: {reason}; ECS completed the deployment before it could be rolled back"


def test_a_target_group_that_is_not_known_is_an_error_of_that_analysis_alone_and_asked_for_again():
    def unknown(_arn):
        raise PreconditionError("no target group")

    story = Story(AnalysisSettings.model_validate(RATE), made())
    story.targets = unknown
    story.look(185)
    assert [(event.analysis, event.outcome, event.detail) for event in story.measured()] == [
        ("errors", "error", "no target group"),
        ("latency", "success", ""),
    ]
    story.targets = lambda arn: TARGETS if arn == "arn:web" else {}
    story.look(60)
    assert story.asked[-1][0].texts == {"SERVICE": "web", **TARGETS}


def test_services_are_asked_for_together():
    story = Story(made())
    story.gate.add("api", [made()], {})
    stages = {
        "web": Stage(ROLLING, "BAKE_TIME", 100, False),
        "api": Stage(ROLLING, "PRODUCTION_TRAFFIC_SHIFT", 5, False),
    }
    for _ in range(42):
        assert story.gate.judge(stages | {"unmeasured": stages["web"]}) == {}
        story.now += 5
    assert [len(questions) for questions in story.asked] == [2, 2]


# --- telling


MEASURED = Measured(
    "web",
    "errors",
    "BAKE_TIME",
    "2026-01-01T00:01:00+00:00",
    (0.41999,),
    "success",
    "value < 1",
    "",
    2,
    5,
    0,
    0,
    "running",
)


def test_a_measurement_is_one_line():
    assert text.event_lines(MEASURED) == ["    ✓ web: errors 0.42 (value < 1), 2 of 5"]
    parsed = __import__("json").loads(json_lines.line(MEASURED))
    assert (parsed["type"], parsed["analysis"], parsed["values"], parsed["state"]) == (
        "measured",
        "errors",
        [0.41999],
        "running",
    )


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        (
            {"outcome": "failure", "values": (3.0, 4.0), "failures": 1, "failure_limit": 2},
            "    ✗ web: errors 3, 4 (value < 1), 2 of 5, 1 failed and 2 may",
        ),
        (
            {"outcome": "inconclusive", "values": (), "count": 0, "failure": "value > 9"},
            "    ? web: errors no data (value < 1, fails at value > 9), 2 so far",
        ),
        (
            {"outcome": "error", "detail": "Rate exceeded"},
            "    ! web: errors could not be measured: Rate exceeded",
        ),
    ],
)
def test_what_is_not_well_says_so(changes, line):
    from dataclasses import replace

    assert text.event_lines(replace(MEASURED, **changes)) == [line]
