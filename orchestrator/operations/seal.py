"""`orch plan --seal` and `orch apply --sealed`: exactly the plan that was reviewed is what is applied later, or nothing is.

    seal    Prepared, SavedPlan      → Sealed       the bundle in the state bucket, under orch/plans/ENV/COMMIT.bundle
    open_   Prepared, a commit       → SavedPlan    the plan of the bundle, once every field of its manifest was found true
    resume  Prepared, a commit       → SavedPlan    after a failed apply: a new plan, held against the one of the bundle

A seal proves that whoever holds the key made the bundle, not that a person looked at it: so the plan is shown again from the
bundle, the gates are asked again, and approval is asked again when it is applied. A plan that became stale is applied only where
the environment says `equivalent = "allow"` and a new plan comes to the same changes, value by value.
May touch: Git (read-only), the store, KMS when a key of it is set, the state (its serial, by `terraform state pull`).
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from orchestrator import __version__, git, store
from orchestrator.errors import BundleError, PreconditionError, TerraformError
from orchestrator.events import PlanResumed, Warned
from orchestrator.model import Sealed
from orchestrator.operations import plan as planning
from orchestrator.permissions import Role
from orchestrator.terraform import bundle, compare, runner

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from orchestrator.aws import Aws
    from orchestrator.events import Step, Steps
    from orchestrator.operations.plan import Prepared
    from orchestrator.settings import Environment, Settings
    from orchestrator.terraform.bundle import Manifest, SealKey, Subject
    from orchestrator.terraform.compare import Refusal, Remainder
    from orchestrator.terraform.runner import SavedPlan


@dataclass(frozen=True)
class Origin:
    """Where a run happens, as far as CI tells: what goes into the manifest beside the plan. Empty where nothing is known."""

    repository: str = ""
    pull_request: str = ""
    base_commit: str = ""
    run_url: str = ""


@dataclass(frozen=True)
class Sealing:
    """What sealing and opening need of one environment."""

    settings: Settings
    environment: Environment
    session: Aws
    environ: Mapping[str, str]
    origin: Origin
    steps: Steps

    def key(self, role: Role) -> SealKey:
        """The key that seals this environment's plans. Raises SettingsError when there is none."""
        acting = self.session.acting_as(role)
        return bundle.key_from(self.environ, kms_key=self.environment.seal.kms_key, kms=lambda: acting.kms)


def require_sealable(sealing: Sealing) -> tuple[str, SealKey]:
    """The commit that is planned and the key, asked for before anything takes time. Raises SettingsError, PreconditionError."""
    key = sealing.key(Role.PLAN)
    root = sealing.settings.root
    status = git.run(["status", "--porcelain", "-z"], root, sealing.environ)
    if status.code == 0 and status.stdout:
        raise PreconditionError(
            "the working tree differs from its commit, and a sealed plan vouches for a commit",
            hint="commit or discard the changes first",
            details=tuple(line for line in status.stdout.split("\0")[:5] if line),
        )
    return head(sealing), key


def head(sealing: Sealing) -> str:
    """The commit of the checkout. Raises PreconditionError outside of Git."""
    done = git.run(["rev-parse", "--verify", "HEAD"], sealing.settings.root, sealing.environ)
    if done.code != 0:
        raise PreconditionError(
            f"{sealing.settings.root} is in no Git repository with a commit",
            hint="a sealed plan is named after its commit: commit first",
        )
    return done.stdout.strip()


def seal(
    prepared: Prepared, saved: SavedPlan, sealing: Sealing, *, commit: str, key: SealKey
) -> Sealed | None:
    """Seals a plan and stores the bundle; None when there is nothing to apply. Raises AwsError, BundleError."""
    environment = sealing.environment
    with sealing.steps.step("seal", "Seal the plan") as step:
        if not saved.plan.is_applicable or saved.plan.is_errored:
            step.skipped, step.detail = True, "there is nothing to apply"
            return None
        content = saved.file.read_bytes()
        now = datetime.now(UTC)
        expires_at = now + timedelta(hours=environment.seal.lifetime_hours)
        manifest = bundle.Manifest(
            subject=_subject(prepared, content, sealing, commit=commit, is_planned=True),
            created_at=bundle.written(now),
            expires_at=bundle.written(expires_at),
            created_by=sealing.session.identity().arn,
            ci_run=sealing.origin.run_url,
            orch_version=__version__,
        )
        stored = store.put_plan(
            sealing.session.acting_as(Role.PLAN).s3,
            environment.state_bucket,
            bundle.seal(content, manifest, key),
            environment=environment.name,
            commit=commit,
            account_id=environment.account_id,
        )
        step.detail = f"{stored}, valid until {manifest.expires_at}"
    return Sealed(environment.name, commit, f"s3://{environment.state_bucket}/{stored}", manifest.expires_at)


