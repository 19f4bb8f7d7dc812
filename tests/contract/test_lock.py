"""lock/held and operations/lock against the sandbox's S3, on a clock that the test moves: S3's clock is what decides."""

from __future__ import annotations

import json
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta

import pytest
from botocore.awsrequest import AWSResponse
from botocore.httpsession import URLLib3Session

from orchestrator import settings as settings_file
from orchestrator.aws import Aws
from orchestrator.errors import (
    AwsError,
    DeclinedError,
    EnvironmentLockedError,
    PreconditionError,
    SettingsError,
)
from orchestrator.events import Steps, Warned
from orchestrator.lock import held
from orchestrator.model import Lock, LockKind
from orchestrator.operations import lock as locking
from orchestrator.permissions import Role
from orchestrator.sandbox import control

pytest_plugins = ("tests.contract.sandbox_fixtures",)
ACCOUNT, REGION = "111111111111", "eu-central-1"
BUCKET = f"orch-state-{ACCOUNT}-{REGION}"
KEY = "orch/locks/dev.json"
ALICE = Lock(
    "dev",
    LockKind.RUN,
    "alice",
    held.LIFETIME_S,
    owner=f"arn:aws:iam::{ACCOUNT}:user/alice",
    person="alice@laptop",
    command="apply",
    run_url="https://github.com/acme/shop/actions/runs/7/attempts/1",
    commit="c" * 40,
    host="laptop",
    pid=4242,
    acquired_at="2026-07-01 10:22:05 UTC",
)
BOB = replace(ALICE, id="bob", person="bob@desk", command="rollback", run_url="")
MANUAL = replace(BOB, kind=LockKind.MANUAL, lifetime_s=None, command="lock", reason="the database moves")
ORCH_TOML = f"""
project = "demo"
region = "{REGION}"

[services.web]
context = "app"

[environments.dev]
account_id = "{ACCOUNT}"

[environments.prod]
account_id = "222222222222"
"""


@pytest.fixture
def s3(cloud):
    """The state bucket, as bootstrap makes it where it matters here."""
    client = cloud.client("s3")
    client.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
    client.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    return client


@pytest.fixture
def place(s3):
    return held.Place(s3, BUCKET, ACCOUNT, "dev")


class Someone:
    """Who wants the lock, and what orch said to them."""

    def __init__(self, place, wanted):
        self.said = []
        self.held = held.Held(place, wanted, self.said.append)

    @property
    def warnings(self):
        return [event.message for event in self.said if isinstance(event, Warned)]


@pytest.fixture
def alice(place):
    return Someone(place, ALICE)


@pytest.fixture
def bob(place):
    return Someone(place, BOB)


def stored(s3):
    return json.loads(s3.get_object(Bucket=BUCKET, Key=KEY)["Body"].read())


def is_there(s3):
    return bool(s3.list_objects_v2(Bucket=BUCKET, Prefix=KEY).get("Contents"))


@contextmanager
def before_send(client, operation, handler):
    """Lets the handler answer requests in the place of S3, or before it."""
    client.meta.events.register(f"before-send.s3.{operation}", handler)
    try:
        yield
    finally:
        client.meta.events.unregister(f"before-send.s3.{operation}", handler)


def answer(request, status, code=""):
    """What S3 would answer."""

    class Raw:
        def stream(self, **_options):
            yield f"<Error><Code>{code}</Code><Message>said so</Message></Error>".encode()

    return AWSResponse(request.url, status, {}, Raw())


# --- one run after the other


def test_a_lock_says_who_holds_it_and_is_gone_when_given_back(alice, s3):
    assert alice.held.acquire()
    kept = stored(s3)
    assert kept["owner"] == f"arn:aws:iam::{ACCOUNT}:user/alice"
    assert (kept["person"], kept["host"], kept["pid"]) == ("alice@laptop", "laptop", 4242)
    assert (kept["kind"], kept["command"], kept["environment"]) == ("run", "apply", "dev")
    assert (kept["run_url"], kept["commit"]) == (ALICE.run_url, ALICE.commit)
    assert kept["lifetime_s"] == 120
    assert kept["heartbeat_at"] < kept["expires_at"]
    alice.held.release()
    assert not is_there(s3)
    assert alice.said == []


