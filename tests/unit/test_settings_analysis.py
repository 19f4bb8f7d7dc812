"""[[services.NAME.analysis]] of orch.toml: what is read, and what is refused with its place."""

from __future__ import annotations

import tomllib

import pytest

from orchestrator import settings
from orchestrator.errors import SettingsError
from orchestrator.settings_analysis import AnalysisSettings, fill

HEAD = """project = "demo"
region = "eu-central-1"
environments.dev.account_id = "111111111111"

[services.web]
strategy = { type = "canary", pause_at = ["POST_PRODUCTION_TRAFFIC_SHIFT"] }

"""
RATE = """[[services.web.analysis]]
name = "errors"
expression = "100 * FILL(errors, 0) / requests"
success = "value < 1"
count = 3

[services.web.analysis.queries.errors]
namespace = "AWS/ApplicationELB"
metric = "HTTPCode_Target_5XX_Count"
statistic = "Sum"
dimensions = { TargetGroup = "$TARGET_GROUP", LoadBalancer = "$LOAD_BALANCER" }

[services.web.analysis.queries.requests]
namespace = "AWS/ApplicationELB"
metric = "RequestCount"
statistic = "Sum"
dimensions = { TargetGroup = "$TARGET_GROUP", LoadBalancer = "$LOAD_BALANCER" }

"""
LATENCY = """[[services.web.analysis]]
name = "latency"
namespace = "Shop"
metric = "Latency"
statistic = "p99"
success = "value < 1"
"""


def load(folder, text: str) -> settings.Settings:
    path = folder / "orch.toml"
    path.write_text(text)
    return settings.load(path)


def problems(folder, text: str) -> tuple[str, ...]:
    with pytest.raises(SettingsError) as caught:
        load(folder, text)
    assert caught.value.exit_code == 2
    return caught.value.details


def test_several_analyses_are_read_with_their_queries(tmp_path):
    rate, latency = load(tmp_path, HEAD + RATE + LATENCY).services["web"].analysis
    assert rate.queries["requests"].metric == "RequestCount"
    assert (rate.count, rate.interval_s, rate.failure_limit, rate.error_limit) == (3, 60, 0, 4)
    assert (latency.statistic, latency.on_no_data, latency.on_inconclusive) == (
        "p99",
        "inconclusive",
        "rollback",
    )
    assert latency.during == [
        "PRE_PRODUCTION_TRAFFIC_SHIFT",
        "PRODUCTION_TRAFFIC_SHIFT",
        "POST_PRODUCTION_TRAFFIC_SHIFT",
        "BAKE_TIME",
    ]


def test_a_wrong_condition_is_told_with_its_line(tmp_path):
    (first, second) = problems(
        tmp_path, HEAD + RATE.replace("value < 1", "value <") + LATENCY.replace("value < 1", "valeu < 1")
    )
    assert first == (
        "line 11: services.web.analysis.0.success: 'value <' is no condition;"
        " write a comparison of `value` with a number, such as value < 0.01"
    )
    assert second.startswith("line 31: services.web.analysis.1.success: 'valeu < 1': 'valeu' is neither")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ('statistic = "p99"|statistic = "avg"', "must be a statistic of CloudWatch such as Sum"),
        ('metric = "Latency"|', "needs either metric (with namespace), or expression"),
        ('namespace = "Shop"|', "namespace: is required with metric"),
        ('"Shop"|"$SHOP"', "there is no placeholder $SHOP; there are $TARGET_GROUP,"),
        ('"Shop"|"Shop"\nperiod_s = 90', "must be a multiple of 60"),
        ('"Shop"|"Shop"\ninterval_s = 30', "interval_s: 30 is shorter than period_s, 60"),
        ('"Shop"|"Shop"\ncontinue_when_passed = true', "continue_when_passed: needs count"),
        ('"Shop"|"Shop"\nduring = ["BAKING"]', "input should be 'POST_SCALE_UP'"),
        ('"Shop"|"Shop"\nduring = []', "at least 1 item"),
        ('"latency"|"La tency"', "must be at most 32 lower-case letters"),
        ('"Shop"|"Shop"\ncoutn = 3', "unknown key"),
        (
            'namespace = "Shop"\nmetric = "Latency"|expression = "a + b"',
            "the metrics that the expression names are missing",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path, change, said):
    before, _, after = change.partition("|")
    (found,) = problems(tmp_path, HEAD + LATENCY.replace(before, after))
    assert said in found
    assert "services.web.analysis.0" in found
    assert found.startswith("line ")


def test_an_expression_may_be_sql_without_queries_but_not_take_in_all_queries(tmp_path):
    sql = LATENCY.replace(
        'namespace = "Shop"\nmetric = "Latency"', "expression = 'SELECT MAX(Latency) FROM \"Shop\"'"
    )
    assert load(tmp_path, HEAD + sql).services["web"].analysis[0].expression.startswith("SELECT")
    (found,) = problems(tmp_path, HEAD + RATE.replace("FILL(errors, 0)", "SUM(METRICS())"))
    assert "METRICS() takes in what others measure" in found


def test_two_of_one_name_are_refused(tmp_path):
    (found,) = problems(tmp_path, HEAD + LATENCY + LATENCY)
    assert "two analyses are called `latency`" in found


@pytest.mark.parametrize("table", ["", 'strategy = { type = "rolling" }\n'])
def test_a_rolling_service_has_nothing_to_measure_in(tmp_path, table):
    head = HEAD[: HEAD.index("strategy")] + table
    (found,) = problems(tmp_path, head + "\n" + LATENCY)
    assert "services.web.analysis: a rolling deployment has no stage to measure in" in found
    assert "use deployment alarms" in found


def test_one_environment_in_stages_is_enough(tmp_path):
    head = HEAD[: HEAD.index("strategy")] + "\n"
    prod = '[environments.prod]\naccount_id = "111111111111"\nstrategy.web = { type = "linear" }\n'
    assert load(tmp_path, head + LATENCY + prod).services["web"].analysis


def test_continuing_needs_a_pause_in_a_stage_that_is_measured(tmp_path):
    wants = RATE.replace("count = 3", "count = 3\ncontinue_when_passed = true")
    assert load(tmp_path, HEAD + wants).services["web"].analysis[0].continue_when_passed
    (found,) = problems(tmp_path, HEAD.replace("POST_PRODUCTION_TRAFFIC_SHIFT", "PRE_SCALE_UP") + wants)
    assert "no strategy of web pauses in one of its stages" in found


def test_placeholders_are_filled():
    assert fill("$SERVICE/$$5/$CLUSTER", {"SERVICE": "web", "CLUSTER": "main"}) == "web/$5/main"


def test_the_schema_describes_every_key():
    keys = settings.json_schema()["$defs"]["AnalysisSettings"]["properties"]
    assert all("description" in key for key in keys.values())
    assert set(keys) == set(AnalysisSettings.model_fields)


def test_the_example_in_the_readme_is_read(tmp_path):
    from pathlib import Path

    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    example = next(block for block in readme.split("```toml\n") if "[[services.hello.analysis]]" in block)
    text = (
        HEAD.replace("services.web", "services.hello").split("\n[services", 1)[0]
        + "\n"
        + example.split("```")[0]
    )
    assert tomllib.loads(text)["services"]["hello"]["analysis"]
    assert load(tmp_path, text).services["hello"].analysis[0].continue_when_passed
