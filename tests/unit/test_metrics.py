"""DORA's metrics from releases in short: each definition by an example, and what must hold whatever the releases are."""

from __future__ import annotations

import dataclasses
import random
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator import dora
from orchestrator.dora import Metrics, Spread, Step
from orchestrator.errors import SettingsError
from orchestrator.model import ReleaseBrief, Verdict
from orchestrator.operations.metrics import period
from orchestrator.report.metrics import metrics_lines

START = datetime(2026, 3, 2, tzinfo=UTC)  # a Monday
HOUR = timedelta(hours=1)
WEEK = timedelta(weeks=1)
CHANGES = (Verdict.SUCCEEDED, Verdict.ROLLED_BACK, Verdict.FAILED, Verdict.TIMED_OUT)


def release(
    hour,
    verdict=Verdict.SUCCEEDED,
    *,
    service="web",
    back=False,
    commit="",
    lead_h=None,
    took_h=0.5,
    env="prod",
):
    """A release whose rollout began that many hours after START, of a commit made `lead_h` before it was recorded."""
    began_at = START + hour * HOUR
    recorded_at = began_at + took_h * HOUR
    return ReleaseBrief(
        env,
        service,
        f"{began_at:%Y%m%dT%H%M%SZ}-0000ff",
        began_at,
        recorded_at,
        verdict,
        is_rollback=back,
        commit=commit,
        committed_at=None if lead_h is None else recorded_at - lead_h * HOUR,
    )


def of_web(*releases, until=START + WEEK) -> Metrics:
    found = dora.measure(releases, since=START, until=until, environments=["prod"])
    return next((one for one in found if one.service == "web"), found[0])


# --- the definitions


def test_nothing_is_no_zero():
    (only,) = dora.measure((), since=START, until=START + WEEK, environments=["prod"])
    assert (only.environment, only.service, only.changes, only.deployments) == ("prod", "", 0, 0)
    assert (only.deployments_per_day, only.change_failure_rate) == (None, None)
    assert (only.lead_time, only.recovery_time) == (None, None)
    assert metrics_lines([only], is_series=False) == [
        "prod: no release between 2026-03-02 00:00 and 2026-03-09 00:00 UTC"
    ]
    assert dora.measure((), since=START, until=START + WEEK) == ()


def test_deployments_a_day_of_the_period():
    found = of_web(*(release(hour) for hour in range(14)))
    assert (found.deployments, found.changes, found.deployments_per_day) == (14, 14, 2.0)
    assert (found.failed_changes, found.change_failure_rate, found.recovery_time) == (0, 0.0, None)


@pytest.mark.parametrize(
    "verdict",
    [Verdict.NO_CHANGE, Verdict.NOT_STARTED, Verdict.CANCELLED, Verdict.SUPERSEDED, Verdict.UNKNOWN],
)
def test_verdicts_that_tell_nothing_about_a_change_do_not_count(verdict):
    found = of_web(release(1), release(2, verdict))
    assert (found.changes, found.deployments, found.failed_changes) == (1, 1, 0)


def test_lead_time_is_from_the_commit_to_the_recorded_success_median_and_nearest_rank():
    found = of_web(*(release(n, commit=f"{n:012x}", lead_h=n) for n in range(1, 11)))
    assert found.lead_time == Spread(5.5 * 3600, 9 * 3600, 10)


def test_lead_time_leaves_out_what_has_no_time_what_failed_and_what_ran_already():
    found = of_web(
        release(1, commit="a1", lead_h=2),
        release(2, commit="a1", lead_h=3),  # the same commit once more, as after a change of a variable
        release(3, commit="b2"),
        release(4, Verdict.FAILED, commit="c3", lead_h=40),
        release(5, commit="a1", lead_h=50, back=True),
    )
    assert found.lead_time == Spread(2 * 3600, 2 * 3600, 1)


def test_a_commit_that_ran_before_the_period_is_no_new_change_in_it():
    found = of_web(release(-5, commit="a1", lead_h=1), release(5, commit="a1", lead_h=11))
    assert (found.deployments, found.lead_time) == (1, None)


def test_clocks_that_disagree_make_no_negative_time():
    assert of_web(release(1, commit="a1", lead_h=-1)).lead_time == Spread(0.0, 0.0, 1)


@pytest.mark.parametrize("verdict", [Verdict.ROLLED_BACK, Verdict.FAILED, Verdict.TIMED_OUT])
def test_what_ended_badly_is_a_failed_change(verdict):
    found = of_web(release(1), release(2, verdict), release(3), release(4))
    assert (found.changes, found.failed_changes, found.change_failure_rate) == (4, 1, 0.25)


def test_a_success_that_a_rollback_left_is_a_failed_change_and_the_rollback_is_none():
    found = of_web(release(1), release(2), release(4, back=True), release(5))
    assert (found.changes, found.deployments, found.failed_changes, found.rollbacks) == (3, 3, 1, 1)
    # From when it began, at 2, until the rollback was recorded.
    assert found.recovery_time == Spread(2.5 * 3600, 2.5 * 3600, 1)


