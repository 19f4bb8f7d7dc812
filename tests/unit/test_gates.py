from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from orchestrator import settings
from orchestrator.errors import RefusedError, SettingsError
from orchestrator.model import Action, Change, Override, Plan
from orchestrator.settings import Environment
from orchestrator.terraform import gates

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
REPOSITORY = Change("module.e.aws_ecr_repository.this", Action.DELETE, "aws_ecr_repository")
SERVICE = Change('module.e["web"].aws_ecs_service.this', Action.REPLACE, "aws_ecs_service")
SKELETON = Change("module.e.aws_ecs_task_definition.skeleton", Action.REPLACE, "aws_ecs_task_definition")
ROLE = Change(
    "module.e.aws_iam_role.task",
    Action.UPDATE,
    "aws_iam_role",
    widenings=("statement Read may now s3:* on *",),
)


def plan(*changes: Change) -> Plan:
    return Plan(changes, (), (), is_applicable=True, terraform_version="1.11.4", contract={})


def environment(tmp_path, text: str = "", *, more: str = "") -> Environment:
    file = tmp_path / "orch.toml"
    file.write_text(
        f"""project = "demo"
region = "eu-central-1"
[services.web]
[environments.prod]
account_id = "333333333333"
{more}
[environments.prod.gates]
{text}
"""
    )
    return settings.load(file).environment("prod")


def shut(found: Environment, *changes: Change, now: datetime = NOW) -> list[str]:
    return [refusal.rule for refusal in gates.refusals(plan(*changes), found, now=now)]


@pytest.mark.parametrize(
    ("text", "changes", "expected"),
    [
        ("", (REPOSITORY, SERVICE, ROLE), []),
        ("max_destroy = 0", (REPOSITORY,), ["max_destroy"]),
        ("max_destroy = 1", (REPOSITORY,), []),
        ("max_destroy = 0", (SERVICE,), []),
        ("max_replace = 0", (SERVICE, REPOSITORY), ["max_replace"]),
        # A new skeleton is planned as a replacement, and loses nothing.
        ("max_replace = 0\nmax_destroy = 0", (SKELETON,), []),
        ('protected_types = ["aws_ecs_service"]', (SERVICE, REPOSITORY), ["protected_types"]),
        ('protected_addresses = ["module.e[*].aws_ecs_service.this"]', (SERVICE,), ["protected_addresses"]),
        ('protected_addresses = ["module.e.*"]', (REPOSITORY, SERVICE), ["protected_addresses"]),
        ('protected_addresses = ["module.e[\\"web\\"].*"]', (REPOSITORY,), []),
        ("allow_privilege_widening = false", (ROLE,), ["privilege_widening"]),
        (
            "allow_privilege_widening = false\nmax_destroy = 0",
            (ROLE, REPOSITORY),
            ["max_destroy", "privilege_widening"],
        ),
    ],
)
def test_each_rule(tmp_path, text, changes, expected):
    assert shut(environment(tmp_path, text), *changes) == expected


def test_a_protected_environment_loses_nothing_that_holds_data(tmp_path):
    found = environment(tmp_path, more="protected = true")
    harmless = Change("aws_ecs_cluster.this", Action.UPDATE, "aws_ecs_cluster")
    (refusal,) = gates.refusals(plan(REPOSITORY, SERVICE, SKELETON, harmless), found, now=NOW)
    assert refusal.rule == "protected"
    assert refusal.about == (f"{REPOSITORY.address} (delete)", f"{SERVICE.address} (replace)")
    with pytest.raises(RefusedError) as refused:
        gates.require_open(plan(REPOSITORY), found, now=NOW, overrides=(Override("max_destroy", "x"),))
    assert refused.value.exit_code == 20
    assert "set `protected = false`" in refused.value.hint


def test_a_refusal_names_rule_addresses_and_the_way_round(tmp_path):
    found = environment(tmp_path, "max_destroy = 0\nmax_replace = 0")
    with pytest.raises(RefusedError, match="the plan for `prod` is refused by 2 gates") as refused:
        gates.require_open(plan(REPOSITORY, SERVICE), found, now=NOW)
    assert refused.value.details == (
        "max_destroy: 1 to delete, 0 allowed",
        f"  {REPOSITORY.address} (delete)",
        "max_replace: 1 to replace, 0 allowed",
        f"  {SERVICE.address} (replace)",
    )
    assert "--override max_destroy --override max_replace --reason TEXT" in refused.value.hint


