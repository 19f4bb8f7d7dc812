"""`orch promote --plan`: everything that a promotion would change, and how far the two environments are apart.

    view    Ends, Surveyed    → PathView    for each service: image, commits, its definition before and after, and what the source has
                                            otherwise; for both environments: what Terraform would change

May touch: Git, read-only; read-only calls of ECS; `terraform plan` of both root modules, side by side. Nothing is changed. Values of
environment variables and where secrets lie are not shown, only that they differ.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from orchestrator import git
from orchestrator.ecs import revisions
from orchestrator.errors import OrchError, ToolMissingError
from orchestrator.model import Image, PathCommit, PathService, PathView, PendingChanges
from orchestrator.operations import plan as planning
from orchestrator.operations import release
from orchestrator.operations.definitions import details_between
from orchestrator.operations.diff import Running, compare
from orchestrator.operations.look import read_services
from orchestrator.operations.side_by_side import side_by_side
from orchestrator.permissions import Role

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestrator.ecs.revisions import Revision
    from orchestrator.ecs.services import ServiceState
    from orchestrator.model import ServiceContract
    from orchestrator.operations.plan_all import Ready
    from orchestrator.operations.survey import Ends, Surveyed

_COMMITS = 30
# What the source and the target are sure to differ in, or is told elsewhere.
_TOLD = frozenset({"image", "commit", "desired count"})


def view(ends: Ends, found: Sequence[Surveyed]) -> PathView:
    """What a promotion of these services would change. Raises OrchError."""
    pending = side_by_side(lambda one: _pending(ends, one), [ends.source, ends.target])
    return PathView(
        source=ends.source.environment.name,
        target=ends.target.environment.name,
        services=tuple(_service(ends, one) for one in found),
        source_pending=pending[0],
        target_pending=pending[1],
    )


def _pending(ends: Ends, one: Ready) -> PendingChanges:
    try:
        prepared = planning.prepare(ends.settings, one.environment, one.session, one.environ, one.steps)
        saved = planning.run(prepared, one.environment, one.steps)
    except OrchError as error:
        return PendingChanges("", (), error.message)
    try:
        plan = saved.plan
        return PendingChanges(
            plan.summary, tuple(f"{change.address} ({change.action})" for change in plan.changes)
        )
    finally:
        saved.discard()


def _service(ends: Ends, one: Surveyed) -> PathService:
    origin, destination = one.origin, one.destination
    commits = _commits(ends, destination.commit, origin.commit)
    told = PathService(
        service=one.name,
        before=destination.digest,
        after=origin.digest,
        before_commit=destination.commit,
        after_commit=origin.commit,
        commits=tuple(PathCommit(commit.sha, commit.title) for commit in commits[0] or ()),
        commits_note=commits[1],
    )
    if one.source is None or one.target is None or not origin.digest:
        return told
    here = _running(ends.source, one.source)
    there = _running(ends.target, one.target)
    if here is None or there is None:
        return told
    wanted = _wanted(ends, one, one.target)
    changes = details_between(there.revision.definition, wanted.definition, ends.target.environ)
    would_run = Running(there.environment, there.service, there.state, wanted)
    labels = (ends.source.environment.name, ends.target.environment.name)
    difference = compare(ends.settings.project, one.name, labels, (here, would_run), ends.target.environ)
    return replace(
        told,
        changes=changes,
        differs=tuple(detail for detail in difference.details if detail.label not in _TOLD),
    )


def _wanted(ends: Ends, one: Surveyed, service: ServiceContract) -> Revision:
    """The target's own skeleton with what is carried, as a release would register it."""
    ecs = ends.target.session.acting_as(Role.DEPLOY).ecs
    skeleton = revisions.describe(ecs, service.skeleton_arn)
    image = Image(service.repository_url, one.origin.digest)
    target = release.Target(
        service,
        ends.target_contract,
        ends.target.environment,
        release.Sources(ends.settings, ends.target.environ, {one.name: image}),
        ends.target.session,
        ends.target.steps,
    )
    return revisions.Revision(skeleton.arn, release.render(target, skeleton, image), {})


def _running(one: Ready, service: ServiceContract) -> Running | None:
    ecs = one.session.acting_as(Role.DEPLOY).ecs
    state: ServiceState | None = read_services(ecs, [service]).get(service.name)
    if state is None:
        return None
    return Running(one.environment, service, state, revisions.describe(ecs, state.task_definition))


def _commits(ends: Ends, old: str, new: str) -> tuple[tuple[git.Commit, ...] | None, str]:
    """The commits that the promotion brings, and why they are not told, or not all."""
    if not old or not new:
        return (
            None,
            ""
            if old == new
            else "the target has no release to compare with"
            if new
            else "no commit is known",
        )
    try:
        found = git.commits_between(old, new, ends.settings.root, ends.target.environ, limit=_COMMITS + 1)
        back = git.commits_between(new, old, ends.settings.root, ends.target.environ, limit=_COMMITS + 1)
    except ToolMissingError as error:
        return None, error.message
    if found is None:
        return None, "this checkout does not have both commits: git fetch --unshallow"
    notes = []
    if len(found) > _COMMITS:
        notes.append(f"and more: the newest {_COMMITS} are shown")
    if back:
        notes.append(f"{len(back)} commits of the target are not in it: a step back")
    return found[:_COMMITS], "; ".join(notes)
