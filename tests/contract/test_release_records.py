"""The release records of the store on the sandbox's S3: in which order they come, and what it costs to find some."""

from __future__ import annotations

import dataclasses
import itertools
import json
from datetime import UTC, datetime, timedelta

import pytest

from orchestrator import store
from orchestrator.aws import Aws
from orchestrator.errors import PreconditionError
from orchestrator.events import Steps, Warned
from orchestrator.model import Image, Override, Release, Verdict
from orchestrator.operations.history import history
from orchestrator.sandbox import control
from orchestrator.settings import Environment

pytest_plugins = ("tests.contract.sandbox_fixtures",)
ACCOUNT, REGION, BUCKET = "111111111111", "eu-central-1", "orch-state"
START = datetime(2026, 1, 1, tzinfo=UTC)
RELEASE = Release(
    id="",
    environment="dev",
    service="web",
    account_id=ACCOUNT,
    region=REGION,
    image=Image("r.example/web", "sha256:" + "1" * 64),
    commit="c0ffee",
    revision_arn="arn:aws:ecs:eu-central-1:111111111111:task-definition/demo-dev-web:7",
    verdict=Verdict.SUCCEEDED,
    reason="",
    running_count=2,
    desired_count=2,
    actor="arn:aws:iam::111111111111:user/alice",
    started_at="2026-01-01T00:00:00+00:00",
    durations_s={"rollout": 1.5},
    overrides=(Override("freeze", "the fix"),),
)
WHERE = {"environment": "dev", "account_id": ACCOUNT}


@pytest.fixture
def session(cloud, tmp_path):
    environ = control.aws_environment(cloud.sandbox, account_id=ACCOUNT, region=REGION)
    made = Aws(REGION, {"HOME": str(tmp_path), **environ})
    store.create_bucket(made.s3, BUCKET, region=REGION, account_id=ACCOUNT)
    return made


@pytest.fixture
def s3(session):
    return session.s3


def put(s3, *services, more=0):
    """One release a service, an hour apart, the first one named is the oldest."""
    for number, service in enumerate(services, start=more):
        at = START + timedelta(hours=number)
        done = dataclasses.replace(RELEASE, id=f"{at:%Y%m%dT%H%M%SZ}-{number:06x}", service=service)
        store.put_release(s3, BUCKET, done, at=at)


def reads(cloud, since):
    return [call["operation"] for call in cloud.calls()[since:] if call.get("service") == "s3"]


def test_a_record_comes_back_as_it_was_written(s3):
    put(s3, "web")
    (record,) = store.releases(s3, BUCKET, **WHERE)
    assert record.release == dataclasses.replace(RELEASE, id="20260101T000000Z-000000")
    assert record.began_at == "2026-01-01T00:00:00+00:00"
    # When it was recorded, S3 says.
    (listed,) = s3.list_objects_v2(Bucket=BUCKET, Prefix="orch/releases/dev/")["Contents"]
    assert datetime.fromisoformat(record.recorded_at) == listed["LastModified"].replace(microsecond=0)


def test_the_newest_come_first_and_only_those_that_are_asked_for_are_read(s3, cloud):
    put(s3, *["web"] * 30)
    before = len(cloud.calls())
    found = list(itertools.islice(store.releases(s3, BUCKET, **WHERE), 3))
    assert [record.began_at[:13] for record in found] == ["2026-01-02T05", "2026-01-02T04", "2026-01-02T03"]
    assert reads(cloud, before) == ["ListObjectsV2", "GetObject", "GetObject", "GetObject"]


def test_those_of_one_service_are_found_by_their_keys(s3, cloud):
    # A service whose name begins as another's does is another.
    put(s3, "web", "worker", *["web-api"] * 20)
    before = len(cloud.calls())
    found = list(store.releases(s3, BUCKET, service="web", **WHERE))
    assert [record.release.service for record in found] == ["web"]
    assert reads(cloud, before) == ["ListObjectsV2", "GetObject"]


def test_the_newest_of_each_service_cost_a_read_each(s3, cloud):
    put(s3, "web", "worker", *["web"] * 10, "gone")
    before = len(cloud.calls())
    found = store.last_releases(s3, BUCKET, services=("web", "worker", "never"), **WHERE)
    assert {name: record.began_at[:13] for name, record in found.items()} == {
        "web": "2026-01-01T11",
        "worker": "2026-01-01T01",
    }
    assert reads(cloud, before) == ["ListObjectsV2", "GetObject", "GetObject"]


