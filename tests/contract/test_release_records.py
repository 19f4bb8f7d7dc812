"""The release records of the store on the sandbox's S3: in which order they come, and what it costs to find some."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from orchestrator import store
from orchestrator.aws import Aws
from orchestrator.dora import Spread, Step
from orchestrator.errors import PreconditionError
from orchestrator.events import Steps, Warned
from orchestrator.model import Image, Override, PromotedFrom, Release, Replaced, Verdict
from orchestrator.operations.history import history, history_of_all
from orchestrator.operations.metrics import metrics
from orchestrator.operations.plan_all import Ready
from orchestrator.operations.release_show import show
from orchestrator.sandbox import control
from orchestrator.settings import Environment
from orchestrator.store import release_json

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
    replaced=Replaced(
        "arn:aws:ecs:eu-central-1:111111111111:task-definition/demo-dev-web:6", "sha256:" + "2" * 64, "b0b0"
    ),
    plan={"update": 2},
    gates=("freeze", "max_destroy"),
    run_url="https://ci.example/7",
    committed_at="2025-12-31T23:00:00+00:00",
    promoted_from=PromotedFrom("staging", "20251231T000000Z-0000aa"),
)
ENVIRONMENT = Environment("dev", ACCOUNT, REGION, None, BUCKET, None)
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


def test_a_release_is_recorded_once(s3, cloud):
    done = dataclasses.replace(RELEASE, id="20260101T000000Z-00000f")
    first = store.put_release(s3, BUCKET, done, at=START)
    before = len(cloud.calls())
    # As by a run that is repeated after a crash, which knows less by then.
    again = dataclasses.replace(done, replaced=None, committed_at="", durations_s={})
    assert store.put_release(s3, BUCKET, again, at=START) == first
    assert reads(cloud, before) == ["ListObjectsV2"]
    (record,) = store.releases(s3, BUCKET, **WHERE)
    assert record.release == done


def test_of_two_who_record_a_release_at_the_same_moment_the_first_one_does(s3):
    """Neither sees the other in the listing."""
    done = dataclasses.replace(RELEASE, id="20260101T000000Z-00000f")
    empty = s3.list_objects_v2(Bucket=BUCKET, Prefix="orch/releases/")
    key = store.put_release(s3, BUCKET, done, at=START)
    whole, s3.list_objects_v2 = s3.list_objects_v2, lambda **_request: empty
    try:
        assert store.put_release(s3, BUCKET, dataclasses.replace(done, reason="later"), at=START) == key
    finally:
        s3.list_objects_v2 = whole
    (record,) = store.releases(s3, BUCKET, **WHERE)
    assert record.release == done


def test_an_end_that_was_seen_later_counts_and_stands_beside_the_first_record(s3, cloud):
    put(s3, "worker", "worker")
    done = dataclasses.replace(RELEASE, id="20260101T000000Z-00000f")
    for verdict in (Verdict.TIMED_OUT, Verdict.SUCCEEDED, Verdict.UNKNOWN):
        store.put_release(
            s3, BUCKET, dataclasses.replace(done, verdict=verdict), at=START + timedelta(minutes=30)
        )
        cloud.advance(1)
    stored = s3.list_objects_v2(Bucket=BUCKET, Prefix="orch/releases/dev/")["Contents"]
    assert len([item for item in stored if "-00000f." in item["Key"]]) == 2
    ends = [
        (record.release.service, record.release.verdict) for record in store.releases(s3, BUCKET, **WHERE)
    ]
    assert ends == [("worker", "SUCCEEDED"), ("web", "SUCCEEDED"), ("worker", "SUCCEEDED")]
    told = store.briefs(s3, BUCKET, since=START, until=START + timedelta(days=1), **WHERE)
    assert [brief.verdict for brief in told] == ["SUCCEEDED"] * 3


def test_what_a_listing_tells_is_what_a_record_tells(s3, cloud):
    put(s3, "web")
    back = dataclasses.replace(
        RELEASE,
        id="20260101T010000Z-000001",
        revision_arn=RELEASE.revision_arn.replace(":7", ":5"),
        commit="",
        committed_at="",
        verdict=Verdict.FAILED,
    )
    store.put_release(s3, BUCKET, back, at=START + timedelta(hours=1))
    # The same two by an earlier orch, whose keys tell less.
    for number, done in enumerate((dataclasses.replace(RELEASE, id="20260101T000000Z-000000"), back)):
        countdown = 10**14 - int((START + timedelta(hours=number)).timestamp() * 1000)
        content = json.dumps({**dataclasses.asdict(done), "environment": "old"}).encode()
        s3.put_object(
            Bucket=BUCKET, Key=f"orch/releases/old/{countdown:014d}-web-{done.id}.json", Body=content
        )
    period = {"since": START, "until": START + timedelta(days=1), "account_id": ACCOUNT}
    before = len(cloud.calls())
    told = store.briefs(s3, BUCKET, environment="dev", **period)
    assert reads(cloud, before) == ["ListObjectsV2"]
    assert [(one.id[-6:], one.verdict, one.is_rollback, one.commit, one.committed_at) for one in told] == [
        ("000001", Verdict.FAILED, True, "", None),
        ("000000", Verdict.SUCCEEDED, False, "c0ffee", START - timedelta(hours=1)),
    ]
    was_read = store.briefs(s3, BUCKET, environment="old", **period)
    alike = {"environment": "dev", "recorded_at": START}
    assert [dataclasses.replace(one, **alike) for one in was_read] == [
        dataclasses.replace(one, **alike) for one in told
    ]


def test_a_period_has_its_beginning_and_not_its_end(s3):
    put(s3, *["web"] * 5)
    told = store.briefs(
        s3, BUCKET, since=START + timedelta(hours=1), until=START + timedelta(hours=3), **WHERE
    )
    assert [brief.began_at.hour for brief in told] == [2, 1]


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
    found = history(ENVIRONMENT, service="", limit=20, session=session, steps=Steps(told.append))
    assert [record.release.service for record in found] == ["web"]
    (warning,) = [event for event in told if isinstance(event, Warned)]
    assert "1 of the records cannot be read" in warning.message
    assert f"s3://{BUCKET}/orch/releases/dev/0000" in warning.hint
    assert store.last_releases(s3, BUCKET, services=("web",), **WHERE)["web"].release.service == "web"


def test_what_a_newer_orch_adds_to_a_record_is_no_hindrance(s3):
    data = {**dataclasses.asdict(RELEASE), "weather": "fine", "schema": 99}
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


# --- many of them

MANY = 2000
PROD = dataclasses.replace(ENVIRONMENT, name="prod")
SERVICES = ("api", "mail", "web", "web-admin", "worker")
# One release an hour, the last one an hour ago.
NOW = datetime.now(UTC).replace(microsecond=0)


def numbered(number):
    """The release of prod that has so many before it, when it began, and when it was recorded."""
    at = NOW - timedelta(hours=MANY - number)
    done = dataclasses.replace(
        RELEASE,
        id=f"{at:%Y%m%dT%H%M%SZ}-{number:06x}",
        environment="prod",
        service=SERVICES[number % 5],
        verdict=Verdict.ROLLED_BACK if number % 4 == 0 else Verdict.SUCCEEDED,
        commit=f"{number:08x}" + "0" * 32,
        committed_at=(at - timedelta(hours=2)).isoformat(),
    )
    return done, at, at + timedelta(minutes=10)


def fill(cloud):
    """2,000 releases of five services, as orch writes them, in one go."""
    objects = [
        {
            "key": store.release_key(done, at),
            "body": release_json.encode(done).decode(),
            "at": recorded_at.isoformat(),
        }
        for done, at, recorded_at in map(numbered, range(MANY))
    ]
    told = control.control(cloud.sandbox, "POST", f"buckets/{BUCKET}", objects)
    assert told == {"count": MANY}


def ready(session, environment=PROD, told=None):
    return Ready(environment, session, {}, Steps((told if told is not None else []).append))


def test_two_thousand_releases_cost_no_more_than_what_is_shown_of_them(session, s3, cloud):
    fill(cloud)

    def calls(ask):
        before = len(cloud.calls())
        found = ask()
        return found, Counter(reads(cloud, before))

    asked = {"service": "", "limit": 20}
    found, cost = calls(lambda: history(PROD, session=session, steps=Steps(print), **asked))
    assert [record.release for record in found] == [numbered(MANY - 1 - n)[0] for n in range(20)]
    assert found[0].recorded_at == numbered(MANY - 1)[2].isoformat()
    assert cost == {"ListObjectsV2": 1, "GetObject": 20}

    found, cost = calls(lambda: history(PROD, session=session, steps=Steps(print), service="web", limit=3))
    assert [record.release.id[-6:] for record in found] == [f"{number:06x}" for number in (1997, 1992, 1987)]
    assert cost == {"ListObjectsV2": 1, "GetObject": 3}

    period = {"since": NOW - timedelta(days=10), "until": NOW}
    found, cost = calls(lambda: metrics([ready(session)], **period))
    whole, *services = found.found
    # Ten days and the thirty before them.
    assert cost == {"ListObjectsV2": 1}
    assert (whole.changes, whole.deployments, whole.failed_changes) == (240, 180, 60)
    assert (whole.deployments_per_day, whole.change_failure_rate) == (18.0, 0.25)
    assert whole.lead_time == Spread(7800, 7800, 180)
    assert whole.recovery_time == Spread(600, 600, 60)
    assert [one.service for one in services] == list(SERVICES)

    found, cost = calls(
        lambda: metrics([ready(session)], since=NOW - timedelta(days=365), until=NOW, step=Step.WEEK)
    )
    assert sum(one.changes for one in found.found if not one.service) == MANY
    assert cost == {"ListObjectsV2": 2}

    found, cost = calls(lambda: metrics([ready(session)], service="web", **period))
    assert found.found == tuple(one for one in services if one.service == "web")
    (nothing,) = metrics([ready(session)], service="never", **period).found
    assert (nothing.service, nothing.changes, nothing.change_failure_rate) == ("never", 0, None)

    oldest = numbered(0)[0]
    record, cost = calls(lambda: show([ready(session)], oldest.id[:-2]))
    assert record.release == oldest
    assert cost == {"ListObjectsV2": 2, "GetObject": 1}
    record, cost = calls(lambda: show([ready(session)], "0007cf"))
    assert record.release.id == numbered(MANY - 1)[0].id
    record, cost = calls(lambda: show([ready(session)], numbered(MANY - 5)[0].id))
    assert cost == {"ListObjectsV2": 1, "GetObject": 1}


# --- one of them, and several environments


def test_one_release_by_the_beginning_of_its_id_in_any_environment(session, s3):
    put(s3, "web", "worker")
    done = dataclasses.replace(RELEASE, id="20260203T000000Z-00a1b2", environment="prod")
    store.put_release(s3, BUCKET, done, at=START)
    both = [ready(session, ENVIRONMENT), ready(session)]
    for wanted in ("20260203", "00a1", done.id):
        assert show(both, wanted).release == done
    with pytest.raises(PreconditionError, match="2 releases have an id that begins with 20260101") as raised:
        show(both, "20260101")
    assert raised.value.details == (
        "20260101T010000Z-000001 of worker in dev",
        "20260101T000000Z-000000 of web in dev",
    )
    with pytest.raises(PreconditionError, match="no release 20260203T000000Z-00a1b3 is on record") as raised:
        show(both, "20260203T000000Z-00a1b3")
    assert raised.value.details[0] == "there is 20260203T000000Z-00a1b2 of web in prod"
    with pytest.raises(PreconditionError, match="no release 00a2b2 is on record") as raised:
        show(both, "00a2b2")
    assert raised.value.details == ("there is 20260203T000000Z-00a1b2 of web in prod",)


def test_an_environment_that_cannot_be_read_hides_no_other(session, s3):
    put(s3, "web")
    store.put_release(
        s3, BUCKET, dataclasses.replace(RELEASE, id="20260203T000000Z-00a1b2", environment="prod"), at=NOW
    )
    told = []
    gone = dataclasses.replace(ENVIRONMENT, name="staging", state_bucket="no-such-bucket")
    every = [ready(session, gone, told), ready(session, ENVIRONMENT, told), ready(session, PROD, told)]
    answers = history_of_all(every, service="", limit=5)
    assert [record.release.environment for record in answers.found] == ["prod", "dev"]
    assert ["no state bucket no-such-bucket" in error.message for error in answers.errors] == [True]
    assert show(every, "20260101").release.environment == "dev"
    assert ["not looked for everywhere" in event.message for event in told] == [True]
    measured = metrics(every, since=NOW - timedelta(days=1), until=NOW + timedelta(days=1))
    assert [(one.environment, one.changes) for one in measured.found] == [
        ("dev", 0),
        ("prod", 1),
        ("prod", 1),
    ]
    assert len(measured.errors) == 1
    with pytest.raises(PreconditionError, match="no state bucket"):
        show(every[:1], "20260101")