def test_what_is_read_back_is_the_lock_with_s3s_times(alice, place, s3):
    alice.held.acquire()
    found = held.read(place)
    written_at = s3.head_object(Bucket=BUCKET, Key=KEY)["LastModified"]
    assert found.lock == replace(
        ALICE,
        heartbeat_at=f"{written_at:%Y-%m-%d %H:%M:%S} UTC",
        expires_at=f"{written_at + timedelta(seconds=120):%Y-%m-%d %H:%M:%S} UTC",
    )
    assert found.etag == s3.head_object(Bucket=BUCKET, Key=KEY)["ETag"]


def test_it_can_be_taken_again_after_it_was_given_back(alice, bob, s3):
    # In a versioned bucket a delete marker is then what is there.
    alice.held.acquire()
    alice.held.release()
    assert bob.held.acquire()
    assert stored(s3)["id"] == "bob"


def test_the_bucket_keeps_every_version_in_its_order(alice, s3):
    alice.held.acquire()
    alice.held.renew()
    alice.held.release()
    listed = s3.list_object_versions(Bucket=BUCKET, Prefix=KEY)
    (marker,) = listed["DeleteMarkers"]
    assert marker["IsLatest"]
    beats = [
        json.loads(s3.get_object(Bucket=BUCKET, Key=KEY, VersionId=version["VersionId"])["Body"].read())[
            "beat"
        ]
        for version in listed["Versions"]
    ]
    assert beats == [2, 1]


def test_a_live_lock_refuses_and_names_its_holder(alice, bob):
    alice.held.acquire()
    with pytest.raises(EnvironmentLockedError) as caught:
        bob.held.acquire()
    error = caught.value
    assert error.exit_code == 22
    assert (
        error.message
        == "environment `dev` is locked: orch apply of alice@laptop, since 2026-07-01 10:22:05 UTC"
    )
    assert f"run       {ALICE.run_url}" in error.details
    assert f"identity  arn:aws:iam::{ACCOUNT}:user/alice" in error.details
    assert "process   4242 on laptop" in error.details
    assert any(line.startswith("ends") and "unless it is renewed" in line for line in error.details)
    assert "--lock-timeout SECONDS" in error.hint
    assert "orch unlock --env dev --force" in error.hint


def test_who_was_refused_gives_nothing_back(alice, bob, s3):
    alice.held.acquire()
    with pytest.raises(EnvironmentLockedError):
        bob.held.acquire()
    bob.held.release()
    assert stored(s3)["id"] == "alice"


# --- a holder that died


def test_a_dead_lock_is_taken_over_and_it_is_said_whose_it_was(alice, bob, cloud, s3):
    alice.held.acquire()
    cloud.advance(120)
    with pytest.raises(EnvironmentLockedError):
        bob.held.acquire()
    cloud.advance(2)
    assert bob.held.acquire()
    assert stored(s3)["id"] == "bob"
    (said,) = bob.warnings
    assert said.startswith("took over the lock of environment `dev`, which was dead since 20")
    assert said.endswith(": orch apply of alice@laptop, since 2026-07-01 10:22:05 UTC")
    assert "half done" in bob.said[0].hint


def test_the_times_that_the_object_tells_decide_nothing(alice, bob, s3):
    # Written by a machine whose clock is years behind, seconds ago by S3's.
    alice.held.acquire()
    wrong = stored(s3) | {
        "heartbeat_at": "2001-01-01 00:00:00 UTC",
        "expires_at": "2001-01-01 00:02:00 UTC",
    }
    s3.put_object(Bucket=BUCKET, Key=KEY, Body=json.dumps(wrong).encode())
    with pytest.raises(EnvironmentLockedError):
        bob.held.acquire()


def test_a_renewed_lock_stays_alive(alice, bob, cloud):
    alice.held.acquire()
    for _minute in range(5):
        cloud.advance(100)
        alice.held.renew()
    with pytest.raises(EnvironmentLockedError):
        bob.held.acquire()


def until(condition, timeout_s=10.0):
    """Waits for what another thread does."""
    ends = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < ends, "it did not happen"
        time.sleep(0.02)


