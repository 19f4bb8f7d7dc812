from __future__ import annotations

from datetime import UTC, datetime

import pytest

from orchestrator.ecs import launch, rollout
from orchestrator.ecs import verdict as verdicts
from orchestrator.ecs.followed import Terms
from orchestrator.ecs.revisions import Revision
from orchestrator.ecs.services import Deployment, ServiceDeployment, ServiceState
from orchestrator.ecs.task_definition import TaskDefinition
from orchestrator.model import Verdict
from orchestrator.operations.release import Move, next_move

OURS, OTHER = "ecs-svc/2", "ecs-svc/1"
NEW, OLD = "arn:aws:ecs:r:1:task-definition/web:2", "arn:aws:ecs:r:1:task-definition/web:1"


def deployment(
    deployment_id: str, status: str, state: str, reason: str = "", definition: str = NEW
) -> Deployment:
    return Deployment(
        deployment_id, status, state, reason, definition, desired=1, pending=0, running=1, failed=0
    )


def service(*deployments: Deployment, rolls_back: bool = True) -> ServiceState:
    return ServiceState("ACTIVE", deployments[0].task_definition, 1, 1, rolls_back, deployments, ())


def ours(status: str, **extra) -> ServiceDeployment:
    fields = {"status_reason": "", "failure_count": 0, "threshold": 3, "rollback_reason": ""} | extra
    return ServiceDeployment("arn:sd", status, **fields)


MINE_RUNNING = deployment(OURS, "PRIMARY", "IN_PROGRESS")
MINE_DONE = deployment(OURS, "PRIMARY", "COMPLETED")
OLD_ACTIVE = deployment(OTHER, "ACTIVE", "COMPLETED", definition=OLD)
BREAKER = "ECS deployment circuit breaker: tasks failed to start."


@pytest.mark.parametrize(
    ("state", "service_deployment", "verdict"),
    [
        # The service deployments API answers: its terminal state decides.
        (service(MINE_RUNNING, OLD_ACTIVE), ours("IN_PROGRESS"), None),
        (service(MINE_RUNNING, OLD_ACTIVE), ours("PENDING"), None),
        (service(MINE_DONE), ours("IN_PROGRESS"), None),
        (service(MINE_DONE), ours("SUCCESSFUL"), Verdict.SUCCEEDED),
        (
            service(deployment("ecs-svc/3", "PRIMARY", "IN_PROGRESS", definition=OLD)),
            ours("SUCCESSFUL"),
            Verdict.SUCCEEDED,
        ),
        (
            service(deployment("ecs-svc/3", "PRIMARY", "COMPLETED", definition=OLD)),
            ours("ROLLBACK_SUCCESSFUL"),
            Verdict.ROLLED_BACK,
        ),
        (
            service(deployment("ecs-svc/3", "PRIMARY", "IN_PROGRESS", definition=OLD)),
            ours("ROLLBACK_IN_PROGRESS"),
            None,
        ),
        (
            service(deployment("ecs-svc/3", "PRIMARY", "FAILED", definition=OLD)),
            ours("ROLLBACK_FAILED"),
            Verdict.FAILED,
        ),
        (
            service(deployment("ecs-svc/3", "PRIMARY", "IN_PROGRESS", definition=NEW)),
            ours("STOPPED"),
            Verdict.SUPERSEDED,
        ),
        (
            service(deployment(OURS, "PRIMARY", "FAILED", BREAKER), rolls_back=False),
            ours("STOPPED"),
            Verdict.FAILED,
        ),
        (service(MINE_RUNNING), ours("STOPPED"), Verdict.CANCELLED),
        # A first deployment that fails has nothing to go back to.
        (service(deployment(OURS, "PRIMARY", "FAILED", BREAKER)), ours("IN_PROGRESS"), Verdict.FAILED),
        # No service deployments API: deployments[] by id.
        (service(MINE_RUNNING, OLD_ACTIVE), None, None),
        (service(MINE_DONE), None, Verdict.SUCCEEDED),
        (service(deployment(OURS, "PRIMARY", "FAILED", BREAKER)), None, Verdict.FAILED),
        (service(deployment(OURS, "PRIMARY", "FAILED", BREAKER), OLD_ACTIVE), None, None),
        (
            service(deployment(OURS, "PRIMARY", "FAILED", BREAKER), OLD_ACTIVE, rolls_back=False),
            None,
            Verdict.FAILED,
        ),
        (
            service(
                deployment("ecs-svc/3", "PRIMARY", "IN_PROGRESS", "rolling back", OLD),
                deployment(OURS, "ACTIVE", "FAILED", BREAKER),
            ),
            None,
            None,
        ),
        (
            service(
                deployment("ecs-svc/3", "PRIMARY", "COMPLETED", "completed", OLD),
                deployment(OURS, "ACTIVE", "FAILED", BREAKER),
            ),
            None,
            Verdict.ROLLED_BACK,
        ),
        (
            service(deployment("ecs-svc/3", "PRIMARY", "COMPLETED", "rolled back", OLD)),
            None,
            Verdict.ROLLED_BACK,
        ),
        (
            service(deployment("ecs-svc/3", "PRIMARY", "IN_PROGRESS", "ECS deployment in progress.", NEW)),
            None,
            Verdict.SUPERSEDED,
        ),
        (
            service(
                deployment("ecs-svc/3", "PRIMARY", "IN_PROGRESS", "in progress", NEW),
                deployment(OURS, "ACTIVE", "IN_PROGRESS"),
            ),
            None,
            Verdict.SUPERSEDED,
        ),
        (service(deployment(OTHER, "ACTIVE", "COMPLETED", definition=OLD)), None, Verdict.UNKNOWN),
    ],
)
def test_the_verdict_on_each_history(state, service_deployment, verdict):
    judged = verdicts.judge(OURS, state, service_deployment)
    assert (judged[0] if judged else None) == verdict


