"""The pure parts behind `orch status`, `history`, `watch`, `diff` and `deploy`: how a service stands, what differs, what is said."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from orchestrator.ecs.revisions import Revision
from orchestrator.ecs.services import Deployment, ServiceState
from orchestrator.ecs.task_definition import TaskDefinition
from orchestrator.errors import SettingsError
from orchestrator.model import (
    Detail,
    Image,
    Lock,
    LockKind,
    Masked,
    Override,
    PromotedFrom,
    Release,
    ReleaseRecord,
    Replaced,
    Rollout,
    ServiceContract,
    ServiceDifference,
    Standing,
    Verdict,
    Watched,
)
from orchestrator.operations import diff, status
from orchestrator.operations.deploy import force
from orchestrator.operations.look import name_images
from orchestrator.operations.release import Candidate, Move
from orchestrator.report import json_lines
from orchestrator.report import releases as lines
from orchestrator.settings import Environment

NOW = datetime(2026, 7, 1, 12, 0, tzinfo=UTC)
FAMILY = "arn:aws:ecs:eu-central-1:111111111111:task-definition/demo-dev-web"
DIGEST = "sha256:" + "ab12" * 16
RELEASED = {
    "orch:release": "r7",
    "orch:git-sha": "c0ffee1234567890",
    "orch:released-at": "2026-07-01T06:53:00+00:00",
}
SERVICE = ServiceContract(
    "web", "r.example/web", "demo-dev", "web", "web", f"{FAMILY}:1", "demo-dev-web", "g", "e", "t", 2
)


def environment(name="dev", account="111111111111"):
    return Environment(name, account, "eu-central-1", Path("/root"), "bucket", None)


def deployment(number, *, state="COMPLETED", kind="PRIMARY", reason="", revision=7):
    return Deployment(f"ecs-svc/{number}", kind, state, reason, f"{FAMILY}:{revision}", 2, 0, 2, 0)


def service_state(*deployments, running=2, desired=2):
    return ServiceState("ACTIVE", f"{FAMILY}:7", desired, running, True, tuple(deployments), ())


def revision(tags=None, *, number=7, container=None, **request):
    web = {"name": "web", "image": f"r.example/web@{DIGEST}", **(container or {})}
    definition = TaskDefinition({"family": "demo-dev-web", "containerDefinitions": [web], **request})
    return Revision(f"{FAMILY}:{number}", definition, RELEASED if tags is None else tags)


RELEASE = Release(
    id="r7",
    environment="dev",
    service="web",
    account_id="111111111111",
    region="eu-central-1",
    image=Image("r.example/web", DIGEST),
    commit="c0ffee1234567890-dirty-abc",
    revision_arn=f"{FAMILY}:7",
    verdict=Verdict.SUCCEEDED,
    reason="",
    running_count=2,
    desired_count=2,
    actor="arn:aws:sts::111111111111:assumed-role/demo-dev-deploy/alice",
    started_at="2026-07-01T06:50:00+00:00",
    durations_s={"rollout": 65.0},
)
RECORD = ReleaseRecord("2026-07-01T06:51:55+00:00", "2026-07-01T06:53:00+00:00", RELEASE)
BAD = ReleaseRecord(
    "2026-07-01T11:00:00+00:00",
    "2026-07-01T11:20:00+00:00",
    dataclasses.replace(RELEASE, verdict=Verdict.ROLLED_BACK, reason="tasks failed to start\x1b[2J"),
)


# --- status


@pytest.mark.parametrize(
    ("state", "tags", "standing"),
    [
        (service_state(deployment(1)), RELEASED, Standing.RELEASED),
        (service_state(deployment(1)), {"orch:release": "r7"}, Standing.UNRECORDED),
        (service_state(deployment(1)), {}, Standing.NEW),
        (service_state(deployment(1, state="IN_PROGRESS")), RELEASED, Standing.ROLLING_OUT),
        (service_state(deployment(1, state="IN_PROGRESS"), desired=0, running=0), {}, Standing.NEW),
        (
            service_state(deployment(2, state="IN_PROGRESS"), deployment(1, state="FAILED", kind="ACTIVE")),
            RELEASED,
            Standing.ROLLING_BACK,
        ),
        (
            service_state(
                deployment(
                    2,
                    state="IN_PROGRESS",
                    reason="ECS deployment circuit breaker: rolling back to deploymentId ecs-svc/0.",
                )
            ),
            RELEASED,
            Standing.ROLLING_BACK,
        ),
        (service_state(deployment(1, state="FAILED")), {"orch:release": "r7"}, Standing.FAILED),
    ],
)
def test_how_a_service_stands(state, tags, standing):
    found = status.assess(environment(), SERVICE, state, revision(tags), None)
    assert found.standing is standing
    assert (found.image != "") == ("orch:release" in tags)


def test_a_service_that_is_gone_is_a_row_and_no_health():
    found = status.assess(environment(), SERVICE, None, None, RECORD)
    assert (found.standing, found.is_healthy) == (Standing.GONE, False)
    assert found.last_verdict is Verdict.SUCCEEDED


@pytest.mark.parametrize(
    ("state", "is_healthy"),
    [
        (service_state(deployment(1)), True),
        (service_state(deployment(1), running=1), False),
        (service_state(deployment(1, state="IN_PROGRESS")), True),
        (service_state(deployment(1, state="FAILED")), False),
        (service_state(deployment(1), running=0, desired=0), True),
    ],
)
def test_health_is_what_runs(state, is_healthy):
    # What became of the last release is no illness of the one that runs.
    assert status.assess(environment(), SERVICE, state, revision(), BAD).is_healthy is is_healthy


def board(*services, **more):
    values = {"locks": (), "notes": {}, "now": NOW, **more}
    return lines.status_lines(["dev", "staging", "prod"], services, **values)


def test_the_board_says_all_of_a_service_on_a_line_and_what_is_odd_below():
    good = status.assess(environment(), SERVICE, service_state(deployment(1)), revision(), RECORD)
    odd = status.assess(
        environment("prod"),
        dataclasses.replace(SERVICE, name="worker"),
        service_state(deployment(1), running=1, desired=3),
        revision({"orch:release": "r7"}),
        BAD,
    )
    lock = Lock("prod", LockKind.MANUAL, "1", None, person="alice@laptop", command="lock", reason="moving")
    assert board(good, odd, locks=[lock], notes={"staging": "not applied"}) == [
        "environment  service  rev  image         commit    state         age         tasks  last verdict",
        "dev          web      7    ab12ab12ab12  c0ffee12  released      5 h 07 min  2/2    SUCCEEDED",
        "staging: not applied",
        "prod         worker   7    ab12ab12ab12  -         not recorded  -           1/3    ROLLED_BACK",
        "    ! 1 of 3 tasks run",
        "    ! desired count 3, in Terraform 2",
        "    ! last release ROLLED_BACK 40 min ago: tasks failed to start",
        "    ! its rollout ended, and nobody recorded how: `orch watch` does",
        "    ! locked: orch lock of alice@laptop: moving",
    ]
    assert json.loads(json_lines.value_line(good))["standing"] == "released"


def test_a_board_without_any_service_has_no_head():
    notes = {"dev": "not applied", "staging": "cannot be read: no\x1b[2J", "prod": "not applied"}
    assert board(notes=notes) == ["dev: not applied", "staging: cannot be read: no", "prod: not applied"]


# --- history and watch


def test_the_history_is_a_table_with_the_reason_where_it_went_wrong():
    assert lines.history_lines("dev", [BAD, RECORD]) == [
        "began (UTC)       id  service  verdict      rev  image         commit     by                     took         notes",
        "2026-07-01 11:00  r7  web      ROLLED_BACK  7    ab12ab12ab12  c0ffee12+  demo-dev-deploy/alice  20 min 00 s  tasks failed to start",
        "2026-07-01 06:51  r7  web      SUCCEEDED    7    ab12ab12ab12  c0ffee12+  demo-dev-deploy/alice  1 min 05 s",
    ]
    assert lines.history_lines("dev", [], service="web") == ["dev · web: no release on record"]
    assert lines.history_lines("", []) == ["no release on record"]


FULL = ReleaseRecord(
    RECORD.began_at,
    RECORD.recorded_at,
    dataclasses.replace(
        RELEASE,
        id="20260701T065000Z-a1b2c3",
        environment="prod",
        overrides=(Override("freeze", "the fix"),),
        replaced=Replaced(f"{FAMILY}:8", DIGEST, "b0b0b0b0b0b0"),
        plan={"create": 2, "update": 1},
        gates=("max_destroy", "freeze"),
        run_url="https://ci.example/7",
        committed_at="2026-06-30T14:00:00+02:00",
        promoted_from=PromotedFrom("staging", "20260630T120000Z-0123ab"),
    ),
)


def test_the_history_tells_where_a_release_came_from_and_what_was_overridden():
    (head, row) = lines.history_lines("", [FULL])
    assert head.startswith("environment  began (UTC)       id      service")
    assert row.startswith("prod         2026-07-01 06:51  a1b2c3  web")
    assert row.endswith("1 min 05 s  rollback; from staging (0123ab); override freeze: the fix")


def test_everything_of_one_release():
    assert lines.record_lines(FULL) == [
        "prod · web: SUCCEEDED, a rollback  (20260701T065000Z-a1b2c3)",
        "  began     2026-07-01 06:51:55 UTC, recorded 2026-07-01 06:53:00 UTC, took 1 min 05 s",
        "  revision  demo-dev-web:7",
        "  tasks     2 of 2 running",
        f"  image     r.example/web@{DIGEST}",
        "  commit    c0ffee1234567890-dirty-abc of 2026-06-30 12:00:00 UTC",
        "  replaced  demo-dev-web:8, image ab12ab12ab12, commit b0b0b0b0",
        "  promoted  from staging, release 20260630T120000Z-0123ab",
        "  plan      2 to create, 1 to update",
        "  gates     max_destroy, freeze",
        "  override  freeze: the fix",
        "  steps     rollout 1 min 05 s",
        "  by        arn:aws:sts::111111111111:assumed-role/demo-dev-deploy/alice",
        "  run       https://ci.example/7",
    ]
    bare = lines.record_lines(BAD)
    assert bare[:2] == ["dev · web: ROLLED_BACK  (r7)", "  why       tasks failed to start"]
    assert not [line for line in bare if line.startswith(("  replaced", "  promoted", "  plan", "  run"))]


def test_what_was_watched():
    idle = Watched("dev", "web", None, last=BAD)
    assert lines.watched_lines(idle, now=NOW) == [
        "dev · web: no rollout is under way",
        "  last      ROLLED_BACK 40 min ago, demo-dev-web:7: tasks failed to start",
    ]
    assert lines.watched_lines(Watched("dev", "web", None), now=NOW) == [
        "dev · web: no rollout is under way, and no release is on record"
    ]
    foreign = Rollout("web", Verdict.SUCCEEDED, "done", f"{FAMILY}:9", "ecs-svc/1", 1, 1)
    shown = lines.watched_lines(Watched("dev", "web", foreign), now=NOW)
    assert shown[0] == "dev · web: SUCCEEDED"
    assert "  not recorded: orch did not register this revision" in shown
    done = lines.watched_lines(Watched("dev", "web", foreign, RELEASE), now=NOW)
    assert done[0] == "dev · web: SUCCEEDED"
    assert "  revision  demo-dev-web:7" in done


# --- diff


def side(name="dev", account="111111111111", *, commit="c0ffee12", desired=2, **definition):
    place = {"demo-dev": f"demo-{name}", "111111111111": account}

    def moved(value):
        text = json.dumps(value)
        for old, new in place.items():
            text = text.replace(old, new)
        return json.loads(text)

    definition = {
        "taskRoleArn": "arn:aws:iam::111111111111:role/orch/demo-dev/demo-dev-web-task",
        **definition,
    }
    found = revision({**RELEASED, "orch:git-sha": commit}, **definition)
    moved_definition = TaskDefinition(moved(found.definition.request))
    return diff.Running(
        environment(name, account),
        SERVICE,
        service_state(deployment(1), desired=desired),
        Revision(moved(found.arn), moved_definition, found.tags),
    )


def compared(one, other):
    return diff.compare("demo", "web", ("dev", "prod"), (one, other), {})


def test_environments_that_run_the_same_do_not_differ_by_their_names():
    container = {
        "secrets": [
            {"name": "KEY", "valueFrom": "arn:aws:secretsmanager:eu-central-1:111111111111:secret:key-abc"}
        ],
        "logConfiguration": {"logDriver": "awslogs", "options": {"awslogs-group": "/ecs/demo-dev/web"}},
    }
    one, other = side(container=container), side("prod", "333333333333", container=container)
    # Where a secret is read from has another ending in each account.
    other.revision.definition.request["containerDefinitions"][0]["secrets"][0]["valueFrom"] += "xyz"
    found = compared(one, other)
    assert (found.outcome, found.is_change, found.details) == ("both run the same", False, ())
    assert (found.before, found.after) == ("dev demo-dev-web:7", "prod demo-prod-web:7")


def test_environments_differ_by_digest_commit_size_names_and_count():
    one = side(
        cpu="256",
        container={
            "environment": [{"name": "A", "value": "secret-a"}, {"name": "HOST", "value": "demo-dev"}],
            "secrets": [{"name": "KEY", "valueFrom": "arn:x"}],
        },
    )
    other = side(
        "prod",
        "333333333333",
        commit="beef",
        desired=4,
        cpu="512",
        container={
            "image": f"r.example/web@sha256:{'c' * 64}",
            "environment": [{"name": "B", "value": "secret-b"}, {"name": "HOST", "value": "demo-dev"}],
        },
    )
    found = compared(one, other)
    assert found.is_change
    assert lines.difference_lines(found) == [
        "web: they differ  (dev demo-dev-web:7 → prod demo-prod-web:7)",
        "  ~ image: sha256:ab12ab12ab12… → sha256:cccccccccccc…",
        "  ~ commit: c0ffee12 → beef",
        "  ~ desired count: 2 → 4",
        "  ~ container web: environment B: added",
        # It does differ, if only by the name of the environment.
        "  ~ container web: environment HOST: another value",
        "  ~ container web: environment A: removed",
        "  ~ container web: secret KEY: - arn:x",
        "  ~ cpu: 256 → 512",
    ]
    assert "secret-" not in json_lines.value_line(found)


def test_a_service_that_one_of_them_lacks():
    found = compared(side(), None)
    assert (found.outcome, found.is_change, found.after) == ("prod has no such service", True, "prod nothing")


def test_a_difference_that_shows_no_value():
    difference = ServiceDifference(
        "web", "a", "b", "c", is_change=True, details=(Detail("x", Masked.SENSITIVE, Masked.SENSITIVE),)
    )
    assert lines.difference_lines(difference)[1] == "  ~ x: another value"


# --- deploy


def test_an_image_is_for_the_one_service_that_takes_part():
    assert name_images(("r/web@sha256:1",), ("web",)) == ("web=r/web@sha256:1",)
    assert name_images(("r/web@sha256:1",), ()) == ("r/web@sha256:1",)
    assert name_images(("web=r/web@sha256:1",), ("web", "api")) == ("web=r/web@sha256:1",)
    with pytest.raises(SettingsError, match="`api` is not among the services"):
        name_images(("api=r/api@sha256:1",), ("web",))


@pytest.mark.parametrize("move", list(Move))
def test_a_forced_deploy_starts_a_deployment_whatever_runs(move):
    current = revision()
    candidate = Candidate(
        target=None,
        image=RELEASE.image,
        commit="",
        move=move,
        wanted=current.definition,
        revision=None if move is Move.UPDATE else current,
        current=current,
        state=service_state(deployment(1)),
        desired_count=None,
        has_fallback=True,
        release_id="r8",
        started_at=NOW,
        runs_pre_deploy=False,
    )
    forced = force(candidate)
    if move in {Move.UPDATE, Move.RETRY}:
        assert forced == candidate
    else:
        assert (forced.move, forced.revision, forced.runs_pre_deploy) == (Move.RETRY, current, True)