def test_a_thread_keeps_it_alive_until_it_is_given_back(alice, bob, cloud, s3):
    alice.held.acquire()
    alice.held.keep(heartbeat_s=0.05)
    for _minute in range(3):
        beat = stored(s3)["beat"]
        cloud.advance(100)
        # The first that comes may have been under way already.
        until(lambda beat=beat: stored(s3)["beat"] >= beat + 2)
    with pytest.raises(EnvironmentLockedError):
        bob.held.acquire()
    alice.held.release()
    assert bob.held.acquire()
    time.sleep(0.2)
    assert stored(s3)["id"] == "bob"
    assert alice.said == []


def test_every_heartbeat_is_another_object(alice, place):
    alice.held.acquire()
    etags = {held.read(place).etag}
    for _beat in range(3):
        alice.held.renew()
        etags.add(held.read(place).etag)
    assert len(etags) == 4


# --- a holder that was taken for dead


def take_over(cloud, someone):
    cloud.advance(122)
    assert someone.held.acquire()


def test_who_lost_the_lock_learns_who_has_it_before_the_next_change(alice, bob, cloud, s3):
    alice.held.acquire()
    alice.held.require_held()
    take_over(cloud, bob)
    with pytest.raises(EnvironmentLockedError) as caught:
        alice.held.require_held()
    assert caught.value.exit_code == 22
    assert "this run has lost the lock of environment `dev`: it is now orch rollback of bob@desk" in str(
        caught.value
    )
    assert not alice.held.is_held
    # Once lost it stays lost, and is not given back in the name of its new holder.
    with pytest.raises(EnvironmentLockedError):
        alice.held.require_held()
    alice.held.release()
    assert stored(s3)["id"] == "bob"
    bob.held.require_held()


def test_the_thread_of_who_lost_it_says_so(alice, bob, cloud, s3):
    alice.held.acquire()
    take_over(cloud, bob)
    alice.held.keep(heartbeat_s=0.05)
    until(lambda: alice.warnings)
    (said,) = alice.warnings
    assert said.startswith(
        "this run has lost the lock of environment `dev`: it is now orch rollback of bob@desk"
    )
    alice.held.release()
    assert stored(s3)["id"] == "bob"


def test_who_lost_the_lock_unawares_does_not_give_back_that_of_its_new_holder(alice, bob, cloud, s3):
    alice.held.acquire()
    take_over(cloud, bob)
    alice.held.release()
    assert stored(s3)["id"] == "bob"
    assert alice.said == []


def test_a_lock_that_somebody_removed_is_not_made_anew(alice, place, s3):
    alice.held.acquire()
    held.remove(place, "alice")
    with pytest.raises(EnvironmentLockedError, match="somebody has removed it"):
        alice.held.require_held()
    assert not is_there(s3)


def test_who_overslept_holds_it_still_when_nobody_wanted_it(alice, cloud, bob):
    alice.held.acquire()
    cloud.advance(3_600)
    alice.held.require_held()
    with pytest.raises(EnvironmentLockedError):
        bob.held.acquire()


# --- at once


def race(place, count, ready):
    """Starts that many at the same moment; who got it, and who was refused."""
    barrier = threading.Barrier(count)
    outcomes = {}

    def run(number):
        wanted = held.Held(place, replace(ready, id=f"r{number}"), lambda _event: None)
        barrier.wait()
        try:
            wanted.acquire()
            outcomes[number] = wanted
        except EnvironmentLockedError:
            outcomes[number] = None

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [one for one in outcomes.values() if one is not None], len(outcomes)


def test_of_those_who_come_at_once_exactly_one_gets_it(place, s3):
    for _round in range(20):
        winners, asked = race(place, 3, ALICE)
        assert (len(winners), asked) == (1, 3)
        assert stored(s3)["id"] == winners[0].lock.id
        winners[0].release()


def test_of_those_who_find_it_dead_exactly_one_takes_it_over(place, s3, cloud):
    for number in range(20):
        dead = held.Held(place, replace(ALICE, id=f"dead{number}"), lambda _event: None)
        dead.acquire()
        cloud.advance(122)
        winners, asked = race(place, 2, BOB)
        assert (len(winners), asked) == (1, 2)
        assert stored(s3)["id"] == winners[0].lock.id
        winners[0].release()


