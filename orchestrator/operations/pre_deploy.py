"""The pre-deploy task of a service, such as its migrations: run on the new revision, and only its exit code 0 lets a rollout begin.

Comes in: the service with its settings, and the revision that is to be rolled out. Goes out: nothing, or a PreDeployError.
May touch: tasks, and reads of the service and its log. It is run before each rollout that orch starts, and so again when one is
tried again; not when nothing has to be rolled out, not for a rollout under way, and not for `orch rollback`: a migration has no
way back. A run that died leaves its task running; the next run follows that one instead of starting a second beside it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.ecs import tasks
from orchestrator.errors import InterruptedByUserError, PreDeployError
from orchestrator.events import Warned
from orchestrator.operations import one_off
from orchestrator.permissions import Role

if TYPE_CHECKING:
    from orchestrator.aws import Aws
    from orchestrator.ecs.revisions import Revision
    from orchestrator.ecs.rollout import Clock
    from orchestrator.ecs.tasks import Task
    from orchestrator.events import Step
    from orchestrator.operations.one_off import Ended, Job
    from orchestrator.operations.release import Target


def run_pre_deploy(target: Target, revision: Revision, *, clock: Clock | None = None) -> None:
    """Runs the service's pre-deploy task on that revision, if it has one. Raises PreDeployError unless it ends with 0, OrchError;
    KeyboardInterrupt on Ctrl-C, once the task has stopped.
    """
    wanted = target.settings.pre_deploy
    if wanted is None:
        return
    service, session = target.service, target.session.acting_as(Role.DEPLOY)
    container = wanted.container or service.container
    job = one_off.Job(service, revision, container, tuple(wanted.command), "pre-deploy")
    with target.steps.step("pre_deploy", f"Pre-deploy task of {service.name}") as step:
        task = _left_behind(job, session, step)
        if task is None:
            place = tasks.placement(session.ecs, service.cluster, service.service)
            task = one_off.start(job, place, session, target.sources.settings, target.environment)
        try:
            ended = one_off.follow(
                job, task, session, target.steps.emit, timeout_s=wanted.timeout_s, clock=clock
            )
        except InterruptedByUserError as error:
            # Not the end of this one service alone: the rollouts beside it are to be cancelled too.
            target.steps.emit(Warned(error.message))
            raise KeyboardInterrupt from error
        step.detail = f"task {ended.task.id}, {_said(ended)}"
        if ended.exit_code != 0 or ended.is_timed_out:
            raise _failure(job, ended, wanted.timeout_s)


def _left_behind(job: Job, session: Aws, step: Step) -> Task | None:
    """The pre-deploy task of this revision that still runs. Raises PreDeployError when one of another revision does."""
    cluster = job.service.cluster
    running = tasks.describe(
        session.ecs, cluster, tasks.list_started_by(session.ecs, cluster, job.started_by)
    )
    for task in running:
        if task.revision_arn != job.revision.arn:
            raise PreDeployError(
                f"a pre-deploy task of {job.service.name} still runs, on {task.revision}: {task.id}",
                hint="wait for its end and run the same command again; two at once could undo each other's work",
            )
        step.detail = f"task {task.id} of an earlier run"
        return task
    return None


def _failure(job: Job, ended: Ended, timeout_s: int) -> PreDeployError:
    name = job.service.name
    if ended.is_timed_out:
        return PreDeployError(
            f"the pre-deploy task of {name} was not finished after {timeout_s} s and was stopped; nothing was rolled out",
            hint=f"see how far it came, then run the same command again, with a longer services.{name}.pre_deploy.timeout_s"
            " if it needs one",
            details=ended.details,
        )
    return PreDeployError(
        f"the pre-deploy task of {name} {_said(ended)}; nothing was rolled out",
        hint=ended.cause.advice
        if ended.cause
        else "mend what its log tells, then run the same command again",
        details=ended.details,
    )


def _said(ended: Ended) -> str:
    return "did not start" if ended.exit_code is None else f"ended with exit code {ended.exit_code}"
