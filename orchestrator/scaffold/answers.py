"""What `orch init` must know of a project, what it can find out by itself, and how it is written into the manifest.

Hides Dockerfiles and the spelling of Git remotes. A leaf beside settings.py, whose patterns the answers are held to. Touches:
nothing but the files that it is told to read.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError

from orchestrator.errors import SettingsError
from orchestrator.settings import AccountId, Branch, Name, ProjectPath, Region, Repository

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

# 10.10.0.0/16, 10.20.0.0/16, …: a network of its own for each environment, so that they could be peered.
_MOST_ENVIRONMENTS = 25
_CHECKS: Mapping[str, TypeAdapter[Any]] = {
    "project": TypeAdapter(Name),
    "service": TypeAdapter(Name),
    "region": TypeAdapter(Region),
    "repository": TypeAdapter(Repository),
    "branch": TypeAdapter(Branch),
    "context": TypeAdapter(ProjectPath),
    "dockerfile": TypeAdapter(ProjectPath),
}


@dataclass(frozen=True)
class EnvironmentAnswer:
    """One environment of the path."""

    name: str
    account_id: str


@dataclass(frozen=True)
class Answers:
    """Everything that the files are written from. `environments` stand in the order of promotion; `requirement` is what pip
    installs as orch on a runner, empty when nobody has said it.
    """

    project: str
    service: str
    region: str
    repository: str
    branch: str
    environments: tuple[EnvironmentAnswer, ...]
    port: int
    context: str = "."
    dockerfile: str = "Dockerfile"
    requirement: str = ""

    @property
    def full_name(self) -> str:
        """OWNER/NAME, without the ids."""
        return re.sub(r"@\d+", "", self.repository)

    def to_json(self) -> dict[str, Any]:
        """As the manifest holds it."""
        return asdict(self)


def from_json(value: Mapping[str, Any]) -> Answers:
    """The answers of a manifest. Raises SettingsError."""
    try:
        environments = tuple(EnvironmentAnswer(**item) for item in value["environments"])
        return require_valid(Answers(**{**value, "environments": environments}))
    except (KeyError, TypeError) as error:
        raise SettingsError(
            f"the manifest's answers are not those of this orch: {error}",
            hint="take its file back from Git, or delete it and run `orch init` again",
        ) from error


def require_valid(answers: Answers) -> Answers:
    """The answers, if orch.toml would take them. Raises SettingsError with every problem."""
    problems = [
        problem
        for name, check in _CHECKS.items()
        if (problem := _problem(check, getattr(answers, name), f"--{name}"))
    ]
    names = [item.name for item in answers.environments]
    for item in answers.environments:
        problems += [
            problem
            for check, value, what in (
                (TypeAdapter(Name), item.name, "--environment"),
                (TypeAdapter(AccountId), item.account_id, f"--account {item.name}"),
            )
            if (problem := _problem(check, value, what))
        ]
    if not 0 < len(names) <= _MOST_ENVIRONMENTS:
        problems.append(f"--environment: name 1 to {_MOST_ENVIRONMENTS} of them")
    if len(set(names)) != len(names):
        problems.append("--environment: each may be named once")
    if not 1 <= answers.port <= 65_535:
        problems.append(f"--port: must lie between 1 and 65535, not {answers.port}")
    if "\n" in answers.requirement:
        problems.append("--install: must be one line")
    if problems:
        raise SettingsError("the answers cannot be used", details=tuple(problems))
    return answers


def _problem(check: TypeAdapter[Any], value: str, what: str) -> str:
    try:
        check.validate_python(value)
    except ValidationError as error:
        return f"{what}: {error.errors()[0]['msg'].removeprefix('Value error, ')}"
    return ""


def as_name(text: str) -> str:
    """The nearest name that orch.toml takes: `My App_2` becomes `my-app-2`; empty when no letter is in it."""
    plain = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
    return re.sub(r"^[^a-z]+", "", plain)[:32].strip("-")


def repository_of(remote_url: str) -> str:
    """OWNER/NAME of a remote on GitHub or a GitHub Enterprise Server, as `git remote get-url` prints it; empty for others.

    The forms are those of https://git-scm.com/docs/git-clone#_git_urls: `https://HOST/OWNER/NAME.git`, `git@HOST:OWNER/NAME.git`,
    `ssh://git@HOST/OWNER/NAME`.
    """
    found = re.fullmatch(
        r"(?:[a-z+]+://(?:[^@/]+@)?[^/]+/|(?:[^@/]+@)?[^:/]+:)([A-Za-z0-9-]+/[A-Za-z0-9._-]+?)(?:\.git)?/?",
        remote_url.strip(),
    )
    return found[1] if found else ""


def exposed_port(dockerfile: str) -> int | None:
    """The first port that the last stage of a Dockerfile exposes, when a plain TCP one is written there.

    https://docs.docker.com/reference/dockerfile/#expose
    """
    port = None
    for line in dockerfile.replace("\\\n", " ").splitlines():
        word, _, rest = line.strip().partition(" ")
        match word.upper():
            case "FROM":
                port = None
            case "EXPOSE" if port is None:
                found = re.match(r"(\d{1,5})(/tcp)?(\s|$)", rest.strip())
                port = int(found[1]) if found else None
            case _:
                pass
    return port


def find_dockerfiles(root: Path) -> tuple[Path, ...]:
    """The Dockerfiles of a project, relative to it: that at its top, else those one folder below."""
    if (root / "Dockerfile").is_file():
        return (root.joinpath("Dockerfile").relative_to(root),)
    return tuple(path.relative_to(root) for path in sorted(root.glob("[!.]*/Dockerfile")) if path.is_file())