def test_who_waits_gets_it_when_it_is_given_back(alice, bob):
    alice.held.acquire()
    timer = threading.Timer(0.5, alice.held.release)
    timer.start()
    assert bob.held.acquire(wait_s=20)
    timer.join()
    (said,) = bob.warnings
    assert said.startswith("environment `dev` is locked: orch apply of alice@laptop, since")
    assert said.endswith("; waiting for it, 20 s at most")


def test_who_waits_too_long_is_refused(alice, bob):
    alice.held.acquire()
    started = time.monotonic()
    with pytest.raises(EnvironmentLockedError):
        bob.held.acquire(wait_s=1)
    assert 1 <= time.monotonic() - started < 3


# --- what the network does


@pytest.fixture
def patient(cloud, s3, tmp_path):
    """A client as orch has it, which asks again."""
    return session_of(cloud, tmp_path).s3


def session_of(cloud, home, **environ):
    known = control.aws_environment(cloud.sandbox, account_id=ACCOUNT, region=REGION)
    return Aws(REGION, {"HOME": str(home), "USER": "alice", **known, **environ})


def lands_but_is_not_heard_of(times=1):
    """Requests that reach S3, and whose answers are lost on the way."""
    left = [times]

    def handler(request, **_rest):
        if left[0] == 0:
            return None
        left[0] -= 1
        URLLib3Session().send(request)
        return answer(request, 503, "SlowDown")

    return handler


def test_a_lock_whose_answer_was_lost_is_known_as_ones_own(patient, s3):
    wanted = held.Held(held.Place(patient, BUCKET, ACCOUNT, "dev"), ALICE, lambda _event: None)
    with before_send(patient, "PutObject", lands_but_is_not_heard_of()):
        assert wanted.acquire()
    wanted.require_held()
    wanted.release()
    assert not is_there(s3)


def test_a_heartbeat_whose_answer_was_lost_is_known_as_ones_own(patient, s3):
    wanted = held.Held(held.Place(patient, BUCKET, ACCOUNT, "dev"), ALICE, lambda _event: None)
    wanted.acquire()
    with before_send(patient, "PutObject", lands_but_is_not_heard_of()):
        wanted.require_held()
    assert wanted.is_held
    wanted.release()
    assert not is_there(s3)


def conflicts(times, seen):
    def handler(request, **_rest):
        seen.append(request.method)
        return answer(request, 409, "ConditionalRequestConflict") if len(seen) <= times else None

    return handler


@pytest.mark.parametrize("operation", ["PutObject", "DeleteObject"])
def test_a_conflict_with_another_request_is_tried_again(alice, s3, operation):
    seen = []
    with before_send(s3, operation, conflicts(2, seen)):
        assert alice.held.acquire()
        alice.held.release()
    assert len(seen) == 3
    assert not is_there(s3)
    assert alice.said == []


def test_a_conflict_that_does_not_end_is_an_error(alice, s3):
    with before_send(s3, "PutObject", conflicts(99, [])), pytest.raises(AwsError) as caught:
        alice.held.acquire()
    assert caught.value.code == "ConditionalRequestConflict"


def interrupts(request, **_rest):
    """Ctrl-C in the moment in which the request reaches S3."""
    URLLib3Session().send(request)
    raise KeyboardInterrupt


def test_a_run_that_is_interrupted_while_it_takes_the_lock_leaves_none(alice, s3):
    with before_send(s3, "PutObject", interrupts), pytest.raises(KeyboardInterrupt):
        alice.held.acquire()
    assert is_there(s3)
    alice.held.release()
    assert not is_there(s3)


def test_a_run_that_is_interrupted_while_it_renews_the_lock_leaves_none(alice, s3):
    alice.held.acquire()
    with before_send(s3, "PutObject", interrupts), pytest.raises(KeyboardInterrupt):
        alice.held.require_held()
    alice.held.release()
    assert not is_there(s3)


def refuses(request, **_rest):
    return answer(request, 500, "InternalError")


def test_a_run_goes_on_while_s3_does_not_answer_and_nobody_can_have_taken_over(alice, s3):
    alice.held.acquire()
    with before_send(s3, "PutObject", refuses):
        alice.held.require_held()
    alice.held.require_held()


