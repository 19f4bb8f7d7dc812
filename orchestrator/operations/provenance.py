"""What a release record tells beside the rollout: what was replaced, the plan and the gates before it, the run, the commit's time.

Comes in: a candidate and what the verb knows. Goes out: fields of model.Release. Nothing of it decides anything, so what cannot be
told is left empty. May touch: Git, read-only; one ecs:DescribeTaskDefinition, where what is replaced was not read already.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator import git
from orchestrator.ecs import revisions
from orchestrator.errors import AwsError, GitHubError, ImageError, ToolMissingError
from orchestrator.github import context
from orchestrator.image import ecr
from orchestrator.model import Action, Replaced

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from orchestrator.aws import Aws
    from orchestrator.ecs.revisions import Revision
    from orchestrator.ecs.services import ServiceState
    from orchestrator.model import Plan, PromotedFrom, ServiceContract

RUN_URL_VARIABLE = "ORCH_RUN_URL"
_COMMIT = re.compile(r"[0-9a-f]{7,64}")


@dataclass(frozen=True)
class Provenance:
    """What a verb knows of how its releases came about; the fields are those of model.Release."""

    plan: Mapping[str, int] | None = None
    gates: tuple[str, ...] = ()
    promoted_from: PromotedFrom | None = None
    # Of an image that is carried: the tag that it was built under, which begins with its commit.
    image_tag: str = ""


def count(plan: Plan) -> dict[str, int]:
    """How often a plan does what, without what it does not. Pure."""
    return {action.value: plan.count(action) for action in Action if plan.count(action)}


def replaced(
    state: ServiceState,
    revision_arn: str,
    known: Revision,
    *,
    is_followed: bool,
    service: ServiceContract,
    session: Aws,
) -> Replaced | None:
    """What the service was on when the rollout of that revision began; None for Terraform's skeleton, and where ECS no longer
    shows it. `state` was read before the rollout, or, of one that is only followed, during it; `known` is a revision that was
    read already.
    """
    before = previous(state, revision_arn, is_followed=is_followed)
    if before in {"", service.skeleton_arn}:
        return None
    try:
        revision = known if known.arn == before else revisions.describe(session.ecs, before)
        digest = ecr.parse_reference(revision.definition.image_of(service.container)).digest
    except (AwsError, ImageError, LookupError):
        return Replaced(before)
    return Replaced(before, digest, revision.tags.get(revisions.COMMIT_TAG, ""))


def previous(state: ServiceState, revision_arn: str, *, is_followed: bool) -> str:
    """The revision that a rollout of this one takes the place of; "" where that cannot be told. Pure."""
    if state.task_definition != revision_arn:
        return state.task_definition
    # The service is on it already, and what it takes the place of still has tasks, or is the same revision.
    others = [one.task_definition for one in state.deployments if one.task_definition != revision_arn]
    return others[0] if others else "" if is_followed else revision_arn


def committed_at(commit: str, root: Path, environ: Mapping[str, str]) -> str:
    """When a commit was made (ISO 8601; the committer's date), if the repository around `root` has it, else "".

    `%cI`: https://git-scm.com/docs/git-log#_pretty_formats
    """
    bare = commit.partition("-")[0]
    if not _COMMIT.fullmatch(bare):
        return ""
    try:
        told = git.run(["show", "--no-patch", "--format=%cI", f"{bare}^{{commit}}"], root, environ)
    except (ToolMissingError, OSError):
        return ""
    return told.stdout.strip() if told.code == 0 else ""


def run_url(environ: Mapping[str, str]) -> str:
    """The page of the run: what ORCH_RUN_URL says, else the workflow run on GitHub; "" where there is none."""
    if given := environ.get(RUN_URL_VARIABLE, ""):
        return given
    if environ.get("GITHUB_ACTIONS") != "true":
        return ""
    try:
        return context.from_environment(environ).run_url
    except GitHubError:
        # Its event file is not here, which nothing about a record needs.
        return ""
