"""Scenarios: the catalogue, what is set, and how it is used up. No sandbox runs."""

from __future__ import annotations

import pytest

from orchestrator.sandbox import scenario
from orchestrator.sandbox.scenario import Place, Scenarios, UnknownBehaviourError
from orchestrator.sandbox.tasks import TaskLife, Timing, service_fate

TIMING = Timing(4.0)
WEB = Place("111111111111", "eu-central-1", "main:web")
API = Place("222222222222", "eu-central-1", "main:api")
ARGUMENTS = {"exit": "3", "slow": "30"}


@pytest.mark.parametrize(
    "one", [one for one in scenario.CATALOGUE if one.kind == "tasks"], ids=lambda one: one.name
)
def test_every_behaviour_of_tasks_is_one_that_a_task_can_live(one: scenario.Behaviour) -> None:
    argument = ARGUMENTS.get(one.name, "")
    found, given = scenario.find(f"{one.name}:{argument}" if argument else one.name)
    assert (found, given) == (one, argument)
    fate = service_fate(f"{one.name}:{argument}" if argument else one.name, "image", TIMING)
    said = fate.start_failure.stopped_reason if fate.start_failure else ""
    assert "not known to the sandbox" not in said


@pytest.mark.parametrize(
    ("wanted", "name", "argument"),
    [
        ("exit:3", "exit", "3"),
        ("elb-unhealthy", "elb-unhealthy", ""),
        ("elb-unhealthy:503", "elb-unhealthy", "503"),
        ("throttle:30%", "throttle", "30"),
        ("scale:0", "scale", "0"),
        ("alarm:errors", "alarm", "errors"),
    ],
)
def test_a_behaviour_is_found_with_its_argument(wanted: str, name: str, argument: str) -> None:
    found, given = scenario.find(wanted)
    assert (found.name, given) == (name, argument)


@pytest.mark.parametrize(
    ("wanted", "message", "hint"),
    [
        ("crsh", "knows no behaviour 'crsh'", "did you mean crash?"),
        ("zzz", "knows no behaviour 'zzz'", "scenario list"),
        ("exit", "its argument is missing", "write `exit CODE`"),
        ("throttle:0", "'0' is no argument", "PERCENT%"),
        ("throttle:101%", "'101' is no argument", "PERCENT%"),
        ("slow:soon", "'soon' is no argument", "SECONDS"),
        ("slow:0", "'0' is no argument", "SECONDS"),
        ("crash:7", "'7' is no argument", "write `crash`"),
    ],
)
def test_a_wrong_behaviour_is_refused_with_what_would_do(wanted: str, message: str, hint: str) -> None:
    with pytest.raises(UnknownBehaviourError) as refused:
        scenario.find(wanted)
    assert message in refused.value.message
    assert hint in refused.value.hint


def test_a_script_is_for_the_tasks_of_the_next_deployment_alone() -> None:
    scenarios = Scenarios()
    scenarios.script(WEB, "crash", None)
    assert next(scenarios.shown()).applies_to == "every task of the next deployment"
    assert [scenarios.next_start(WEB, name) for name in ("two", "two", "one", "two")] == [
        "crash",
        "crash",
        None,
        "crash",
    ]
    assert scenarios.next_start(API, "two") is None
    assert next(scenarios.shown()).applies_to == "every task of deployment two"


def test_a_script_with_a_count_is_for_so_many_starts_of_whatever_deployment() -> None:
    scenarios = Scenarios()
    scenarios.script(WEB, "exit:3", 2)
    assert [scenarios.next_start(WEB, name) for name in ("one", "two", "two")] == ["exit:3", "exit:3", None]
    assert list(scenarios.shown()) == []


def test_throttling_spreads_its_share_evenly_over_one_account_and_region() -> None:
    scenarios = Scenarios()
    scenarios.disturb(WEB, "throttle", "40")
    answers = [scenarios.fault(WEB.account_id, WEB.region, "DescribeServices") is not None for _ in range(10)]
    assert answers == [False, False, True, False, True] * 2
    assert scenarios.fault(API.account_id, API.region, "DescribeServices") is None


def test_a_missing_api_is_missing_and_the_rest_is_there() -> None:
    scenarios = Scenarios()
    scenarios.disturb(WEB, "api-missing", "")
    fault = scenarios.fault(WEB.account_id, WEB.region, "ListServiceDeployments")
    assert fault is not None
    assert fault[0] == "UnknownOperationException"
    assert scenarios.fault(WEB.account_id, WEB.region, "DescribeServices") is None


def test_clearing_one_service_leaves_the_others() -> None:
    scenarios = Scenarios()
    scenarios.script(WEB, "crash", None)
    scenarios.script(API, "oom", None)
    scenarios.remember_alarms(WEB, ["errors"])
    assert scenarios.clear(WEB) == {WEB: ["errors"]}
    assert [one.behaviour for one in scenarios.shown()] == ["oom"]
    assert scenarios.clear(None) == {}
    assert list(scenarios.shown()) == []


@pytest.mark.parametrize(
    ("text", "expected"), [("20m", 1200), ("90s", 90), ("1h30m", 5400), ("2d", 172_800), ("0.5s", 0.5)]
)
def test_durations(text: str, expected: float) -> None:
    assert scenario.duration_s(text) == expected


@pytest.mark.parametrize("text", ["", "20", "20x", "m", "-5m", "1m1h"])
def test_no_durations(text: str) -> None:
    with pytest.raises(ValueError, match="no duration"):
        scenario.duration_s(text)


def test_a_task_dies_once_and_only_while_it_runs() -> None:
    task = TaskLife("t", 100.0, service_fate("", "image", TIMING), TIMING)
    assert not task.die(101.0)
    assert task.die(110.0)
    assert (task.status(109.9), task.status(110.0), task.ended_by_itself) == ("RUNNING", "STOPPED", True)
    assert task.ending is not None
    assert task.ending.exit_code == 1
    assert not task.die(111.0)