def test_a_run_stops_when_s3_did_not_answer_for_a_lifetime(place, s3):
    short = Someone(place, replace(ALICE, lifetime_s=0.2))
    short.held.acquire()
    time.sleep(0.3)
    with before_send(s3, "PutObject", refuses), pytest.raises(EnvironmentLockedError) as caught:
        short.held.require_held()
    assert "could not be renewed" in caught.value.message
    assert "InternalError" in caught.value.message


def test_a_heartbeat_that_fails_is_told_once_and_tried_again(alice, s3):
    alice.held.acquire()
    failed = []

    def fails_thrice(request, **_rest):
        failed.append(request)
        return answer(request, 403, "AccessDenied") if len(failed) <= 3 else None

    with before_send(s3, "PutObject", fails_thrice):
        alice.held.keep(heartbeat_s=0.05)
        until(lambda: len(failed) > 5)
    assert len(alice.warnings) == 1
    assert "could not be renewed, and is tried again: s3:PutObject failed: AccessDenied" in alice.warnings[0]
    assert alice.held.is_held
    alice.held.release()
    assert not is_there(s3)


def test_a_lock_that_cannot_be_given_back_is_told(alice, s3):
    alice.held.acquire()
    with before_send(s3, "DeleteObject", lambda request, **_rest: answer(request, 403, "AccessDenied")):
        alice.held.release()
    (said,) = alice.warnings
    assert "could not be given back, and ends by itself in 120 s: s3:DeleteObject failed" in said
    assert "orch unlock --env dev --force" in alice.said[0].hint


def test_every_request_names_the_account_that_the_bucket_must_belong_to(alice, bob, place, s3):
    said = []
    with before_send(
        s3, "*", lambda request, **_rest: said.append(request.headers.get("x-amz-expected-bucket-owner"))
    ):
        alice.held.acquire()
        with pytest.raises(EnvironmentLockedError):
            bob.held.acquire()
        alice.held.renew()
        held.read_terraform(place)
        alice.held.release()
    assert len(said) >= 6
    assert set(said) == {ACCOUNT.encode()}


def test_without_a_bucket_there_is_nothing_to_protect(cloud):
    nobody = Someone(held.Place(cloud.client("s3"), BUCKET, ACCOUNT, "dev"), ALICE)
    assert not nobody.held.acquire()
    nobody.held.require_held()
    nobody.held.release()
    assert nobody.said == []


# --- what else may lie there


def test_an_object_that_is_no_lock_is_refused_for_ever_and_can_be_removed(bob, place, cloud, s3):
    s3.put_object(Bucket=BUCKET, Key=KEY, Body=b'{"version": 2, "kind": "run"}')
    cloud.advance(10**6)
    with pytest.raises(EnvironmentLockedError) as caught:
        bob.held.acquire()
    assert "not one that this version of orch can read" in caught.value.message
    assert f"s3://{BUCKET}/{KEY}" in caught.value.hint
    held.remove(place, held.read(place).lock.id)
    assert not is_there(s3)


def test_a_persons_lock_never_ends_by_itself(place, bob, cloud):
    manual = Someone(place, replace(MANUAL, id="manual"))
    manual.held.acquire()
    cloud.advance(86_400 * 400)
    with pytest.raises(EnvironmentLockedError) as caught:
        bob.held.acquire()
    assert caught.value.message.endswith(": the database moves")
    assert "orch unlock --env dev" in caught.value.hint
    assert not any(line.startswith("ends") for line in caught.value.details)


def test_a_persons_lock_ends_when_its_time_is_over(place, bob, cloud):
    manual = Someone(place, replace(MANUAL, id="manual", lifetime_s=7_200.0))
    manual.held.acquire()
    cloud.advance(7_000)
    with pytest.raises(EnvironmentLockedError):
        bob.held.acquire()
    cloud.advance(202)
    assert bob.held.acquire()


def test_terraforms_own_lock_is_read(place, s3):
    assert held.read_terraform(place) is None
    content = {
        "ID": "b5a4d1c2",
        "Operation": "OperationTypeApply",
        "Info": "",
        "Who": "alice@laptop",
        "Version": "1.11.0",
        "Created": "2026-07-01T10:22:05.123456789Z",
        "Path": f"{BUCKET}/dev/terraform.tfstate",
    }
    s3.put_object(Bucket=BUCKET, Key="dev/terraform.tfstate.tflock", Body=json.dumps(content).encode())
    found = held.read_terraform(place)
    assert (found.kind, found.id) == (LockKind.TERRAFORM, "b5a4d1c2")
    assert found.line == "terraform apply of alice@laptop, since 2026-07-01 10:22:05 UTC"


