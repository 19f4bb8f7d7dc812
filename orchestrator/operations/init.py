"""`orch init`: everything that a repository with a Dockerfile needs to ship, written into it, and brought up to date again later.

    discover   Git, Dockerfile, manifest     → Found
    survey     Answers                       → what becomes of each file; writes nothing
    write      Survey                        → the files, .gitignore and the manifest

What the user changed stays: a file that both sides changed is merged, and where that is not possible it is left as it is, and
told. May touch: files below the folder it is given, and Git, read only.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator import __version__, git
from orchestrator.errors import PreconditionError, SettingsError
from orchestrator.scaffold import answers as answering
from orchestrator.scaffold import files as scaffolding
from orchestrator.scaffold import manifest as manifests
from orchestrator.scaffold import merge
from orchestrator.scaffold.manifest import Manifest
from orchestrator.scaffold.merge import Change, Fate

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from orchestrator.scaffold.answers import Answers


@dataclass(frozen=True)
class Found:
    """What a folder tells by itself; empty where it does not. `answers` are those of the last time."""

    project: str
    repository: str
    branch: str
    requirement: str
    dockerfiles: tuple[Path, ...]
    answers: Answers | None


@dataclass(frozen=True)
class Survey:
    """What would become of every file. `manifest` is the text of the manifest afterwards."""

    root: Path
    changes: tuple[Change, ...]
    manifest: str
    is_manifest_new: bool

    @property
    def written(self) -> tuple[Change, ...]:
        """Those that would be changed."""
        return tuple(change for change in self.changes if change.is_written)

    @property
    def open(self) -> tuple[Change, ...]:
        """Those that somebody has to decide on."""
        return tuple(change for change in self.changes if change.is_open)

    @property
    def has_changes(self) -> bool:
        """Whether `orch init` would change anything, or has something to ask."""
        return bool(self.written or self.open or self.is_manifest_new)


def discover(root: Path, environ: Mapping[str, str]) -> Found:
    """What can be found out without asking. Raises PreconditionError below a repository's top, SettingsError, ToolMissingError."""
    if not root.is_dir():
        raise PreconditionError(
            f"there is no folder {root}", hint="name the folder that holds your Dockerfile"
        )
    top = _git(root, environ, "rev-parse", "--show-toplevel")
    if top and not Path(top).samefile(root):
        raise PreconditionError(
            f"{root} is not the top of its Git repository, and GitHub reads workflows there alone",
            hint=f"run it in {top}",
        )
    remote = _git(root, environ, "remote", "get-url", "origin") if top else ""
    repository = answering.repository_of(remote)
    head = _git(root, environ, "symbolic-ref", "--short", "refs/remotes/origin/HEAD") if top else ""
    current = _git(root, environ, "symbolic-ref", "--short", "HEAD") if top else ""
    known = _manifest(root)
    return Found(
        project=answering.as_name(repository.partition("/")[2] or root.resolve().name),
        repository=repository,
        branch=head.removeprefix("origin/") or current or "main",
        requirement=_requirement(),
        dockerfiles=answering.find_dockerfiles(root),
        answers=known.answers if known else None,
    )


def port_of(root: Path, dockerfile: Path) -> int | None:
    """The port that a Dockerfile exposes, when it says so plainly. Raises PreconditionError."""
    path = root / dockerfile
    try:
        return answering.exposed_port(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise PreconditionError(f"{path} cannot be read: {error}") from error


def survey(
    root: Path, answers: Answers, environ: Mapping[str, str], *, overwrite: Collection[str] = ()
) -> Survey:
    """What would become of every file; those in `overwrite` are taken as orch has them, whoever wrote what is there.

    Raises PreconditionError for a file that cannot be read, or a path that is none, SettingsError, ToolMissingError.
    """
    rendered = scaffolding.render(answering.require_valid(answers))
    unknown = sorted(set(overwrite) - set(rendered))
    if unknown:
        raise SettingsError(
            f"--overwrite: orch writes no {unknown[0]}", hint="name a file as `orch init --check` does"
        )
    known = _manifest(root)
    written = known.files if known else {}
    changes = []
    kept: dict[str, str] = {}
    for path, after in rendered.items():
        before = _read(root / path)
        change = merge.decide(path, written=written.get(path), before=before, after=after, environ=environ)
        if path in overwrite and before != after:
            change = Change(path, Fate.CREATED if before is None else Fate.UPDATED, before, after)
        changes.append(change)
        base = written.get(path) if change.is_open else after
        if base is not None:
            kept[path] = base
    ignored = _read(root / scaffolding.GITIGNORE)
    wanted = scaffolding.with_ignored(ignored or "")
    if wanted != (ignored or ""):
        fate = Fate.CREATED if ignored is None else Fate.UPDATED
        changes.append(Change(scaffolding.GITIGNORE, fate, ignored, wanted))
    manifest = Manifest(answers, kept)
    return Survey(root, tuple(changes), manifests.text(manifest), manifest != known)


def write(found: Survey) -> None:
    """Writes what the survey says, the manifest last: a run that broke off is taken up by the next. Raises PreconditionError."""
    for change in found.written:
        _write(found.root / change.path, change.after)
    if found.is_manifest_new:
        _write(found.root / scaffolding.MANIFEST, found.manifest)


def next_steps(answers: Answers) -> tuple[str, ...]:
    """What is left to do once everything is written, a command or a sentence each."""
    first, *others = answers.environments
    accounts = {item.account_id: item.name for item in reversed(answers.environments)}
    steps = [
        "git add -A && git commit",
        f"orch sandbox up && orch apply --env {first.name} --sandbox    # tries it on this machine",
        *(
            f"orch bootstrap --env {name} --github    # with credentials of account {account_id}"
            for account_id, name in reversed(accounts.items())
        ),
    ]
    if not answers.requirement:
        steps.append(f"say in {scaffolding.REQUIREMENTS} where runners install orch from")
    if others:
        steps.append(f"on GitHub, give the environment {others[-1].name} its reviewers")
    return tuple(steps)


def _manifest(root: Path) -> Manifest | None:
    text = _read(root / scaffolding.MANIFEST)
    return None if text is None else manifests.read(text, scaffolding.MANIFEST)


def _read(path: Path) -> str | None:
    try:
        return path.read_bytes().decode()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise PreconditionError(f"{path} cannot be read: {error}", hint="move it out of the way") from error


def _write(path: Path, text: str) -> None:
    """Either the whole new text or the old one stands there, whatever happens."""
    beside = path.with_name(f".{path.name}.orch-new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside.write_bytes(text.encode())
        if path.exists():
            beside.chmod(path.stat().st_mode & 0o777)
        beside.replace(path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise PreconditionError(
            f"{path} cannot be written: {error}", hint="run the same command again afterwards"
        ) from error


def _git(root: Path, environ: Mapping[str, str], *arguments: str) -> str:
    done = git.run(arguments, root, environ)
    return done.stdout.strip() if done.code == 0 else ""


def _requirement() -> str:
    """What pip installs as this very orch, when its own metadata tell where it came from; empty for a checkout.

    https://packaging.python.org/en/latest/specifications/direct-url/: absent where it came from an index.
    """
    try:
        told = metadata.distribution("orch").read_text("direct_url.json")
    except metadata.PackageNotFoundError:
        return ""
    if told is None:
        return f"orch=={__version__}"
    match json.loads(told):
        case {"url": str(url), "vcs_info": {"vcs": "git", "commit_id": str(commit)}} if "@" not in url:
            return f"orch @ git+{url}@{commit}"
        case _:
            return ""
