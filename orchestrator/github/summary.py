"""The summary of a step of GitHub Actions: sections of Markdown, appended to the file that GITHUB_STEP_SUMMARY names.

Touches: that file. A step may write 1 MiB; of more, the upload fails while the job stays green, so that all of it would be
missing (docs.github.com, "Workflow commands for GitHub Actions", Adding a job summary, Step isolation and limits). A section
is written whole or not at all, since Markdown that is cut inside a fence or a table shows as something else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.errors import GitHubError

if TYPE_CHECKING:
    from pathlib import Path

LIMIT_BYTES = 1024 * 1024
_GAP = "\n\n"


def room(path: Path) -> int:
    """How many bytes the step may still write; what other programs of the step wrote counts too."""
    try:
        return max(LIMIT_BYTES - path.stat().st_size, 0)
    except FileNotFoundError:
        return LIMIT_BYTES
    except OSError as error:
        raise _unwritable(path, error) from error


def append(path: Path, *sections: str) -> tuple[str, ...]:
    """Appends the sections, in order, that fit, and returns those that do not. Raises GitHubError."""
    left = room(path)
    written: list[bytes] = []
    refused: list[str] = []
    for section in sections:
        # A lone surrogate, as file names may bring it along, is no UTF-8.
        data = f"{section}{_GAP}".encode(errors="replace")
        if len(data) > left:
            refused.append(section)
        else:
            written.append(data)
            left -= len(data)
    if written:
        try:
            with path.open("ab") as file:
                file.write(b"".join(written))
        except OSError as error:
            raise _unwritable(path, error) from error
    return tuple(refused)


def _unwritable(path: Path, error: OSError) -> GitHubError:
    return GitHubError(
        f"the step summary {path} of GITHUB_STEP_SUMMARY cannot be written: {error.strerror}",
        hint="in a container, mount the runner's directory of file commands too",
    )