def test_attempts_between_a_success_and_its_rollback_do_not_hide_it():
    found = of_web(release(1), release(2, Verdict.ROLLED_BACK), release(3, Verdict.CANCELLED, back=True))
    assert (found.changes, found.failed_changes) == (2, 2)
    # The first one is never left in the end, as far as anybody knows.
    assert found.unrecovered == 1


def test_a_later_success_ends_the_time_in_which_a_rollback_would_count():
    found = of_web(release(1), release(2), release(3, back=True), release(4, back=True))
    assert found.failed_changes == 1


def test_recovery_by_ecs_by_a_fix_and_by_nobody():
    assert of_web(release(1, Verdict.ROLLED_BACK, took_h=0.25)).recovery_time == Spread(900, 900, 1)
    fixed = of_web(release(1, Verdict.FAILED), release(2, Verdict.FAILED), release(5))
    assert fixed.recovery_time == Spread(4.0 * 3600, 4.5 * 3600, 2)
    left = of_web(release(1, Verdict.FAILED))
    assert (left.recovery_time, left.unrecovered) == (None, 1)
    assert "! prod · web: 1 failed without a later success" in metrics_lines([left], is_series=False)


def test_what_follows_the_period_is_looked_at_and_not_counted():
    found = of_web(release(1), release(200, back=True), release(201))
    assert (found.changes, found.failed_changes, found.rollbacks) == (1, 1, 0)
    assert found.recovery_time == Spread(199.5 * 3600, 199.5 * 3600, 1)


def test_services_do_not_answer_for_each_other_and_an_environment_is_all_of_them():
    releases = [release(1, Verdict.FAILED), release(2, service="api"), release(3, env="dev")]
    found = dora.measure(releases, since=START, until=START + WEEK, environments=["staging"])
    assert [(one.environment, one.service, one.changes, one.unrecovered) for one in found] == [
        ("dev", "", 1, 0),
        ("dev", "web", 1, 0),
        ("prod", "", 2, 1),
        ("prod", "api", 1, 0),
        ("prod", "web", 1, 1),
        ("staging", "", 0, 0),
    ]


def test_a_series_by_week_begins_on_mondays_and_shows_empty_weeks():
    since = START + timedelta(days=2)
    found = dora.series([release(50), release(24 * 15)], since=since, until=START + 3 * WEEK, step=Step.WEEK)
    web = [one for one in found if one.service == "web"]
    assert [one.since[:10] for one in web] == ["2026-03-04", "2026-03-09", "2026-03-16"]
    assert [one.deployments for one in web] == [1, 0, 1]
    assert [one.deployments_per_day for one in web] == [0.2, None, 1 / 7]


def test_months_have_their_own_length():
    parts = list(
        dora.parts(datetime(2026, 1, 31, tzinfo=UTC), datetime(2026, 3, 1, 5, tzinfo=UTC), Step.MONTH)
    )
    assert [f"{begins:%m-%d}" for begins, _ends in parts] == ["01-31", "02-01", "03-01"]
    assert parts[-1][1] == datetime(2026, 3, 1, 5, tzinfo=UTC)


# --- what holds for all releases


@st.composite
def histories(draw):
    hours = draw(st.lists(st.integers(0, 24 * 21), unique=True, max_size=25))
    return [
        release(
            hour,
            draw(st.sampled_from(Verdict)),
            service=draw(st.sampled_from(["web", "api"])),
            back=draw(st.booleans()),
            commit=draw(st.sampled_from(["", "a1", "b2", "c3"])),
            lead_h=draw(st.none() | st.integers(-2, 100)),
            took_h=draw(st.sampled_from([0.0, 0.5, 3.0])),
        )
        for hour in hours
    ]


UNTIL = START + 3 * WEEK + HOUR


def measured(releases, *, since=START, until=UNTIL):
    return dora.measure(releases, since=since, until=until, environments=["prod"])


@given(histories(), st.randoms(use_true_random=False))
@settings(deadline=None)
def test_the_order_of_the_releases_does_not_matter(releases, chance: random.Random):
    mixed = list(releases)
    chance.shuffle(mixed)
    assert measured(mixed) == measured(releases)


@given(histories(), st.integers(-10_000_000, 10_000_000))
@settings(deadline=None)
def test_when_all_of_it_happened_does_not_matter(releases, seconds):
    by = timedelta(seconds=seconds)
    moved = [
        dataclasses.replace(
            one,
            began_at=one.began_at + by,
            recorded_at=one.recorded_at + by,
            committed_at=one.committed_at + by if one.committed_at else None,
        )
        for one in releases
    ]
    without = [dataclasses.replace(one, since="", until="") for one in measured(releases)]
    shifted = measured(moved, since=START + by, until=UNTIL + by)
    assert [dataclasses.replace(one, since="", until="") for one in shifted] == without


