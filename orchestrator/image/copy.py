"""Carries one image, by its digest, from one repository to another: the same bytes, with all its platforms and what belongs to it.

Hides how. Within one registry (account and region) the manifests go by BatchGetImage and PutImage and the blobs are mounted where
ECR mounts; to any other registry both go by the distribution API. Nothing is uploaded before it is clear that the tags are free,
tags are given only when everything is there, and what has arrived is not sent again, so that a copy that broke off is just run anew.
Touches: both registries, by the rights of the two sessions.
"""

from __future__ import annotations

import json
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from orchestrator.aws import user_agent
from orchestrator.errors import AwsError, ImageError, OrchError
from orchestrator.events import CopyProgress, Emit, Warned
from orchestrator.image import ecr, manifests, referrers, transfer
from orchestrator.image.attempts import RegistryError
from orchestrator.image.distribution import Repository
from orchestrator.image.ecr import place_of
from orchestrator.permissions import partition_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from orchestrator.aws import Aws
    from orchestrator.image.manifests import Blob, Manifest
    from orchestrator.image.referrers import Family

# ECR throttles who uploads all layers at once; docker uploads five.
_PARALLEL = 4
_TOLD_EVERY_S = 0.3
# What a manifest that a registry does not know is refused with: MANIFEST_INVALID, UNSUPPORTED.
_NOT_TAKEN = frozenset({400, 405})
# ListImageReferrers asks for ecr:BatchGetImage as well.
# https://docs.aws.amazon.com/AmazonECR/latest/userguide/repository-policy-examples.html
PULL_ACTIONS = (
    "ecr:BatchCheckLayerAvailability",
    "ecr:BatchGetImage",
    "ecr:DescribeImages",
    "ecr:GetDownloadUrlForLayer",
)


_TAGS_STAY = (
    "tags never move: somebody pushed another image under this tag; give the copy another tag, or delete that tag if nothing"
    " runs it (`aws ecr batch-delete-image`)"
)
_TAKEN_BY_API = "ImageTagAlreadyExistsException"
_NO_REPOSITORY = "make it first: `orch apply` of its environment"


@dataclass(frozen=True)
class Side:
    """One end of a copy: a repository (host/name), and a session in its region that may read or write it.

    The session of a source may be the target's own: then the repository's policy must let that account pull. None: a registry
    without login, which is none of ECR's.
    """

    repository_url: str
    session: Aws | None


@dataclass(frozen=True)
class Copied:
    """What a copy did. `bytes_copied` went over the wire; of the blobs some were mounted and some were there already.

    `referrers` counts the signatures, attestations and the like that are at the target now; `refused` are the digests of those
    that the target does not take.
    """

    digest: str
    bytes_copied: int
    blobs_copied: int
    blobs_mounted: int
    blobs_present: int
    manifests: int
    referrers: int
    refused: tuple[str, ...] = ()


def copy(
    source: Side,
    target: Side,
    digest: str,
    *,
    tags: Sequence[str],
    emit: Emit,
    sleep: Callable[[float], object] | None = None,
) -> Copied:
    """Copies the image and gives it the tags, which never move: one that names another digest is an error before any upload.

    `sleep` waits some seconds before another attempt. Raises ImageError when the digest is gone, when a repository is missing or may not be read (its details are then the policy
    statement to add), when a tag is taken, when a registry cannot be reached; AwsError.
    """
    _require_names(digest, tags)
    progress = transfer.Progress()
    # Who waits is woken when the copy is stopped.
    pause = sleep or progress.stop.wait
    with _opened(source, pause) as out, _opened(target, pause) as into:
        try:
            return _Copy(source, target, out, into, emit=emit, progress=progress).run(digest, tuple(tags))
        except (RegistryError, AwsError) as error:
            raise _explained(error, source, target) from error


def is_same_registry(one: Side, other: Side) -> bool:
    """Whether both repositories are in the same account and region of ECR."""
    here, there = place_of(one.repository_url), place_of(other.repository_url)
    return (
        here is not None
        and there is not None
        and (here.account_id, here.region) == (there.account_id, there.region)
    )


def pull_policy(account_id: str, partition: str = "aws") -> str:
    """The repository policy, as JSON, by which an account's roles may pull."""
    statement = {
        "Sid": "PullForPromotion",
        "Effect": "Allow",
        "Principal": {"AWS": f"arn:{partition}:iam::{account_id}:root"},
        "Action": list(PULL_ACTIONS),
    }
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]}, indent=2)


@contextmanager
def _opened(side: Side, sleep: Callable[[float], object]) -> Iterator[Repository]:
    session, url = side.session, side.repository_url
    repository = Repository(
        url,
        log_in=None if session is None else partial(ecr.log_in, session.ecr, url),
        environ={} if session is None else session.environ,
        user_agent=user_agent("" if session is None else session.role),
        sleep=sleep,
    )
    try:
        yield repository
    finally:
        repository.close()


