"""The gate of a promotion: each thing that keeps it shut, with its own sentence, and until when."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator import promotion
from orchestrator.model import Lock, LockKind, Override, Standing
from orchestrator.promotion import Destination, Origin, Rules, State, Unasked
from orchestrator.report.promotion import gate_lines

NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)
DIGEST, OTHER = "sha256:" + "a" * 64, "sha256:" + "b" * 64
COMMIT = "c0ffee" * 6 + "abcd"
ORIGIN = Origin(
    environment="staging",
    service="web",
    is_there=True,
    standing=Standing.RELEASED,
    revision="demo-staging-web:7",
    repository="registry/demo-staging/web",
    digest=DIGEST,
    running_digest=DIGEST,
    release_id="20260701T100000Z-aaaaaa",
    commit=COMMIT,
    tag=COMMIT,
    since=NOW - timedelta(hours=2),
    running_count=2,
    desired_count=2,
)
DESTINATION = Destination(
    environment="prod",
    service="web",
    is_there=True,
    standing=Standing.RELEASED,
    revision="demo-prod-web:4",
    digest=OTHER,
    repository="registry/demo-prod/web",
)
RULES = Rules(
    promotes_from="staging",
    soak=timedelta(hours=1),
    branches=("main", "release"),
    on_branches={"main": True, "release": False},
    checks={"test": "success"},
    asks_for_plan=True,
)
LOCK = Lock(
    id="1",
    lifetime_s=None,
    environment="prod",
    kind=LockKind.MANUAL,
    owner="x/alice",
    command="lock",
    person="alice@laptop",
    reason="moving",
)


def judge(*, overrides=(), **changed):
    """The gate after changes: of the origin, the destination and the rules, by the names of their fields."""
    parts = []
    for part in (ORIGIN, DESTINATION, RULES):
        prefix = {"Origin": "origin", "Destination": "destination", "Rules": "rules"}[type(part).__name__]
        own = {
            key.removeprefix(f"{prefix}_"): value for key, value in changed.items() if key.startswith(prefix)
        }
        parts.append(replace(part, **own))
    return promotion.judge(*parts, now=NOW, overrides=overrides)


def test_everything_is_asked_and_open():
    gate = judge()
    assert [row.rule for row in gate.rows] == [
        *("path", "verdict", "digest", "health", "soak", "branch", "checks", "registry", "tag", "drift"),
        *("rollout", "plan", "freeze", "lock"),
    ]
    assert (gate.is_open, gate.exit_code, gate.is_carried, gate.opens_at) == (True, 0, False, None)
    assert {row.state for row in gate.rows} == {State.OPEN}


CASES = {
    "skipped environment": (
        {"rules_promotes_from": "test"},
        ("path", State.SHUT, "prod promotes from test, not from staging"),
    ),
    "no path at all": (
        {"rules_promotes_from": None},
        ("path", State.SHUT, "prod promotes from no environment"),
    ),
    "source failing now": (
        {"origin_standing": Standing.FAILED},
        ("verdict", State.SHUT, "the rollout of demo-staging-web:7 failed in staging"),
    ),
    "source rolled back": (
        {"origin_rolled_back": "demo-staging-web:8"},
        (
            "verdict",
            State.SHUT,
            "ECS rolled demo-staging-web:8 back in staging: what runs is an older release",
        ),
    ),
    "source rolls out": (
        {"origin_standing": Standing.ROLLING_OUT},
        ("verdict", State.WAITS, "staging is rolling demo-staging-web:7 out"),
    ),
    "source rolls back": (
        {"origin_standing": Standing.ROLLING_BACK},
        ("verdict", State.WAITS, "staging is being rolled back"),
    ),
    "nothing released": (
        {"origin_standing": Standing.NEW, "origin_digest": DIGEST},
        ("verdict", State.SHUT, "nothing was ever released to staging"),
    ),
    "nobody knows how it ended": (
        {"origin_standing": Standing.UNRECORDED},
        ("verdict", State.SHUT, "how the rollout of demo-staging-web:7 in staging ended is not on record"),
    ),
    "source deleted in ECS": (
        {"origin_standing": Standing.GONE},
        ("verdict", State.SHUT, "ECS has no service web in staging"),
    ),
    "named release failed": (
        {"origin_standing": Standing.FAILED, "origin_is_named": True},
        ("verdict", State.SHUT, "release 20260701T100000Z-aaaaaa of staging did not succeed"),
    ),
    "other digest running": (
        {"origin_running_digest": OTHER},
        (
            "digest",
            State.SHUT,
            "demo-staging-web:7 names sha256:aaaaaaaaaaaa, but staging runs sha256:bbbbbbbbbbbb",
        ),
    ),
    "deployed by hand": (
        {"origin_digest": "", "origin_running_digest": ""},
        ("digest", State.SHUT, "orch did not register demo-staging-web:7, so its image is not known"),
    ),
    "unhealthy": (
        {"origin_running_count": 1},
        ("health", State.WAITS, "1 of 2 tasks run in staging"),
    ),
    "scaled to nothing": (
        {"origin_desired_count": 0, "origin_running_count": 0},
        ("health", State.SHUT, "the desired count in staging is 0: nothing proves it"),
    ),
    "not soaked": (
        {"origin_since": NOW - timedelta(minutes=26)},
        ("soak", State.WAITS, "26 min of 1 h 00 min in staging: opens in 34 min, at 2026-07-01 12:34 UTC"),
    ),
    "soak not known": (
        {"origin_since": None},
        ("soak", State.SHUT, "nobody knows since when staging runs it"),
    ),
    "replaced before it soaked": (
        {"origin_is_named": True, "origin_until": NOW - timedelta(minutes=90)},
        ("soak", State.SHUT, "30 min of 1 h 00 min in staging, before another release took its place"),
    ),
    "branch not allowed": (
        {"rules_on_branches": {"main": False, "release": False}},
        ("branch", State.SHUT, "c0ffeec0ffee is not on main or release"),
    ),
    "branch not known": (
        {"rules_on_branches": Unasked("this checkout does not have the commit")},
        (
            "branch",
            State.SHUT,
            "whether main or release holds c0ffeec0ffee is not known: this checkout does not have the commit",
        ),
    ),
    "dirty tree": (
        {"origin_tag": f"{COMMIT}-dirty-1234"},
        ("branch", State.SHUT, "the image was built from a working tree that differs from c0ffeec0ffee"),
    ),
    "no commit": (
        {"origin_commit": ""},
        ("branch", State.SHUT, "the release names no commit"),
    ),
    "required check missing": (
        {"rules_checks": {"test": ""}},
        ("checks", State.SHUT, "GitHub has no such check for the commit"),
    ),
    "required check failed": (
        {"rules_checks": {"test": "failure"}},
        ("checks", State.SHUT, "it ended with failure"),
    ),
    "required check runs": (
        {"rules_checks": {"test": "in_progress"}},
        ("checks", State.WAITS, "it is in progress"),
    ),
    "GitHub not asked": (
        {"rules_checks": Unasked("there is no token")},
        ("checks", State.SHUT, "GitHub's checks are not known: there is no token"),
    ),
    "expired in the registry": (
        {"origin_is_in_registry": False},
        ("registry", State.SHUT, "registry/demo-staging/web has no sha256:aaaaaaaaaaaa any more"),
    ),
    "tag taken in the target": (
        {"destination_tagged_digest": OTHER},
        ("tag", State.SHUT, "c0ffeec0ffee is sha256:bbbbbbbbbbbb in prod, and tags never move"),
    ),
    "target deployed by hand": (
        {"destination_digest": ""},
        ("drift", State.SHUT, "prod runs demo-prod-web:4, which orch did not register"),
    ),
    "target rolls out": (
        {"destination_standing": Standing.ROLLING_OUT},
        ("rollout", State.WAITS, "prod is rolling out"),
    ),
    "target deleted in ECS": (
        {"destination_standing": Standing.GONE},
        ("rollout", State.SHUT, "ECS has no service web in prod"),
    ),
    "target has pending changes": (
        {"destination_pending_changes": 3},
        ("plan", State.SHUT, "Terraform would change 3 resources of prod"),
    ),
    "frozen": (
        {"destination_freezes": (("holidays until 2026-07-02 00:00 UTC", NOW + timedelta(hours=12)),)},
        ("freeze", State.WAITS, "prod is frozen: holidays until 2026-07-02 00:00 UTC"),
    ),
    "locked": (
        {"destination_lock": LOCK},
        ("lock", State.WAITS, "prod is locked by orch lock of alice@laptop: moving"),
    ),
    "no such service in the target": (
        {"destination_is_there": False},
        ("service", State.SHUT, "prod has no service web"),
    ),
    "no such service in the source": (
        {"origin_is_there": False},
        ("service", State.SHUT, "staging has no service web"),
    ),
}


@pytest.mark.parametrize(("changed", "expected"), CASES.values(), ids=CASES)
def test_each_thing_that_keeps_it_shut_says_so(changed, expected):
    gate = judge(**changed)
    (row,) = gate.shut
    assert (row.rule, row.state, row.sentence) == expected
    assert row.hint
    assert gate.exit_code == (22 if row.rule == "lock" else 20)
    assert gate.may_open_by_itself == (row.state is State.WAITS)
    # The one line, and below it what to do.
    lines = gate_lines(gate)
    assert any(row.sentence in line for line in lines)
    assert f"    → {row.hint}" in lines


def test_no_two_sentences_are_alike():
    sentences = [expected[2] for _changed, expected in CASES.values()]
    assert len(set(sentences)) == len(sentences)


def test_it_opens_when_the_last_of_what_waits_for_time_does():
    soaks = {"origin_since": NOW - timedelta(minutes=26)}
    frozen = {"destination_freezes": (("night", NOW + timedelta(hours=3)),)}
    assert judge(**soaks).opens_at == NOW + timedelta(minutes=34)
    assert judge(**soaks, **frozen).opens_at == NOW + timedelta(hours=3)
    assert judge(**soaks, destination_lock=LOCK).opens_at is None
    assert judge(**soaks, destination_lock=LOCK).exit_code == 20
    assert "SHUT until 2026-07-01 12:34 UTC" in gate_lines(judge(**soaks))[0]


def test_what_may_be_opened_knowingly():
    reason = (Override("soak", "an incident"), Override("lock", "mine"))
    gate = judge(origin_since=NOW, overrides=reason)
    assert gate.is_open
    (row,) = [row for row in gate.rows if row.rule == "soak"]
    assert row.state is State.OVERRIDDEN
    assert row.sentence.endswith("overridden: an incident")
    assert not judge(destination_lock=LOCK, overrides=reason).is_open
    assert not judge(origin_standing=Standing.FAILED, overrides=(Override("verdict", "it is fine"),)).is_open
    assert judge(rules_promotes_from="test", rules_skips_path=True).is_open


def test_what_runs_in_the_target_already_is_carried():
    assert judge(destination_digest=DIGEST).is_carried
    assert not judge(destination_digest=DIGEST, destination_standing=Standing.FAILED).is_carried


def test_a_named_release_need_not_run_any_more():
    gate = judge(origin_is_named=True, origin_running_count=0, origin_desired_count=0, origin_until=NOW)
    assert gate.is_open
    assert "health" not in {row.rule for row in gate.rows}


@given(st.sets(st.sampled_from(sorted(CASES)), max_size=6))
def test_one_more_fault_never_opens_it(names):
    changed = {}
    for name in names:
        changed |= CASES[name][0]
    gate = judge(**changed)
    if names:
        assert not gate.is_open
        assert gate.exit_code in {20, 22}
    else:
        assert gate.is_open
