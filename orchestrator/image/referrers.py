"""What belongs to an image: the platforms of an index, and the signatures, attestations and bills of materials about any of it.

They are found in three ways, each looked at for every manifest and again for what was found: the referrers API, the tag
`sha256-HEX` where a registry has no such API (both: distribution specification 1.1), and cosign's tags `sha256-HEX.sig`, `.att` and
`.sbom` (https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md). Touches: the source, through what it is given.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from orchestrator.errors import ImageError
from orchestrator.image.manifests import ForeignManifestError

if TYPE_CHECKING:
    from collections.abc import Callable

    from orchestrator.image.manifests import Manifest

SUFFIXES = ("", ".sig", ".att", ".sbom")
_PARALLEL = 8
# More than any image has; a registry that invents them without end is left.
_MOST = 1_000


@dataclass(frozen=True)
class Source:
    """How to look: `manifest` by digest or tag, None when there is none; `referrers` the digests that refer to one."""

    manifest: Callable[[str], Manifest | None]
    referrers: Callable[[str], tuple[str, ...] | None]


@dataclass(frozen=True)
class Family:
    """An image with what belongs to it: `members` each after its own parts and its subject, the image before what is about it.

    `tags` are those by which what is about the image is found; `absent` the digests that are listed, and are not there or of a
    type that cannot be carried.
    """

    image: Manifest
    members: tuple[Manifest, ...]
    referrers: tuple[Manifest, ...]
    tags: dict[str, str]
    absent: tuple[str, ...]

    @property
    def manifests(self) -> tuple[Manifest, ...]:
        return self.members + self.referrers


@dataclass
class _Found:
    """What is known so far, in the order in which it can be put."""

    source: Source
    manifests: dict[str, Manifest] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    absent: list[str] = field(default_factory=list)

    def add(self, manifest: Manifest) -> bool:
        """Adds a manifest after its parts; False, and nothing added, when a part is not there."""
        if manifest.digest in self.manifests:
            return True
        found: dict[str, Manifest] = {}
        if not self._gather(manifest, found):
            return False
        self.manifests |= {digest: one for digest, one in found.items() if digest not in self.manifests}
        return True

    def _gather(self, manifest: Manifest, found: dict[str, Manifest]) -> bool:
        if len(self.manifests) + len(found) > _MOST:
            raise ImageError(f"more than {_MOST} manifests belong to one image")
        for digest in manifest.children:
            if digest in found or digest in self.manifests:
                continue
            child = self.source.manifest(digest)
            if child is None:
                self.absent.append(digest)
                return False
            if not self._gather(child, found):
                return False
        found[manifest.digest] = manifest
        return True


def gather(source: Source, image: Manifest) -> Family:
    """The image and what belongs to it. Raises ImageError when a platform of its index is not there."""
    known = _Found(source)
    if not known.add(image):
        raise ImageError(
            f"the index {image.digest} names {known.absent[0]}, which the registry does not have",
            hint="it was deleted there, by hand or by a lifecycle policy: push the image again",
        )
    members = tuple(known.manifests.values())
    source = known.source = Source(_lenient(source.manifest, known.absent), source.referrers)
    asked: set[str] = set()
    with ThreadPoolExecutor(_PARALLEL) as pool:
        while subjects := [digest for digest in known.manifests if digest not in asked]:
            asked.update(subjects)
            listed = list(pool.map(lambda digest: _about(source, digest), subjects))
            for tagged, digests in listed:
                _add(known, tagged, digests)
    referrers = tuple(one for one in known.manifests.values() if one not in members)
    return Family(image, members, referrers, known.tags, tuple(dict.fromkeys(known.absent)))


def _lenient(
    manifest: Callable[[str], Manifest | None], absent: list[str]
) -> Callable[[str], Manifest | None]:
    """What is about an image may be of a type that nobody knows; that is no reason to leave the image where it is."""

    def look(reference: str) -> Manifest | None:
        try:
            return manifest(reference)
        except ForeignManifestError:
            absent.append(reference)
            return None

    return look


def _add(known: _Found, tagged: dict[str, Manifest], digests: tuple[str, ...]) -> None:
    for digest in digests:
        if digest in known.manifests:
            continue
        manifest = known.source.manifest(digest)
        if manifest is None:
            known.absent.append(digest)
        else:
            known.add(manifest)
    for tag, manifest in tagged.items():
        if known.add(manifest):
            known.tags[tag] = manifest.digest


def _about(source: Source, digest: str) -> tuple[dict[str, Manifest], tuple[str, ...]]:
    """What is tagged as being about a manifest, and the digests of what refers to it."""
    stem = digest.replace(":", "-")
    tagged = {f"{stem}{suffix}": source.manifest(f"{stem}{suffix}") for suffix in SUFFIXES}
    return {tag: one for tag, one in tagged.items() if one is not None}, source.referrers(digest) or ()