@given(histories())
@settings(deadline=None)
def test_numbers_keep_their_bounds_and_nothing_is_never_a_rate(releases):
    for one in measured(releases):
        assert 0 <= one.failed_changes <= one.changes
        assert 0 <= one.deployments <= one.changes
        recovered = one.recovery_time.count if one.recovery_time else 0
        assert recovered + one.unrecovered == one.failed_changes
        assert (one.lead_time.count if one.lead_time else 0) <= one.deployments
        assert (one.change_failure_rate is None) == (one.deployments_per_day is None) == (one.changes == 0)
        for spread in filter(None, (one.lead_time, one.recovery_time)):
            assert 0 <= spread.median_s <= spread.p90_s
            assert spread.count > 0


@given(histories())
@settings(deadline=None)
def test_one_more_success_in_the_end_helps_and_hurts_nobody(releases):
    before = of_web(*releases, until=UNTIL + HOUR)
    after = of_web(*releases, release(24 * 21 + 1), until=UNTIL + HOUR)
    was = (before.changes, before.deployments) if before.service else (0, 0)
    failed = before.failed_changes if before.service else 0
    assert (after.changes, after.deployments) == (was[0] + 1, was[1] + 1)
    assert (after.failed_changes, after.unrecovered) == (failed, 0)


@given(histories())
@settings(deadline=None)
def test_an_environment_is_the_sum_of_its_services(releases):
    whole, *services = measured(releases)
    for name in ("changes", "deployments", "failed_changes", "unrecovered", "rollbacks"):
        assert getattr(whole, name) == sum(getattr(one, name) for one in services)


@given(histories(), st.sampled_from(Step))
@settings(deadline=None)
def test_parts_add_up_to_the_period(releases, step):
    (whole, *_services) = measured(releases)
    parts = dora.series(releases, since=START, until=UNTIL, step=step, environments=["prod"])
    mine = [one for one in parts if not one.service]
    for name in ("changes", "deployments", "failed_changes", "unrecovered", "rollbacks"):
        assert getattr(whole, name) == sum(getattr(one, name) for one in mine)
    assert [one.since for one in mine[1:]] == [one.until for one in mine[:-1]]


@given(histories(), histories())
@settings(deadline=None)
def test_another_environment_changes_nothing(releases, others):
    elsewhere = [dataclasses.replace(one, environment="dev") for one in others]
    assert [one for one in measured([*releases, *elsewhere]) if one.environment == "prod"] == list(
        measured(releases)
    )


# --- what is asked, and how it is told


NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("since", "until", "begins", "ends"),
    [
        ("30d", "", NOW - timedelta(days=30), NOW),
        ("2w", "12h", NOW - 2 * WEEK, NOW - 12 * HOUR),
        ("2026-01-01", "2026-02-01", datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC)),
        ("2026-03-01T02:00+02:00", "", datetime(2026, 3, 1, tzinfo=UTC), NOW),
        ("999999w", "", datetime(1971, 1, 1, tzinfo=UTC), NOW),
        ("739000d", "", datetime(1971, 1, 1, tzinfo=UTC), NOW),
    ],
)
def test_a_period(since, until, begins, ends):
    assert period(since, until, now=NOW) == (begins, ends)


@pytest.mark.parametrize(
    "text", ["", "30", "30m", "yesterday", "2026-13-01", "2026-03-01T02:00", "9999-01-01"]
)
def test_no_period(text):
    with pytest.raises(SettingsError, match="--since .*: not a time"):
        period(text, "", now=NOW)
    with pytest.raises(SettingsError, match="the period is empty"):
        period("1d", "2d", now=NOW)


def test_the_table():
    releases = [
        *(release(hour, commit=f"{hour:012x}", lead_h=hour) for hour in range(1, 13)),
        release(13, Verdict.ROLLED_BACK, took_h=0.1),
        release(20, service="api", back=True),
    ]
    found = dora.measure(releases, since=START, until=START + WEEK)
    assert metrics_lines(found, is_series=False) == [
        "environment  service  deployments  a day  lead time   p90          failed   rate  recovery  p90    rollbacks",
        "prod         all      12           1.7    6 h 30 min  11 h 00 min  1 of 13  8 %   6 min     6 min  1",
        "prod         api      0            -      -           -            -        -     -         -      1",
        "prod         web      12           1.7    6 h 30 min  11 h 00 min  1 of 13  8 %   6 min     6 min  0",
        "2026-03-02 00:00 to 2026-03-09 00:00 UTC; lead time and recovery: median, p90",
    ]


def test_the_table_of_a_series_and_of_an_environment_with_nothing():
    found = dora.series(
        [release(1), release(200)],
        since=START,
        until=START + 2 * WEEK,
        step=Step.WEEK,
        environments=["dev", "prod"],
    )
    # With one service, the environment as a whole has no row of its own.
    assert metrics_lines(found, is_series=True) == [
        "from (UTC)  environment  service  deployments  a day  lead time  p90  failed  rate  recovery  p90  rollbacks",
        "2026-03-02  prod         web      1            0.14   -          -    0 of 1  0 %   -         -    0",
        "2026-03-09  prod         web      1            0.14   -          -    0 of 1  0 %   -         -    0",
        "dev: no release between 2026-03-02 00:00 and 2026-03-16 00:00 UTC",
    ]