def _require_names(digest: str, tags: Sequence[str]) -> None:
    if not manifests.DIGEST.fullmatch(digest):
        raise ImageError(f"`{digest}` is not a digest", hint="write sha256: and 64 hexadecimal digits")
    for tag in tags:
        if not manifests.TAG.fullmatch(tag):
            raise ImageError(
                f"`{tag}` is not a tag", hint="letters, digits, `_`, `.` and `-`, at most 128 of them"
            )


class _Copy:
    """One copy: the two ends, and how manifests are read and put between them."""

    def __init__(
        self,
        source: Side,
        target: Side,
        out: Repository,
        into: Repository,
        *,
        emit: Emit,
        progress: transfer.Progress,
    ) -> None:
        self.out, self.into, self.emit, self.progress = out, into, emit, progress
        self.target = target
        self.get: Callable[[str], Manifest | None] = out.manifest
        self.held: Callable[[str], Manifest | None] = into.manifest
        self.put: Callable[[Manifest, str | None], None] = into.put_manifest
        self.mounts = is_same_registry(source, target)
        if self.mounts and source.session is not None and target.session is not None:
            self.get = partial(ecr.get_manifest, source.session.ecr, source.repository_url)
            self.held = partial(ecr.get_manifest, target.session.ecr, target.repository_url)
            self.put = partial(ecr.put_manifest, target.session.ecr, target.repository_url)

    def run(self, digest: str, tags: tuple[str, ...]) -> Copied:
        image = self.get(digest)
        if image is None:
            raise ImageError(
                f"{self.out.url} has no image {digest}: it was deleted there, by hand or by a lifecycle policy",
                hint="promote a release whose image is still there, or apply the source environment again,"
                " which builds and pushes what is missing",
            )
        wanted = tuple(tag for tag in tags if not self._has_tag(tag, digest))
        family = referrers.gather(referrers.Source(self.get, self.out.referrers), image)
        for gone in family.absent:
            self.emit(
                Warned(
                    f"{gone} in {self.out.url} belongs to {digest}, and stays behind: it is not there any more, or of a type that"
                    " cannot be copied"
                )
            )
        missing = self._missing(family)
        mounted, sent, present = self._carry_blobs(missing, digest)
        refused = self._put_manifests(family, missing)
        self._tag_referrers(family, refused)
        for tag in wanted:
            self.put(image, tag)
        self._verify(digest, tags)
        return Copied(
            digest,
            bytes_copied=sum(blob.size for blob in sent),
            blobs_copied=len(sent),
            blobs_mounted=len(mounted),
            blobs_present=present,
            manifests=len(family.members),
            referrers=len(family.referrers) - len(refused),
            refused=refused,
        )

    def _has_tag(self, tag: str, digest: str) -> bool:
        holder = self.held(tag)
        if holder is not None and holder.digest != digest:
            raise ImageError(
                f"{self.into.url}:{tag} is {holder.digest} already, and cannot become {digest}",
                hint=_TAGS_STAY,
            )
        return holder is not None

    def _missing(self, family: Family) -> tuple[Manifest, ...]:
        """Those that the target does not have; of those that it has, it has the blobs, or it would not have taken them."""
        listed = family.manifests
        with ThreadPoolExecutor(_PARALLEL) as pool:
            held = list(pool.map(lambda one: self.held(one.digest), listed))
        return tuple(one for one, found in zip(listed, held, strict=True) if found is None)

    # --- blobs

    def _carry_blobs(
        self, missing: Sequence[Manifest], digest: str
    ) -> tuple[tuple[Blob, ...], tuple[Blob, ...], int]:
        """The blobs that were mounted, those that were sent, and how many were there."""
        blobs = tuple({blob.digest: blob for one in missing for blob in one.blobs}.values())
        with ThreadPoolExecutor(_PARALLEL) as pool:
            held = list(pool.map(lambda blob: self.into.has_blob(blob.digest), blobs))
        # The longest first, so that none is left alone at the end.
        absent = sorted(
            (blob for blob, is_there in zip(blobs, held, strict=True) if not is_there),
            key=lambda blob: -blob.size,
        )
        with ThreadPoolExecutor(_PARALLEL) as pool:
            futures = {pool.submit(self._carry, blob): blob for blob in absent}
            try:
                self._follow(futures, f"{self.into.url}@{digest}")
            except BaseException:
                self.progress.stop.set()
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        mounted = tuple(blob for future, blob in futures.items() if future.result())
        sent = tuple(blob for blob in absent if blob not in mounted)
        return mounted, sent, len(blobs) - len(absent)

    def _carry(self, blob: Blob) -> bool:
        """Whether the blob was mounted; else it was sent."""
        begun = None
        if self.mounts and self.out.url != self.into.url:
            begun = self.into.mount(blob.digest, self.out.name)
            if begun is None:
                self.progress.reach(blob.digest, blob.size)
                return True
        transfer.send(self.out, self.into, blob, begun, self.progress)
        return False

    def _follow(self, futures: dict[Future[bool], Blob], image: str) -> None:
        """Tells how far the blobs are until all are there. Raises what the first that failed raised."""
        total, told, pending = sum(blob.size for blob in futures.values()), 0, set(futures)
        while pending:
            ended, pending = wait(pending, timeout=_TOLD_EVERY_S, return_when=FIRST_EXCEPTION)
            for future in ended:
                future.result()
            done = self.progress.done_bytes
            if done != told:
                self.emit(CopyProgress(image, done, total))
                told = done

    # --- manifests and tags

    def _put_manifests(self, family: Family, missing: Sequence[Manifest]) -> tuple[str, ...]:
        """Puts what is missing, without a tag; the digests of those that the target does not take."""
        refused: list[str] = []
        belonging = {one.digest for one in family.referrers}
        for manifest in missing:
            try:
                self.put(manifest, None)
            except (RegistryError, AwsError) as error:
                if manifest.digest not in belonging or not _is_not_taken(error):
                    raise
                refused.append(manifest.digest)
                self.emit(
                    Warned(
                        f"{self.into.url} does not take {manifest.digest}, which is about {manifest.subject or 'the image'}:"
                        f" {error.message}",
                        hint="the image itself arrives complete; sign it again in the target's repository if it must be signed",
                    )
                )
        return tuple(refused)

    def _tag_referrers(self, family: Family, refused: tuple[str, ...]) -> None:
        """Gives the tags by which signatures are found. One that names something else at the target is left as it is."""
        for tag, digest in family.tags.items():
            if digest in refused:
                continue
            holder = self.held(tag)
            if holder is not None and holder.digest != digest:
                self.emit(
                    Warned(
                        f"{self.into.url}:{tag} is {holder.digest} already; what {self.out.url} has there, {digest},"
                        " was copied without the tag",
                        hint="tags never move: what was signed since the last copy is found by its digest alone",
                    )
                )
            elif holder is None:
                self.put(next(one for one in family.manifests if one.digest == digest), tag)

    def _verify(self, digest: str, tags: tuple[str, ...]) -> None:
        """Asks the target, by ECR's own API where there is one, whether it has the digest and each tag names it."""
        session, url = self.target.session, self.into.url
        for tag in tags:
            if session is None:
                held = self.into.manifest(tag)
                found = None if held is None else held.digest
            else:
                found = ecr.digest_of_tag(session.ecr, url, tag)
            if found != digest:
                raise ImageError(f"after the copy {url}:{tag} is {found or 'nothing'}, not {digest}")
        is_there = (
            self.into.manifest(digest) is not None
            if session is None
            else ecr.has_digest(session.ecr, url, digest)
        )
        if not is_there:
            raise ImageError(f"after the copy {url} does not have {digest}")