def open_(prepared: Prepared, sealing: Sealing, *, commit: str) -> SavedPlan:
    """The reviewed plan of a commit (HEAD when empty), restored and found true. The caller shows it and discards it.

    Raises BundleError (exit code 21) with a reason a field, AwsError, TerraformError.
    """
    with _opening(prepared, sealing) as step:
        found = _find(prepared, sealing, commit)
        step.detail = str(found)
        if found.refusals and compare.is_stale_only(found.refusals):
            refused = found.refused(changed_at=_state_changed(sealing, found))
            if sealing.environment.seal.equivalent == "allow":
                return _equivalent(prepared, found.content, sealing, refused)
            # Refused before Terraform plans anything.
            raise refused
        if found.refusals:
            raise found.refused()
    return runner.restore(prepared.root, found.content)


def resume(prepared: Prepared, sealing: Sealing, *, commit: str, may_ask: bool) -> SavedPlan:
    """What is left of the reviewed plan of a commit (HEAD when empty) after its apply failed, as a new plan, which the caller
    shows, has approved, and discards. It may hold what was never reviewed; that is told, and without `may_ask`, when nobody
    can be asked about it, refused. Where no plan of HEAD was sealed, all that is left is asked about.

    Raises BundleError (exit code 21) as `open_` does, but for the state's serial; AwsError, TerraformError.
    """
    environment, steps = sealing.environment, sealing.steps
    if may_ask and not commit and not _has_plan(sealing):
        planning.init(prepared.root, steps)
        return planning.run(prepared, environment, steps)
    with _opening(prepared, sealing) as step:
        found = _find(prepared, sealing, commit)
        step.detail = str(found)
        standing = tuple(refusal for refusal in found.refusals if not compare.is_stale_only((refusal,)))
        if standing:
            raise compare.refused(found.manifest, standing)
        reviewed = runner.restore(prepared.root, found.content)
    try:
        fresh = planning.run(prepared, environment, steps)
        try:
            told = _remainder(prepared, reviewed, fresh, sealing)
            if not may_ask:
                _require_reviewed(told, found.commit)
        except BaseException:
            fresh.discard()
            raise
    finally:
        reviewed.discard()
    return fresh


def _has_plan(sealing: Sealing) -> bool:
    """Whether a plan of the checkout's commit was sealed. A project that has no key never sealed one."""
    environment = sealing.environment
    if not bundle.has_key(sealing.environ, kms_key=environment.seal.kms_key):
        return False
    s3 = sealing.session.acting_as(Role.APPLY).s3
    place = {"environment": environment.name, "account_id": environment.account_id}
    return bool(store.plans(s3, environment.state_bucket, commit=head(sealing), **place))


def _require_reviewed(told: Remainder, commit: str) -> None:
    if told.unreviewed:
        raise BundleError(
            f"what is left is more than the plan of {commit[:12]} that was reviewed; nothing was changed",
            details=told.unreviewed,
            hint="approve it at a terminal, without --yes; or plan and seal again, and have that reviewed",
        )


def _remainder(prepared: Prepared, reviewed: SavedPlan, fresh: SavedPlan, sealing: Sealing) -> Remainder:
    with sealing.steps.step("compare", "Compare with the reviewed plan") as step:
        told = compare.remainder(
            compare.Reading(reviewed.plan, runner.show(prepared.root, reviewed.file)),
            compare.Reading(fresh.plan, runner.show(prepared.root, fresh.file)),
        )
        step.detail = f"{len(told.done)} done, {len(told.left)} left, {len(told.unreviewed)} never reviewed"
    sealing.steps.emit(PlanResumed(sealing.environment.name, told.done, told.left, told.unreviewed))
    return told


@contextmanager
def _opening(prepared: Prepared, sealing: Sealing) -> Iterator[Step]:
    """The step in which a bundle is opened, once Terraform is ready and the account is the right one."""
    planning.init(prepared.root, sealing.steps)
    # No Terraform plan has run that would have failed on credentials of another account.
    prepared.account.require()
    with sealing.steps.step("unseal", "Open the sealed plan") as step:
        yield step


