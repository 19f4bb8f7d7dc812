from __future__ import annotations

import pytest

from orchestrator.sandbox import one_off, tasks
from orchestrator.sandbox.tasks import Timing

TIMING = Timing(2.0)


def shell(script: str) -> one_off.Play:
    return one_off.play_of("app", ["sh", "-c", script])


@pytest.mark.parametrize(
    ("script", "lines", "code"),
    [
        ("echo one; echo two", ["one", "two"], 0),
        ("false", [], 1),
        ("exit 3", [], 3),
        ("echo a && exit 4; echo never", ["a"], 4),
        ("false && echo no; echo yes", ["yes"], 0),
        ("false || echo rescued", ["rescued"], 0),
        ("true || echo no", [], 0),
        ("echo 'two words'  \"and more\"", ["two words and more"], 0),
    ],
)
def test_a_shell_script_is_played(script, lines, code):
    play = shell(script)
    assert ([text for _, text in play.lines], play.exit_code) == (lines, code)


def test_sleep_takes_time_and_later_lines_come_later():
    play = shell("echo one; sleep 30; echo two")
    (first, _), (second, _) = play.lines
    assert first < 1
    assert 30 < second <= play.run_s < 31


def test_a_plain_command_is_one_statement():
    assert one_off.play_of("app", ["echo", "a;b", "&&", "c"]).lines[0][1] == "a;b && c"
    assert one_off.play_of("app", ["false"]).exit_code == 1


def test_what_the_sandbox_cannot_run_it_says_so():
    play = one_off.play_of("app", ["python", "manage.py", "migrate"])
    assert play.exit_code == 0
    assert play.lines[0][1] == "[orch sandbox] not run, no image runs here: python manage.py migrate"


def overrides(**override) -> dict:
    return {"containerOverrides": [{"name": "app", **override}]}


def test_a_command_decides_in_place_of_how_the_service_fares():
    service = tasks.one_off_fate("crash", "image", TIMING)
    fate, play = one_off.decide_command(service, overrides(command=["true"]), TIMING)
    assert fate.ending.exit_code == 0
    assert play.container == "app"


def test_without_a_command_nothing_changes():
    service = tasks.one_off_fate("crash", "image", TIMING)
    assert one_off.decide_command(service, {}, TIMING) == (service, None)


def test_a_behaviour_in_the_overrides_wins():
    service = tasks.one_off_fate("exit:9", "image", TIMING)
    environment = [{"name": tasks.BEHAVIOUR_VARIABLE, "value": "exit:9"}]
    wanted = overrides(command=["true"], environment=environment)
    assert one_off.decide_command(service, wanted, TIMING) == (service, None)


def test_what_cannot_start_does_not_start_with_a_command_either():
    service = tasks.one_off_fate("cannot-pull", "image", TIMING)
    assert one_off.decide_command(service, overrides(command=["true"]), TIMING) == (service, None)
