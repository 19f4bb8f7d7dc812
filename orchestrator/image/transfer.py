"""One blob from one repository to another, in constant memory, and on from where it broke off.

The source is read by ranges and hashed once, however often it is opened again; the target is asked how far it came, and where it
does not say, that blob begins anew. A blob is only finished when its bytes had the digest: here, and again at the target.
Touches: both registries.
"""

from __future__ import annotations

import hashlib
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from orchestrator.errors import ImageError
from orchestrator.image.attempts import RegistryError, TransientError

if TYPE_CHECKING:
    from _hashlib import HASH
    from collections.abc import Iterator

    from orchestrator.image.attempts import Patience
    from orchestrator.image.distribution import Repository, Upload
    from orchestrator.image.manifests import Blob


class StoppedError(Exception):
    """Another blob failed, or the run was interrupted: this one ends where it is."""


@dataclass
class Progress:
    """Bytes that have reached the target, counted by several threads; `stop` ends them at their next piece."""

    stop: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _reached: dict[str, int] = field(default_factory=dict)

    def reach(self, digest: str, count: int) -> None:
        """`count` bytes of that blob are on their way; raises StoppedError when nobody wants them any more."""
        with self._lock:
            self._reached[digest] = count
        if self.stop.is_set():
            raise StoppedError

    @property
    def done_bytes(self) -> int:
        with self._lock:
            return sum(self._reached.values())


@dataclass
class _Hashed:
    """The hash of a blob's first `size` bytes, which may come again and again."""

    size: int = 0
    sha256: HASH = field(default_factory=hashlib.sha256)

    def take(self, position: int, piece: bytes) -> None:
        fresh = piece[self.size - position :] if position < self.size else piece
        if position + len(piece) > self.size:
            self.sha256.update(fresh)
            self.size = position + len(piece)


def send(
    source: Repository, target: Repository, blob: Blob, begun: Upload | None, progress: Progress
) -> None:
    """Brings a blob to the target; `begun` is an upload for it that is already open there, if any.

    Raises ImageError when the source has other bytes, RegistryError when either registry refuses, StoppedError.
    """
    patience, hashed, upload = target.patience(), _Hashed(), begun
    while True:
        try:
            if upload is None:
                upload = target.start_upload()
            whole = upload
            if upload.offset < blob.size:
                whole = target.send(upload, blob.size, _read(source, blob, upload.offset, hashed, progress))
            target.finish(whole, blob.digest)
            return
        except TransientError as error:
            patience.wait(error)
            upload = _go_on(target, upload, patience)
        except RegistryError as error:
            # An upload that went on may have been given up there, or count its bytes otherwise; a fresh one has no excuse.
            if error.repository != target.url or upload is None or upload.offset == 0:
                raise
            patience.wait(TransientError(error.message))
            upload = None
        # The answer may have been lost, and not the blob.
        if upload is None and target.has_blob(blob.digest):
            progress.reach(blob.digest, blob.size)
            return


def _go_on(target: Repository, upload: Upload | None, patience: Patience) -> Upload | None:
    """The same upload as far as the target has it, or None to begin anew."""
    if upload is None:
        return None
    try:
        held = target.progress(upload)
    except (TransientError, RegistryError):
        return None
    if held is None or held.offset == 0:
        return None
    if held.offset > upload.offset:
        patience.forward()
    return held


def _read(source: Repository, blob: Blob, first: int, hashed: _Hashed, progress: Progress) -> Iterator[bytes]:
    """The bytes of a blob from `first` on, opened again where they break off. What is wrong is never ended with its last piece."""
    patience, position = source.patience(), first
    while position < blob.size:
        try:
            with source.blob(blob.digest, position) as pieces:
                for piece in pieces:
                    hashed.take(position, piece)
                    position += len(piece)
                    if position >= blob.size:
                        _check(source, blob, position, hashed)
                    patience.forward()
                    yield piece
                    progress.reach(blob.digest, position)
            _require_all(source, blob, position)
        except TransientError as error:
            patience.wait(error)


def _require_all(source: Repository, blob: Blob, position: int) -> None:
    if position < blob.size:
        raise TransientError(f"{source.url} sent {position} of the {blob.size} bytes of {blob.digest}")


def _check(source: Repository, blob: Blob, position: int, hashed: _Hashed) -> None:
    found = f"sha256:{hashed.sha256.hexdigest()}"
    if position != blob.size or (hashed.size == blob.size and found != blob.digest):
        raise ImageError(
            f"{source.url} sent other bytes than {blob.digest} has ({position} bytes, {found})",
            hint="the blob is damaged at the source, or on the way; nothing of it was kept",
        )