def _is_not_taken(error: OrchError) -> bool:
    if isinstance(error, RegistryError):
        return error.status in _NOT_TAKEN
    return isinstance(error, AwsError) and error.code == "InvalidParameterException"


def _explained(error: RegistryError | AwsError, source: Side, target: Side) -> OrchError:
    """The refusal of a registry with what to do about it."""
    if isinstance(error, AwsError):
        if error.code == "RepositoryNotFoundException":
            return ImageError(error.message, hint=_NO_REPOSITORY)
        return ImageError(error.message, hint=_TAGS_STAY) if error.code == _TAKEN_BY_API else error
    side = source if error.repository == source.repository_url else target
    place = place_of(side.repository_url)
    name = str(place or side.repository_url)
    if error.code == "NAME_UNKNOWN":
        return ImageError(f"there is no repository {name}", hint=_NO_REPOSITORY, details=(error.message,))
    if error.code == "TAG_INVALID":
        return ImageError(error.message, hint=_TAGS_STAY)
    if error.status in {401, 403}:
        if side is target:
            return ImageError(
                f"the repository {name} may not be written: {error.message}",
                hint="allow the role to push: `orch policy` prints what the role `push` may",
            )
        return _may_not_read(error, source)
    return error


def _may_not_read(error: RegistryError, source: Side) -> ImageError:
    place = place_of(source.repository_url)
    caller = source.session.identity() if place is not None and source.session is not None else None
    if place is None or caller is None or caller.account_id == place.account_id:
        return ImageError(
            f"the repository {place or source.repository_url} may not be read: {error.message}",
            hint=f"allow the role {', '.join(PULL_ACTIONS)} on it",
        )
    policy = pull_policy(caller.account_id, partition_of(place.region))
    return ImageError(
        f"the repository {place} does not let account {caller.account_id} pull: {error.message}",
        hint="add this statement to the repository's policy in the source account (`pull_principal_arns` of the module ecr,"
        " or `aws ecr set-repository-policy`, which replaces the whole policy)",
        details=tuple(policy.splitlines()),
    )