def test_records_of_an_earlier_orch_are_found_too(s3):
    """Their keys do not say whose they are."""
    for number, service in enumerate(("web", "worker")):
        at = START + timedelta(hours=number)
        countdown = 10**14 - int(at.timestamp() * 1000)
        body = json.dumps(dataclasses.asdict(dataclasses.replace(RELEASE, id=f"r{number}", service=service)))
        key = f"orch/releases/dev/{countdown:014d}-20260101T0{number}0000Z-aaaaaa.json"
        s3.put_object(Bucket=BUCKET, Key=key, Body=body.encode())
    put(s3, "web", more=5)
    assert [record.release.id for record in store.releases(s3, BUCKET, **WHERE)][1:] == ["r1", "r0"]
    (_newest, older) = store.releases(s3, BUCKET, service="web", **WHERE)
    assert (older.release.id, older.began_at) == ("r0", "2026-01-01T00:00:00+00:00")
    found = store.last_releases(s3, BUCKET, services=("web", "worker"), **WHERE)
    assert (found["worker"].release.id, found["web"].began_at[:13]) == ("r1", "2026-01-01T05")


def test_more_than_a_page_of_records(s3, cloud):
    """Pages are asked for one by one. moto takes MaxKeys, so a page here is one of three."""
    put(s3, *["web"] * 7)
    whole = s3.list_objects_v2

    def in_small_pages(**request):
        return whole(**{**request, "MaxKeys": 3})

    s3.list_objects_v2 = in_small_pages
    try:
        before = len(cloud.calls())
        assert len(list(store.releases(s3, BUCKET, **WHERE))) == 7
        assert reads(cloud, before).count("ListObjectsV2") == 3
        before = len(cloud.calls())
        next(store.releases(s3, BUCKET, **WHERE))
        assert reads(cloud, before) == ["ListObjectsV2", "GetObject"]
    finally:
        del s3.list_objects_v2


@pytest.mark.parametrize(
    "content",
    [b"not JSON", b"[]", b"{}", b'{"verdict": "MOOD", "image": {}}', b'"text"', b"\xff\xfe"],
)
def test_what_is_no_record_is_left_out_and_told(session, s3, content):
    put(s3, "web")
    s3.put_object(
        Bucket=BUCKET, Key="orch/releases/dev/00000000000000-web-20260101T000000Z-aaaaaa.json", Body=content
    )
    told = []
    environment = Environment("dev", ACCOUNT, REGION, None, BUCKET, None)
    found = history(environment, service="", limit=20, session=session, steps=Steps(told.append))
    assert [record.release.service for record in found] == ["web"]
    (warning,) = [event for event in told if isinstance(event, Warned)]
    assert "1 of the records cannot be read" in warning.message
    assert f"s3://{BUCKET}/orch/releases/dev/0000" in warning.hint
    assert store.last_releases(s3, BUCKET, services=("web",), **WHERE)["web"].release.service == "web"


def test_what_a_newer_orch_adds_to_a_record_is_no_hindrance(s3):
    data = {**dataclasses.asdict(RELEASE), "weather": "fine"}
    s3.put_object(Bucket=BUCKET, Key="orch/releases/dev/1.json", Body=json.dumps(data).encode())
    (record,) = store.releases(s3, BUCKET, **WHERE)
    assert record.release == RELEASE
    assert record.began_at == record.recorded_at


def test_no_history_without_a_bucket_or_in_another_account(session):
    environment = Environment("dev", ACCOUNT, REGION, None, "no-such-bucket", None)
    asked = {"service": "", "limit": 20, "session": session, "steps": Steps(lambda _event: None)}
    with pytest.raises(PreconditionError, match="no state bucket no-such-bucket") as raised:
        history(environment, **asked)
    assert "orch bootstrap --env dev" in raised.value.hint
    other = dataclasses.replace(environment, account_id="222222222222")
    with pytest.raises(PreconditionError, match="but environment `dev` lives in account 222222222222"):
        history(other, **asked)