def test_the_reason_is_ecs_own():
    judged = verdicts.judge(OURS, service(MINE_DONE), ours("ROLLBACK_SUCCESSFUL", rollback_reason=BREAKER))
    assert judged == (Verdict.ROLLED_BACK, BREAKER)


@pytest.mark.parametrize(
    ("verdict", "code"),
    [
        ("SUCCEEDED", 0),
        ("NO_CHANGE", 0),
        ("ROLLED_BACK", 10),
        ("FAILED", 11),
        ("SUPERSEDED", 12),
        ("TIMED_OUT", 13),
    ],
)
def test_exit_codes(verdict, code):
    assert Verdict(verdict).exit_code == code


class FakeEcs:
    """An ECS that answers from a script: one DescribeServices a poll, and no service deployments API."""

    def __init__(self, *states: list[dict]) -> None:
        self.states = list(states)
        self.polls = 0

    def describe_services(self, **_request):
        deployments = self.states[min(self.polls, len(self.states) - 1)]
        self.polls += 1
        return {"services": [service_json(deployments)]}


def service_json(deployments: list[dict]) -> dict:
    return {
        "serviceName": "web",
        "status": "ACTIVE",
        "taskDefinition": NEW,
        "desiredCount": 1,
        "runningCount": 1,
        "deploymentConfiguration": {"deploymentCircuitBreaker": {"enable": True, "rollback": True}},
        "deployments": deployments,
        "events": [
            {"id": f"e{number}", "createdAt": datetime(2026, 1, 1, tzinfo=UTC), "message": f"event {number}"}
            for number in (2, 1)
        ],
    }


def deployment_json(state: str, deployment_id: str = OURS) -> dict:
    return {
        "id": deployment_id,
        "status": "PRIMARY",
        "rolloutState": state,
        "taskDefinition": NEW,
        "runningCount": 1,
    }


class FakeTime:
    def __init__(self) -> None:
        self.now_s = 0.0

    def clock(self) -> rollout.Clock:
        return rollout.Clock(now=lambda: self.now_s, sleep=self.sleep)

    def sleep(self, duration_s: float) -> None:
        self.now_s += duration_s


def started() -> launch.Started:
    return launch.Started("cluster", "web", OURS, NEW, None, frozenset({"e1"}))


def test_follow_polls_until_our_deployment_ended_and_tells_only_new_events():
    ecs, time, events = (
        FakeEcs([deployment_json("IN_PROGRESS")], [deployment_json("COMPLETED")]),
        FakeTime(),
        [],
    )
    ended = rollout.follow(ecs, started(), events.append, Terms(60), clock=time.clock())
    assert (ended.verdict, ended.revision_arn, ended.deployment_id) == (Verdict.SUCCEEDED, NEW, OURS)
    assert ecs.polls == 2
    assert [event.message for event in events if hasattr(event, "message")] == ["event 2"]


def test_follow_gives_up_at_the_deadline_and_says_the_deployment_goes_on():
    ecs, time = FakeEcs([deployment_json("IN_PROGRESS")]), FakeTime()
    ended = rollout.follow(ecs, started(), lambda _event: None, Terms(60), clock=time.clock())
    assert ended.verdict is Verdict.TIMED_OUT
    assert "goes on in ECS" in ended.reason
    assert 60 <= time.now_s < 70
    assert ecs.polls < 30


def revision(arn: str, cpu: str, *tags: str) -> Revision:
    definition = TaskDefinition({"family": "web", "cpu": cpu, "containerDefinitions": []})
    return Revision(arn, definition, dict.fromkeys(tags, "x"))


@pytest.mark.parametrize(
    ("wanted_cpu", "primary", "move"),
    [
        ("512", deployment(OURS, "PRIMARY", "COMPLETED"), Move.UPDATE),
        ("512", deployment(OURS, "PRIMARY", "IN_PROGRESS"), Move.UPDATE),
        ("256", deployment(OURS, "PRIMARY", "COMPLETED"), Move.NOTHING),
        ("256", deployment(OURS, "PRIMARY", "IN_PROGRESS"), Move.FOLLOW),
        ("256", deployment(OURS, "PRIMARY", "FAILED"), Move.RETRY),
        ("256", deployment(OURS, "ACTIVE", "COMPLETED"), Move.RETRY),
        ("256", deployment(OTHER, "PRIMARY", "COMPLETED", definition=OLD), Move.RETRY),
    ],
)
def test_what_ecs_needs(wanted_cpu, primary, move):
    current = revision(NEW, "256", "orch:release", "orch:released-at")
    assert next_move(revision(NEW, wanted_cpu).definition, current, service(primary)) is move


def test_a_success_that_nobody_recorded_is_looked_at_again():
    """A run may die between the end of its rollout and the tag that says so; a rollback must find that revision."""
    current = revision(NEW, "256", "orch:release")
    assert next_move(current.definition, current, service(MINE_DONE)) is Move.FOLLOW