def test_an_override_opens_its_own_gate_alone_and_is_handed_on(tmp_path):
    found = environment(tmp_path, "max_destroy = 0\nmax_replace = 0")
    mine = Override("max_destroy", "the old repository is empty")
    assert gates.require_open(plan(REPOSITORY), found, now=NOW, overrides=(mine,)) == (mine,)
    with pytest.raises(RefusedError, match="refused by max_replace"):
        gates.require_open(plan(REPOSITORY, SERVICE), found, now=NOW, overrides=(mine,))
    # What was not needed is not put on record.
    assert gates.require_open(plan(), found, now=NOW, overrides=(mine,)) == ()


def test_an_environment_may_forbid_overrides(tmp_path):
    found = environment(tmp_path, "max_destroy = 0\nallow_overrides = false")
    with pytest.raises(RefusedError, match="allows no overrides"):
        gates.require_open(plan(REPOSITORY), found, now=NOW, overrides=(Override("max_destroy", "please"),))


def test_an_override_needs_a_rule_that_exists_and_a_reason():
    gates.require_known((Override("freeze", "the fix of the outage"),))
    with pytest.raises(SettingsError, match="there is no such rule") as refused:
        gates.require_known((Override("frost", "x"),))
    assert "max_destroy" in refused.value.hint
    with pytest.raises(SettingsError, match="needs a reason"):
        gates.require_known((Override("freeze", " "),))
    with pytest.raises(SettingsError, match="there is no such rule"):
        gates.require_known((Override("protected", "x"),))


BERLIN = ZoneInfo("Europe/Berlin")
HOLIDAYS = """
[[environments.prod.gates.freeze]]
name = "holidays"
start = 2026-12-20
end = 2027-01-03
time_zone = "Europe/Berlin"
"""
WEEKEND = """
[[environments.prod.gates.freeze]]
name = "weekend"
cron = "0 16 * * FRI"
hours = 64
time_zone = "Europe/Berlin"
"""


@pytest.mark.parametrize(
    ("text", "now", "is_frozen"),
    [
        (HOLIDAYS, datetime(2026, 12, 19, 23, 59, tzinfo=BERLIN), False),
        (HOLIDAYS, datetime(2026, 12, 20, 0, 0, tzinfo=BERLIN), True),
        # Midnight in Berlin is 23:00 in UTC.
        (HOLIDAYS, datetime(2026, 12, 19, 23, 30, tzinfo=UTC), True),
        # The last day counts whole.
        (HOLIDAYS, datetime(2027, 1, 3, 23, 59, tzinfo=BERLIN), True),
        (HOLIDAYS, datetime(2027, 1, 4, 0, 0, tzinfo=BERLIN), False),
        (WEEKEND, datetime(2026, 11, 27, 15, 59, tzinfo=BERLIN), False),
        (WEEKEND, datetime(2026, 11, 27, 16, 0, tzinfo=BERLIN), True),
        (WEEKEND, datetime(2026, 11, 30, 7, 59, tzinfo=BERLIN), True),
        (WEEKEND, datetime(2026, 11, 30, 8, 0, tzinfo=BERLIN), False),
        # 64 hours from Friday 16:00 through the night in which clocks go back end at 07:00.
        (WEEKEND, datetime(2026, 10, 26, 6, 59, tzinfo=BERLIN), True),
        (WEEKEND, datetime(2026, 10, 26, 7, 1, tzinfo=BERLIN), False),
    ],
)
def test_a_freeze_holds_in_its_own_time_zone(tmp_path, text, now, is_frozen):
    assert shut(environment(tmp_path, text), now=now) == (["freeze"] if is_frozen else [])


def test_a_freeze_says_until_when(tmp_path):
    found = environment(tmp_path, WEEKEND)
    (refusal,) = gates.refusals(plan(), found, now=datetime(2026, 11, 28, 12, 0, tzinfo=UTC))
    assert refusal.sentence == "weekend until 2026-11-30 08:00 Europe/Berlin"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('name = "x"', "needs either start and end, or cron and hours"),
        ('name = "x"\nstart = 2026-01-01\nhours = 2', "needs either start and end, or cron and hours"),
        ('name = "x"\nstart = 2026-01-02\nend = 2026-01-01', "end must come after start"),
        ('name = "x"\ncron = "0 25 * * *"\nhours = 2', "is not valid"),
        ('name = "x"\ncron = "0 5 * * *"\nhours = 2\ntime_zone = "Berlin"', "there is no time zone 'Berlin'"),
    ],
)
def test_a_freeze_that_means_nothing_is_refused(tmp_path, text, said):
    with pytest.raises(SettingsError) as refused:
        environment(tmp_path, f"[[environments.prod.gates.freeze]]\n{text}")
    assert said in refused.value.details[0]
