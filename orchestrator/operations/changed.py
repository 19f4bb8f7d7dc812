"""Which environments a change concerns, for `orch plan --all --changed BASE`, and why.

Comes in: settings and a Git revision. Goes out: the environments whose root module, a module that it uses, tfvars, a service's
source or overlay, or orch.toml differ from where this branch left BASE; uncommitted and untracked files count. May touch: Git
and the project's files, read-only.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator import git
from orchestrator.errors import PreconditionError
from orchestrator.settings import FILE_NAME

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.settings import Environment, Settings

_LOCAL_SOURCE = re.compile(r'^\s*source\s*=\s*"(\.{1,2}/[^"]*)"', re.MULTILINE)


@dataclass(frozen=True)
class Chosen:
    """An environment that a change concerns, and each reason, such as `module terraform/modules/ecs`."""

    environment: Environment
    reasons: tuple[str, ...]


def changed(settings: Settings, base: str, environ: Mapping[str, str]) -> tuple[Chosen, ...]:
    """The environments that changed since this branch left `base`, in the order of orch.toml.

    Raises PreconditionError when Git knows no such revision, or no common ancestor with it.
    """
    files = changed_files(settings.root, base, environ)
    found = []
    for environment in settings.environments.values():
        reasons = tuple(
            what
            for what, folder in concerns(settings, environment)
            if any(_is_in(file, folder) for file in files)
        )
        if reasons:
            found.append(Chosen(environment, reasons))
    return tuple(found)


def changed_files(root: Path, base: str, environ: Mapping[str, str]) -> frozenset[Path]:
    """The files, as absolute paths, that differ from the common ancestor of `base` and HEAD."""
    top = git.run(["rev-parse", "--show-toplevel"], root, environ)
    if top.code != 0:
        raise PreconditionError(
            f"{root} is in no Git repository, so nothing says what changed", hint="leave --changed out"
        )
    ancestor = git.run(["merge-base", base, "HEAD"], root, environ)
    if ancestor.code != 0:
        raise PreconditionError(
            f"--changed {base}: Git finds no common ancestor of it and HEAD",
            details=tuple(ancestor.stderr.splitlines()[-2:]),
            hint="name a branch or commit that is here; in CI check out with its history (fetch-depth: 0)",
        )
    listed = (
        git.run(["diff", "--name-only", "-z", "--no-renames", ancestor.stdout.strip()], root, environ),
        git.run(["ls-files", "-z", "--others", "--exclude-standard", "--full-name"], root, environ),
    )
    names = {name for done in listed for name in done.stdout.split("\0") if name}
    return frozenset(Path(top.stdout.strip(), name) for name in names)


def concerns(settings: Settings, environment: Environment) -> list[tuple[str, Path]]:
    """What an environment is made of: a name for people, and the file or folder."""

    def shown(path: Path) -> str:
        return str(path.relative_to(settings.root)) if path.is_relative_to(settings.root) else str(path)

    found = [(FILE_NAME, settings.root / FILE_NAME)]
    found.append((f"root module {shown(environment.root_module)}", environment.root_module))
    found += [(f"module {shown(folder)}", folder) for folder in sorted(modules_of(environment.root_module))]
    for name, service in settings.services.items():
        found.append((f"source of {name}", settings.root / service.context))
        if service.task_definition is not None:
            found.append((f"overlay of {name}", settings.root / service.task_definition))
    return found


def modules_of(root_module: Path) -> frozenset[Path]:
    """The folders of the local modules that a root module uses, and those that these use in turn."""
    seen: set[Path] = set()
    waiting = [root_module]
    while waiting:
        folder = waiting.pop()
        for file in sorted(folder.glob("*.tf")):
            for source in _LOCAL_SOURCE.findall(file.read_text(encoding="utf-8", errors="replace")):
                module = Path(folder, source).resolve()
                if module not in seen and module.is_dir():
                    seen.add(module)
                    waiting.append(module)
    return frozenset(seen)


def _is_in(file: Path, place: Path) -> bool:
    resolved = place.resolve()
    return file == resolved or file.is_relative_to(resolved)