# --- the use cases


@pytest.fixture
def settings(tmp_path):
    file = tmp_path / "orch.toml"
    file.write_text(ORCH_TOML)
    return settings_file.load(file)


class Desk:
    """A person at a machine, or a workflow, with the use cases at hand."""

    def __init__(self, cloud, settings, home, **environ):
        self.settings, self.environment = settings, settings.environment("dev")
        self.session = session_of(cloud, home, **environ)
        self.environ = self.session.environ
        self.said = []
        self.steps = Steps(self.said.append)

    def hold(self, command="apply"):
        return locking.hold(
            self.settings,
            self.environment,
            command,
            session=self.session,
            role=Role.APPLY,
            environ=self.environ,
            steps=self.steps,
        )

    def lock(self, reason="the database moves", lifetime_s=None):
        return locking.lock(
            self.settings,
            self.environment,
            reason=reason,
            lifetime_s=lifetime_s,
            session=self.session,
            environ=self.environ,
            steps=self.steps,
        )

    def unlock(self, *, force=False, ask=lambda _question: pytest.fail("nothing was to be asked")):
        return locking.unlock(
            self.settings,
            self.environment,
            force=force,
            ask=ask,
            session=self.session,
            environ=self.environ,
        )

    def locks(self):
        return locking.locks(self.environment, self.session)


@pytest.fixture
def desk(cloud, settings, tmp_path):
    return Desk(cloud, settings, tmp_path)


@pytest.fixture
def other(cloud, settings, tmp_path):
    """The same role, and another person."""
    return Desk(cloud, settings, tmp_path, USER="bob")


def test_the_lock_is_held_during_the_block_and_not_after_it(desk, other, s3):
    with desk.hold() as ours:
        kept = stored(s3)
        assert (kept["command"], kept["kind"]) == ("apply", "run")
        assert kept["person"].startswith("alice@")
        assert kept["owner"].startswith("arn:aws:")
        ours.require_held()
        with pytest.raises(EnvironmentLockedError, match="orch apply of alice@"), other.hold("destroy"):
            pytest.fail("two at once")
    assert not is_there(s3)


@pytest.mark.parametrize("error", [KeyboardInterrupt, PreconditionError("no"), RuntimeError("bug")])
def test_the_lock_is_given_back_whatever_happens(desk, s3, error):
    with pytest.raises(error if isinstance(error, type) else type(error)), desk.hold():
        raise error
    assert not is_there(s3)


def test_a_workflow_is_named_by_its_run(cloud, settings, tmp_path, other, s3):
    event = tmp_path / "event.json"
    event.write_text("{}")
    workflow = Desk(
        cloud,
        settings,
        tmp_path,
        GITHUB_ACTIONS="true",
        GITHUB_ACTOR="carol",
        GITHUB_REPOSITORY="acme/shop",
        GITHUB_RUN_ID="7",
        GITHUB_RUN_ATTEMPT="2",
        GITHUB_EVENT_NAME="push",
        GITHUB_EVENT_PATH=str(event),
    )
    with workflow.hold(), pytest.raises(EnvironmentLockedError) as caught, other.hold():
        pytest.fail("two at once")
    assert "orch apply of carol, since" in caught.value.message
    assert "run       https://github.com/acme/shop/actions/runs/7/attempts/2" in caught.value.details


def test_credentials_of_another_account_are_told_before_anything_is_written(cloud, settings, tmp_path, s3):
    stranger = Desk(cloud, settings, tmp_path, AWS_ACCESS_KEY_ID="222222222222")
    with pytest.raises(PreconditionError, match="belong to account 222222222222"), stranger.hold():
        pytest.fail("another account's")
    assert not is_there(s3)
    assert "belong to account 222222222222" in stranger.locks().error.message


def test_a_role_that_knows_of_no_lock_is_told_how_it_gets_to_know(desk, s3):
    client = desk.session.acting_as(Role.APPLY).s3

    def denied(request, **_rest):
        return answer(request, 403, "AccessDenied")

    with before_send(client, "*", denied), pytest.raises(AwsError) as caught, desk.hold():
        pytest.fail("without a lock")
    assert "allow s3:PutObject to the role that ran this: on orch/locks/dev.json" in caught.value.hint
    assert "orch bootstrap --env dev" in caught.value.hint


