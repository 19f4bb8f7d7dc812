"""Manifests as the OCI image specification and Docker's schema 2 have them: images, indexes, and artifacts with a subject. Pure.

A manifest is its bytes: the digest is theirs, and nothing here ever writes JSON anew. What a registry sent is taken for what
it says only after the bytes were found to have the digest asked for, and no digest reaches a URL that does not look like one.
https://github.com/opencontainers/image-spec/blob/v1.1.1/manifest.md and image-index.md
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import Any

from orchestrator.errors import ImageError

IMAGE_TYPES = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
INDEX_TYPES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
MEDIA_TYPES = IMAGE_TYPES + INDEX_TYPES
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
# https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#pulling-manifests
TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}")


class ForeignManifestError(ImageError):
    """A manifest of a type that cannot be carried as it is."""


@dataclass(frozen=True)
class Blob:
    """A config or a layer; `size` in bytes."""

    digest: str
    size: int


@dataclass(frozen=True)
class Manifest:
    """One manifest: an image names `blobs`, an index `children` (digests), an artifact that is about another its `subject`."""

    digest: str
    media_type: str
    content: bytes
    blobs: tuple[Blob, ...]
    children: tuple[str, ...]
    subject: str

    @property
    def text(self) -> str:
        """The same bytes as ECR's API takes them."""
        return self.content.decode()


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def read(content: bytes, media_type: str) -> Manifest:
    """A manifest from its bytes; `media_type` is what the registry calls it, or "" to take its own word.

    Raises ForeignManifestError for one of another type, such as Docker's schema 1, and ImageError for what is no manifest.
    """
    digest = digest_of(content)
    try:
        document = json.loads(content)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise ImageError(f"the manifest {digest} is not a JSON object")
    kind = media_type.partition(";")[0].strip().lower()
    if kind not in MEDIA_TYPES:
        kind = str(document.get("mediaType", kind))
    if kind not in MEDIA_TYPES:
        raise ForeignManifestError(
            f"the manifest {digest} is of type `{kind or 'unknown'}`, which cannot be copied as it is",
            hint="build the image with a current builder: OCI image and index, and Docker schema 2, are copied",
        )
    if kind in INDEX_TYPES:
        return Manifest(digest, kind, content, (), _children(digest, document), _subject(digest, document))
    return Manifest(digest, kind, content, _blobs(digest, document), (), _subject(digest, document))


def _blobs(digest: str, document: dict[str, Any]) -> tuple[Blob, ...]:
    found: dict[str, Blob] = {}
    for part in (document.get("config"), *_list(digest, document, "layers")):
        # What has `urls` lies elsewhere by design (foreign layers of Windows images), and no registry asks for it.
        if not isinstance(part, dict) or part.get("urls"):
            continue
        size = part.get("size")
        if not isinstance(size, int) or isinstance(size, bool) or size < 0:
            raise ImageError(f"the manifest {digest} names a blob without its size")
        found[_digest(digest, part)] = Blob(_digest(digest, part), size)
    return tuple(found.values())


def _children(digest: str, document: dict[str, Any]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(_digest(digest, child) for child in _list(digest, document, "manifests")))


def _subject(digest: str, document: dict[str, Any]) -> str:
    subject = document.get("subject")
    return "" if subject is None else _digest(digest, subject)


def _list(digest: str, document: dict[str, Any], name: str) -> list[Any]:
    value = document.get(name)
    if value is not None and not isinstance(value, list):
        raise ImageError(f"`{name}` of the manifest {digest} is not a list")
    return value or []


def _digest(digest: str, descriptor: Any) -> str:
    found = descriptor.get("digest") if isinstance(descriptor, dict) else None
    if not isinstance(found, str) or not DIGEST.fullmatch(found):
        raise ImageError(f"the manifest {digest} names a part by something other than a sha256 digest")
    return found
