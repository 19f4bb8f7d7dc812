"""A release record as JSON: what was written comes back, whichever orch wrote it, and the published schema holds for it."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.model import Image, Override, PromotedFrom, Release, Replaced, Verdict
from orchestrator.store import release_key
from orchestrator.store.release_json import VERSION, decode, encode, json_schema

ARN = "arn:aws:ecs:eu-central-1:111111111111:task-definition/demo-dev-web"
RELEASE = Release(
    id="20260101T000000Z-00000f",
    environment="dev",
    service="web",
    account_id="111111111111",
    region="eu-central-1",
    image=Image("r.example/web", "sha256:" + "1" * 64),
    commit="c0ffee",
    revision_arn=f"{ARN}:7",
    verdict=Verdict.SUCCEEDED,
    reason="",
    running_count=2,
    desired_count=2,
    actor="arn:aws:iam::111111111111:user/alice",
    started_at="2026-01-01T00:00:00+00:00",
    durations_s={"rollout": 1.5},
)
ADDED = ("replaced", "plan", "gates", "run_url", "committed_at", "promoted_from")
texts = st.text(max_size=20)
releases = st.builds(
    Release,
    image=st.builds(Image, texts, texts),
    verdict=st.sampled_from(Verdict),
    durations_s=st.dictionaries(texts, st.floats(0, 1e6)),
    overrides=st.lists(st.builds(Override, texts, texts), max_size=3).map(tuple),
    replaced=st.none() | st.builds(Replaced, texts, texts, texts),
    plan=st.none() | st.dictionaries(texts, st.integers(0, 99)),
    gates=st.lists(texts, max_size=3).map(tuple),
    promoted_from=st.none() | st.builds(PromotedFrom, texts, texts),
    **dict.fromkeys(
        (
            *("id", "environment", "service", "account_id", "region", "commit", "revision_arn"),
            *("reason", "actor", "started_at", "run_url", "committed_at"),
        ),
        texts,
    ),
    running_count=st.integers(0, 9),
    desired_count=st.integers(0, 9),
)


@given(releases)
def test_what_is_written_comes_back_and_fits_the_schema(release):
    content = encode(release)
    assert decode(content) == release
    jsonschema.validate(json.loads(content), json_schema(), jsonschema.Draft202012Validator)


def test_the_schema_is_one_and_tells_the_version():
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    assert json.loads(encode(RELEASE))["schema"] == VERSION
    assert not set(ADDED) & set(schema["required"])
    assert schema["properties"]["verdict"]["enum"] == [verdict.value for verdict in Verdict]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**json.loads(encode(RELEASE)), "verdict": "MOOD"}, schema)


def test_a_record_of_an_earlier_orch_is_read():
    first = {
        name: value for name, value in json.loads(encode(RELEASE)).items() if name not in {*ADDED, "schema"}
    }
    assert decode(json.dumps(first).encode()) == RELEASE
    del first["overrides"]
    assert decode(json.dumps(first).encode()) == RELEASE


def test_what_a_newer_orch_adds_is_left_out_at_every_level():
    data = json.loads(encode(dataclasses.replace(RELEASE, promoted_from=PromotedFrom("staging", "r1"))))
    data |= {"schema": VERSION + 1, "weather": "fine"}
    data["promoted_from"]["account_id"] = "222222222222"
    data["image"]["platforms"] = ["linux/arm64"]
    assert decode(json.dumps(data).encode()).promoted_from == PromotedFrom("staging", "r1")


@pytest.mark.parametrize(
    "change",
    [
        {"reason": 5},
        {"running_count": "2"},
        {"running_count": True},
        {"durations_s": [1]},
        {"durations_s": {"rollout": "long"}},
        {"overrides": [{"rule": "freeze"}]},
        {"overrides": "freeze"},
        {"image": "r.example/web"},
        {"verdict": None},
        {"plan": {"create": 0.5}},
        {"promoted_from": []},
    ],
)
def test_what_is_no_record_is_none(change):
    with pytest.raises((ValueError, TypeError, KeyError)):
        decode(json.dumps(json.loads(encode(RELEASE)) | change).encode())


# --- keys, and which way a release went

AT = datetime(2026, 1, 1, 0, 0, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({}, "SUCCEEDED.forward.c0ffee.-.json"),
        ({"verdict": Verdict.ROLLED_BACK, "commit": ""}, "ROLLED_BACK.forward.-.-.json"),
        ({"commit": "c0ffee" * 6 + "c0ff-dirty-abc"}, "SUCCEEDED.forward.c0ffeec0ffee.-.json"),
        ({"committed_at": "2026-01-01T01:00:00+01:00"}, "SUCCEEDED.forward.c0ffee.1767225600.json"),
        ({"committed_at": "1960-01-01T01:00:00+01:00"}, "SUCCEEDED.forward.c0ffee.-.json"),
        ({"committed_at": "yesterday"}, "SUCCEEDED.forward.c0ffee.-.json"),
        ({"replaced": Replaced(f"{ARN}:8")}, "SUCCEEDED.back.c0ffee.-.json"),
    ],
)
def test_a_key_tells_what_the_metrics_need(change, told):
    key = release_key(dataclasses.replace(RELEASE, **change), AT)
    assert key == f"orch/releases/dev/98232774399000-web-20260101T000000Z-00000f.{told}"


@given(st.datetimes(datetime(2015, 1, 1), datetime(2100, 1, 1)), st.integers(1, 10**12))  # noqa: DTZ001 - given a zone below
def test_a_later_release_sorts_before_an_earlier_one(at, later_ms):
    from datetime import timedelta

    first = release_key(RELEASE, at.replace(tzinfo=UTC))
    second = release_key(RELEASE, at.replace(tzinfo=UTC) + timedelta(milliseconds=later_ms))
    assert second < first


@pytest.mark.parametrize(
    ("before", "is_rollback"),
    [(f"{ARN}:8", True), (f"{ARN}:7", False), (f"{ARN}:6", False), (f"{ARN}-old:9", False), ("", False)],
)
def test_a_rollback_goes_to_an_older_revision_of_the_family(before, is_rollback):
    assert dataclasses.replace(RELEASE, replaced=Replaced(before)).is_rollback is is_rollback
    assert not RELEASE.is_rollback