@dataclass(frozen=True)
class _Found:
    """A bundle that was opened, and every reason that stands against applying it."""

    commit: str
    manifest: Manifest
    content: bytes
    actual: Subject
    refusals: tuple[Refusal, ...]

    def __str__(self) -> str:
        return f"of {self.commit[:12]}, sealed {self.manifest.created_at} by {self.manifest.created_by}"

    def refused(self, *, changed_at: datetime | None = None) -> BundleError:
        if changed_at is None:
            return compare.refused(self.manifest, self.refusals)
        said = compare.check(self.manifest, self.actual, now=datetime.now(UTC), state_changed_at=changed_at)
        return compare.refused(self.manifest, said)


def _find(prepared: Prepared, sealing: Sealing, commit: str) -> _Found:
    environment = sealing.environment
    key = sealing.key(Role.APPLY)
    s3 = sealing.session.acting_as(Role.APPLY).s3
    place = {"environment": environment.name, "account_id": environment.account_id}
    at = head(sealing)
    wanted = store.find_plan(s3, environment.state_bucket, commit=commit or at, **place)
    manifest, content = bundle.open_(
        store.get_plan(s3, environment.state_bucket, commit=wanted, **place), key
    )
    same = wanted if _is_same_tree(sealing, wanted, at) else at
    actual = _subject(prepared, content, sealing, commit=same, is_planned=False)
    refusals = compare.check(manifest, actual, now=datetime.now(UTC))
    return _Found(wanted, manifest, content, actual, refusals)


def _state_changed(sealing: Sealing, found: _Found) -> datetime | None:
    environment = sealing.environment
    return store.last_modified(
        sealing.session.acting_as(Role.APPLY).s3,
        environment.state_bucket,
        found.actual.setup.state_key,
        account_id=environment.account_id,
    )


def _equivalent(prepared: Prepared, content: bytes, sealing: Sealing, refused: BundleError) -> SavedPlan:
    """A new plan in place of a stale one, when both come to the same. Raises `refused`, with what they differ in."""
    reviewed = runner.restore(prepared.root, content)
    try:
        fresh = runner.plan(prepared.root, sealing.steps.emit)
    except TerraformError as error:
        reviewed.discard()
        failed = f"a new plan cannot be made to compare it with: {error.message}"
        raise BundleError(
            refused.message, details=(*refused.details, failed, *error.details), hint=refused.hint
        ) from error
    except BaseException:
        reviewed.discard()
        raise
    try:
        different = compare.differences(
            compare.Reading(reviewed.plan, runner.show(prepared.root, reviewed.file)),
            compare.Reading(fresh.plan, runner.show(prepared.root, fresh.file)),
        )
    finally:
        reviewed.discard()
    if not different:
        sealing.steps.emit(
            Warned(
                "the sealed plan is stale, and a new plan comes to the same changes: the new one is applied",
                'equivalent = "allow" in orch.toml says so',
            )
        )
        return fresh
    fresh.discard()
    raise BundleError(refused.message, details=(*refused.details, *different), hint=refused.hint) from refused


def _subject(
    prepared: Prepared, content: bytes, sealing: Sealing, *, commit: str, is_planned: bool
) -> Subject:
    """What the plan is for, from settings, CI, Git and Terraform; never from a manifest."""
    environment, origin = sealing.environment, sealing.origin
    planned_on = bundle.planned_on(content) if is_planned else None
    state = planned_on or runner.state_identity(prepared.root)
    subject = bundle.Subject(
        environment=environment.name,
        repository=origin.repository
        or (sealing.settings.github.full_name if sealing.settings.github else ""),
        head_commit=commit,
        account_id=environment.account_id,
        region=environment.region,
        lineage=state.lineage,
        serial=state.serial,
        setup=bundle.setup(prepared.root),
        plan_sha256=bundle.sha256(content),
    )
    return replace(subject, pull_request=origin.pull_request, base_commit=origin.base_commit)


def _is_same_tree(sealing: Sealing, one: str, other: str) -> bool:
    """Whether two commits hold the same files: after a squash merge the commit is another, and what it holds is not."""
    trees = [
        git.run(["rev-parse", "--verify", f"{commit}^{{tree}}"], sealing.settings.root, sealing.environ)
        for commit in (one, other)
    ]
    return all(done.code == 0 for done in trees) and trees[0].stdout == trees[1].stdout
