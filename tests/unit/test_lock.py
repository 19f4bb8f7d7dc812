"""What a lock says and how it is read, what S3's clock says of it, durations, and the table of locks."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator import settings
from orchestrator.cli.locks import duration_s
from orchestrator.errors import SettingsError
from orchestrator.lock import record
from orchestrator.model import Lock, LockKind, Unlocked
from orchestrator.report import json_lines, text
from tests.unit.test_settings import MINIMAL, write

AT = datetime(2026, 7, 1, 10, 22, 5, tzinfo=UTC)
RUN = Lock(
    "dev",
    LockKind.RUN,
    "0123",
    120.0,
    owner="arn:aws:sts::111111111111:assumed-role/demo-dev-apply/GitHubActions",
    person="alice@laptop",
    command="apply",
    acquired_at="2026-07-01 10:22:05 UTC",
)
MANUAL = replace(RUN, kind=LockKind.MANUAL, lifetime_s=None, command="lock", reason="the database moves")
STATE = Lock("dev", LockKind.TERRAFORM, "b5a4", None, person="bob@desk", command="plan")


def read(**changes: object) -> Lock:
    """What is read of a lock in which somebody changed these."""
    fields = json.loads(record.encode(RUN, at=AT, beat=1)) | changes
    return record.decode(json.dumps(fields).encode(), "dev")


# --- the object


def test_a_lock_survives_its_object():
    assert record.decode(record.encode(MANUAL, at=AT, beat=1), "dev") == replace(
        MANUAL, heartbeat_at="2026-07-01 10:22:05 UTC"
    )
    again = record.decode(record.encode(RUN, at=AT, beat=1), "dev")
    assert again == replace(RUN, heartbeat_at="2026-07-01 10:22:05 UTC", expires_at="2026-07-01 10:24:05 UTC")


def test_no_two_heartbeats_are_the_same_object():
    # Two objects that are equal have one ETag, and who has seen the first would pass for who has seen the second.
    assert record.encode(RUN, at=AT, beat=1) != record.encode(RUN, at=AT, beat=2)


def test_what_a_later_version_adds_is_no_obstacle():
    assert read(hobby="chess") == read()
    assert read().kind is LockKind.RUN


@pytest.mark.parametrize(
    "changes",
    [
        {"version": 2},
        {"kind": "other"},
        {"kind": "terraform"},
        {"kind": "unknown"},
        {"kind": []},
        {"id": ""},
        {"id": 7},
        {"lifetime_s": None},
        {"lifetime_s": 0},
        {"lifetime_s": -1},
        {"lifetime_s": True},
        {"lifetime_s": "120"},
        {"lifetime_s": 10**12},
        {"lifetime_s": float("nan")},
        {"lifetime_s": float("inf")},
    ],
    ids=str,
)
def test_an_object_that_is_no_lock_is_of_an_unknown_kind(changes):
    found = read(**changes)
    assert (found.kind, found.id, found.lifetime_s) == (LockKind.UNKNOWN, "", None)
    judged = record.judge(found, written_at=AT, now=AT + timedelta(days=9999))
    assert not judged.is_expired
    assert "not one that this version of orch can read" in judged.line


def test_a_persons_lock_may_have_no_lifetime():
    assert read(kind="manual", lifetime_s=None).kind is LockKind.MANUAL


def test_texts_cannot_steer_a_terminal_and_end():
    found = read(person="a\x1b[2J\nb", reason="x" * 10_000, command=["no text"], pid="4242", host=None)
    assert found.person == "a·[2J·b"
    assert found.reason == "x" * 500 + "…"
    assert (found.command, found.pid, found.host) == ("", 0, "")
    assert "\x1b" not in found.line


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.binary(max_size=100))
def test_any_bytes_can_be_read(content):
    assert record.decode(content, "dev").environment == "dev"
    assert record.decode_terraform(content, "dev").kind is LockKind.TERRAFORM


@given(JSON)
def test_any_json_can_be_read(value):
    content = json.dumps(value).encode()
    assert record.decode(content, "dev").kind is LockKind.UNKNOWN
    assert record.decode_terraform(content, "dev").kind is LockKind.TERRAFORM


@given(st.sampled_from(list(json.loads(record.encode(RUN, at=AT, beat=1)))), JSON)
def test_any_member_can_be_anything(name, value):
    found = read(**{name: value})
    record.judge(found, written_at=AT, now=AT)
    assert found.line.isprintable()


@given(JSON, JSON, JSON)
def test_any_lock_of_terraforms_can_be_read(who, created, operation):
    content = json.dumps({"ID": "1", "Who": who, "Created": created, "Operation": operation}).encode()
    assert record.decode_terraform(content, "dev").line.isprintable()


# --- S3's clock


@pytest.mark.parametrize(
    ("age_s", "is_expired"), [(0, False), (-30, False), (119, False), (120, False), (121, True), (9999, True)]
)
def test_a_lock_is_dead_once_its_lifetime_is_surely_over(age_s, is_expired):
    # Both times are cut to seconds: 120 may be 119.001.
    found = record.judge(RUN, written_at=AT, now=AT + timedelta(seconds=age_s))
    assert found.is_expired is is_expired
    assert (found.heartbeat_at, found.expires_at) == ("2026-07-01 10:22:05 UTC", "2026-07-01 10:24:05 UTC")


def test_without_s3s_time_nothing_is_dead():
    assert not record.judge(RUN, written_at=AT, now=None).is_expired


def test_without_a_lifetime_nothing_ends():
    found = record.judge(replace(MANUAL, expires_at="2001"), written_at=AT, now=AT + timedelta(days=9999))
    assert (found.expires_at, found.is_expired) == ("", False)


# --- what people see


def test_a_lock_in_one_line():
    assert RUN.line == "orch apply of alice@laptop, since 2026-07-01 10:22:05 UTC"
    assert MANUAL.line.endswith(", since 2026-07-01 10:22:05 UTC: the database moves")
    assert STATE.line == "terraform plan of bob@desk"
    assert replace(RUN, person="").holder == "demo-dev-apply/GitHubActions"
    assert replace(RUN, person="", owner="").holder == "somebody"


def test_the_table_of_locks():
    held = record.judge(RUN, written_at=AT, now=AT)
    url = "https://github.com/acme/shop/actions/runs/7/attempts/1"
    dead = record.judge(
        replace(RUN, environment="staging", person="carol", run_url=url),
        written_at=AT,
        now=AT + timedelta(hours=1),
    )
    moved = replace(MANUAL, environment="prod", person="bob@desk")
    lines = text.locks_lines([held, STATE, dead, moved], ["dev", "staging", "prod"])
    assert lines == [
        "environment  holder        command         since (UTC)          until (UTC)                     reason",
        "dev          alice@laptop  orch apply      2026-07-01 10:22:05  its end, renewed 10:22:05",
        "dev          bob@desk      terraform plan  ?                    its end",
        "  Terraform's lock of the state; if that run is dead: terraform force-unlock b5a4",
        "staging      carol         orch apply      2026-07-01 10:22:05  dead since 2026-07-01 10:24:05",
        f"  {url}",
        "prod         bob@desk      orch lock       2026-07-01 10:22:05  unlocked                        the database moves",
    ]


def test_no_locks():
    assert text.locks_lines([], ["dev", "prod"]) == ["not locked: dev, prod"]
    assert text.locks_lines([], []) == []


def test_the_results_of_lock_and_unlock():
    ends = replace(MANUAL, expires_at="2026-07-01 12:22:05 UTC")
    assert text.locked_lines(MANUAL) == [
        "dev is locked until it is unlocked: the database moves",
        "  → orch unlock --env dev",
    ]
    assert text.locked_lines(ends)[0] == "dev is locked until 2026-07-01 12:22:05 UTC: the database moves"
    assert text.unlocked_lines(Unlocked("dev", None)) == ["dev was not locked"]
    assert text.unlocked_lines(Unlocked("dev", RUN)) == [f"dev is unlocked; it was locked: {RUN.line}"]
    dead = replace(RUN, is_expired=True, expires_at="2026-07-01 10:24:05 UTC")
    assert (
        "which was dead since 2026-07-01 10:24:05 UTC: orch apply"
        in text.unlocked_lines(Unlocked("dev", dead))[0]
    )


def test_a_lock_for_programs():
    told = json.loads(json_lines.value_line(RUN))
    assert (told["type"], told["kind"], told["person"]) == ("lock", "run", "alice@laptop")
    nothing = json.loads(json_lines.value_line(Unlocked("dev", None)))
    assert nothing == {"type": "unlocked", "environment": "dev", "was": None}


# --- settings and durations


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("30m", 1_800),
        ("2h", 7_200),
        ("45s", 45),
        ("1d12h", 129_600),
        (" 1h30m ", 5_400),
        ("366d", 366 * 86_400),
    ],
)
def test_a_duration(said, seconds):
    assert duration_s(said) == seconds


@pytest.mark.parametrize(
    "said", ["", "0m", "soon", "2", "1h1d", "-1h", "1.5h", "367d", "2 h", "9" * 5_000 + "d"]
)
def test_what_is_no_duration(said):
    with pytest.raises(SettingsError) as caught:
        duration_s(said)
    assert caught.value.exit_code == 2
    assert "2h" in caught.value.hint


def test_how_long_to_wait_is_a_setting(tmp_path):
    assert settings.load(write(tmp_path, MINIMAL)).lock.timeout_s == 0
    assert settings.load(write(tmp_path, MINIMAL + "[lock]\ntimeout_s = 300\n")).lock.timeout_s == 300
    with pytest.raises(SettingsError, match="1 problem"):
        settings.load(write(tmp_path, MINIMAL + "[lock]\ntimeout_s = -1\n"))
