"""What an image is built from: the Git commit, and a hash of the build context when it differs from that commit.

Touches: `git` (read-only), and the files of the build context that Git sees.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from orchestrator import git
from orchestrator.errors import ImageError
from orchestrator.model import Source

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_HASH_LENGTH = 12


def identify(context: Path, environ: Mapping[str, str]) -> Source:
    """The source of a build context. Files that .gitignore excludes do not count: they are built from those that do.

    Raises ImageError when the context is missing or lies in no Git repository with a commit, ToolMissingError without git.
    """
    if not context.is_dir():
        raise ImageError(
            f"the build context {context} does not exist",
            hint="set `context` of the service in orch.toml",
        )
    commit = git.run(["rev-parse", "--verify", "HEAD"], context, environ)
    if commit.code != 0:
        raise ImageError(
            f"the build context {context} is in no Git repository with a commit: an image is named after its commit",
            hint="commit first, or give an image with --image REPOSITORY@sha256:…",
            details=tuple(commit.stderr.splitlines()[-3:]),
        )
    status = git.run(["status", "--porcelain", "-z", "--untracked-files=all", "--", "."], context, environ)
    if status.code != 0:
        raise ImageError(f"git status failed in {context}", details=tuple(status.stderr.splitlines()[-3:]))
    return Source(commit.stdout.strip(), _content_hash(context, environ) if status.stdout else "")


def _content_hash(context: Path, environ: Mapping[str, str]) -> str:
    """A hash over every file of the context that Git tracks or would track: path, executable bit, content."""
    listed = git.run(
        ["ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", "."], context, environ
    )
    digest = hashlib.sha256()
    for name in sorted(set(filter(None, listed.stdout.split("\0")))):
        file = context / name
        digest.update(name.encode() + b"\0")
        if file.is_symlink():
            digest.update(b"link\0" + str(file.readlink()).encode())
        elif file.is_file():
            digest.update(b"x" if file.stat().st_mode & 0o100 else b"-")
            with file.open("rb") as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
        else:
            digest.update(b"deleted")
    return digest.hexdigest()[:_HASH_LENGTH]