def test_without_a_bucket_a_run_goes_on_so_that_terraform_says_what_to_do(desk):
    with desk.hold() as ours:
        ours.require_held()
    assert [event.outcome for event in desk.said if hasattr(event, "outcome")] == ["skipped"]
    with pytest.raises(PreconditionError, match="nothing to lock") as caught:
        desk.lock()
    assert "orch bootstrap --env dev" in caught.value.hint
    assert desk.unlock().was is None
    assert desk.locks().locks == ()


def test_a_person_locks_everybody_out_until_they_unlock(desk, other, s3):
    done = desk.lock()
    assert (done.kind, done.reason, done.expires_at) == (LockKind.MANUAL, "the database moves", "")
    for whose in (desk, other):
        with pytest.raises(EnvironmentLockedError, match="the database moves"), whose.hold():
            pytest.fail("in spite of a person's lock")
    with pytest.raises(EnvironmentLockedError, match="orch lock of alice@"):
        other.lock("mine")
    assert desk.unlock().was == done
    assert desk.unlock().was is None
    with other.hold():
        pass


def test_ones_own_lock_is_replaced_by_a_new_one(desk, s3):
    desk.lock("first")
    again = desk.lock("second", lifetime_s=3_600.0)
    assert (again.reason, again.lifetime_s) == ("second", 3_600.0)
    assert again.expires_at
    assert [event for event in desk.said if isinstance(event, Warned)] == []


def test_a_lock_without_a_reason_is_refused(desk, s3):
    with pytest.raises(SettingsError, match="--reason says nothing"):
        desk.lock("  ")
    assert not is_there(s3)


def test_the_lock_of_somebody_else_needs_force_and_a_yes(desk, other, s3):
    other.lock()
    with pytest.raises(EnvironmentLockedError, match="orch lock of bob@"):
        desk.unlock()
    asked = []

    def no(question):
        asked.append(question)
        return False

    with pytest.raises(DeclinedError):
        desk.unlock(force=True, ask=no)
    assert is_there(s3)
    assert "orch lock of bob@" in asked[0]
    assert "the database moves" in asked[0]
    assert desk.unlock(force=True, ask=lambda _question: True).was.person.startswith("bob@")
    assert not is_there(s3)


def test_the_lock_of_a_run_needs_force_even_if_it_is_ones_own(desk, s3):
    with desk.hold() as ours:
        with pytest.raises(EnvironmentLockedError):
            desk.unlock()

        def yes(question):
            assert "If that run is alive" in question
            # The run goes on while the question stands there.
            ours.renew()
            return True

        assert desk.unlock(force=True, ask=yes).was.command == "apply"
        assert not is_there(s3)
        with pytest.raises(EnvironmentLockedError, match="somebody has removed it"):
            ours.require_held()


def test_a_lock_that_changed_hands_during_the_question_stays(desk, other, place, s3):
    other.lock()

    def yes(_question):
        held.remove(place, stored(s3)["id"])
        held.Held(place, ALICE, lambda _event: None).acquire()
        return True

    with pytest.raises(
        EnvironmentLockedError, match="changed hands meanwhile: it is now orch apply of alice"
    ):
        desk.unlock(force=True, ask=yes)
    assert stored(s3)["id"] == "alice"


def test_a_dead_lock_is_removed_without_a_question(desk, place, cloud, s3):
    held.Held(place, BOB, lambda _event: None).acquire()
    cloud.advance(122)
    done = desk.unlock()
    assert (done.was.id, done.was.is_expired) == ("bob", True)
    assert not is_there(s3)


def test_all_locks_of_an_environment_are_told(desk, s3):
    s3.put_object(
        Bucket=BUCKET,
        Key="dev/terraform.tfstate.tflock",
        Body=b'{"ID": "1", "Who": "bob@desk", "Operation": ""}',
    )
    with desk.hold():
        kinds = [lock.kind for lock in desk.locks().locks]
    assert kinds == [LockKind.RUN, LockKind.TERRAFORM]
    assert [lock.kind for lock in desk.locks().locks] == [LockKind.TERRAFORM]
