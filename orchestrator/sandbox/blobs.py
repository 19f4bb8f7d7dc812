"""Image layers and configs on disk: content-addressed files and uploads in progress.

Which repository holds which blob is ECR's knowledge (`Repository.layers`); this store knows bytes and digests only.
Touches: its own folder, removed with `clear`.
"""

from __future__ import annotations

import hashlib
import shutil
import threading
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _hashlib import HASH
    from collections.abc import Iterable
    from pathlib import Path


class DigestMismatchError(Exception):
    """The uploaded bytes do not have the digest that the client named."""


@dataclass
class Upload:
    """Bytes received so far; hashed as they arrive, so that finishing a large layer costs nothing."""

    upload_id: str
    path: Path
    size: int = 0
    sha256: HASH = field(default_factory=hashlib.sha256)
    lock: threading.Lock = field(default_factory=threading.Lock)
    turn: int = 0

    def take_turn(self) -> int:
        """Ends whatever request still adds bytes: one that was cut off goes on reading what had arrived of it."""
        with self.lock:
            self.turn += 1
            return self.turn


class BlobStore:
    """Blobs by digest (`sha256:…`)."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._uploads: dict[str, Upload] = {}
        self._lock = threading.Lock()

    def start_upload(self) -> Upload:
        upload_id = str(uuid.uuid4())
        self._folder.mkdir(parents=True, exist_ok=True)
        upload = Upload(upload_id, self._folder / f"upload-{upload_id}")
        upload.path.touch()
        with self._lock:
            self._uploads[upload_id] = upload
        return upload

    def find_upload(self, upload_id: str) -> Upload | None:
        return self._uploads.get(upload_id)

    def append(self, upload: Upload, chunks: Iterable[bytes]) -> int:
        """Adds bytes and returns how many the upload has now; fewer come in when another request takes its turn."""
        turn = upload.take_turn()
        with upload.path.open("ab", buffering=0) as file:
            for chunk in chunks:
                with upload.lock:
                    if upload.turn != turn:
                        break
                    file.write(chunk)
                    upload.size += len(chunk)
                    upload.sha256.update(chunk)
        return upload.size

    def finish(self, upload: Upload, digest: str | None) -> str:
        """Turns an upload into a blob and returns its digest; raises DigestMismatchError and discards it otherwise."""
        actual = f"sha256:{upload.sha256.hexdigest()}"
        if digest is not None and digest != actual:
            self.discard(upload)
            raise DigestMismatchError(f"the bytes have digest {actual}, not {digest}")
        with self._lock:
            self._uploads.pop(upload.upload_id, None)
        upload.path.replace(self.path(actual))
        return actual

    def discard(self, upload: Upload) -> None:
        with self._lock:
            self._uploads.pop(upload.upload_id, None)
        upload.path.unlink(missing_ok=True)

    def path(self, digest: str) -> Path:
        return self._folder / digest.replace(":", "-")

    def clear(self) -> None:
        """Removes every blob and every upload."""
        with self._lock:
            self._uploads.clear()
        shutil.rmtree(self._folder, ignore_errors=True)
