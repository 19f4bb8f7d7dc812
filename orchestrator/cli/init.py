"""The verb that writes into a repository what it needs to ship: options and questions → answers, diffs, what is left to do."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli.app import Output, OutputOption, app, guarded
from orchestrator.errors import GitHubError, PreconditionError, SettingsError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestrator.cli.run import Console
    from orchestrator.operations.init import Found, Survey
    from orchestrator.scaffold.answers import Answers, EnvironmentAnswer

_USUAL = ("dev", "staging", "prod")


@dataclass(frozen=True)
class FileFate:
    """What became, or would become, of one file."""

    path: str
    fate: str
    reason: str


@app.command()
@guarded
def init(
    folder: Annotated[Path, typer.Argument(help="The top of the repository.")] = Path(),
    *,
    project: Annotated[
        str,
        typer.Option("--project", metavar="NAME", help="Name of the project; the repository's when absent."),
    ] = "",
    service: Annotated[
        str, typer.Option("--service", metavar="NAME", help="Name of the service; the project's when absent.")
    ] = "",
    region: Annotated[str, typer.Option("--region", help="AWS region of the environments.")] = "",
    environment: Annotated[
        list[str] | None,
        typer.Option("--environment", metavar="NAME", help="In the order of promotion; may be repeated."),
    ] = None,
    account: Annotated[
        list[str] | None,
        typer.Option("--account", metavar="ENV=ID", help="AWS account of an environment; may be repeated."),
    ] = None,
    repository: Annotated[
        str,
        typer.Option("--repository", metavar="OWNER/NAME", help="On GitHub; that of `origin` when absent."),
    ] = "",
    branch: Annotated[
        str,
        typer.Option(
            "--branch", metavar="NAME", help="Where releases come from; the default one when absent."
        ),
    ] = "",
    port: Annotated[
        int,
        typer.Option("--port", help="Where the service listens; what the Dockerfile exposes when absent."),
    ] = 0,
    dockerfile: Annotated[
        str,
        typer.Option(
            "--dockerfile", metavar="PATH", help="When there are several; its folder is the context."
        ),
    ] = "",
    install: Annotated[
        str, typer.Option("--install", metavar="REQUIREMENT", help="What pip installs as orch on a runner.")
    ] = "",
    overwrite: Annotated[
        list[str] | None,
        typer.Option(
            "--overwrite", metavar="PATH", help="Take orch's version of this file; may be repeated."
        ),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; exit with 2 when something would change.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before writing.")] = False,
    output: OutputOption = Output.TEXT,
) -> int:
    """Write orch.toml, Terraform and workflows into a repository with a Dockerfile; again later, bring them up to date."""
    from orchestrator.cli.run import Console
    from orchestrator.operations import init as scaffolding

    console = Console(output=output, verbose=False)
    root = folder.absolute()
    found = scaffolding.discover(root, os.environ)
    flags = _Flags(
        project,
        service,
        region,
        tuple(environment or ()),
        tuple(account or ()),
        repository,
        branch,
        port,
        dockerfile,
        install,
    )
    answers = _answers(root, flags, found, is_terminal=sys.stdin.isatty() and not yes and not check)
    survey = scaffolding.survey(root, answers, os.environ, overwrite=tuple(overwrite or ()))
    _show(survey, console, output)
    if check:
        return 2 if survey.has_changes else 0
    if survey.written or survey.is_manifest_new:
        if survey.written and not console.ask(yes=yes)(f"Write {_files(len(survey.written))} into {root}?"):
            typer.echo("nothing was written", err=True)
            return 1
        scaffolding.write(survey)
    if output is Output.TEXT and found.answers is None:
        console.say(["", "Next:", *(f"  {line}" for line in scaffolding.next_steps(answers))])
    return 1 if survey.open else 0


@dataclass(frozen=True)
class _Flags:
    """The options; empty where they were left out."""

    project: str
    service: str
    region: str
    environments: tuple[str, ...]
    accounts: tuple[str, ...]
    repository: str
    branch: str
    port: int
    dockerfile: str
    requirement: str


class _Missing:
    """Asks on a terminal for what nothing else told; elsewhere collects it, to be told all at once."""

    def __init__(self, *, is_terminal: bool) -> None:
        self._is_terminal = is_terminal
        self.options: list[str] = []

    def ask(self, question: str, option: str, default: str = "") -> str:
        if not self._is_terminal:
            self.options.append(option)
            return default
        try:
            answer: str = typer.prompt(question, default=default or None, err=True)
        except typer.Abort:
            raise KeyboardInterrupt from None
        return answer.strip()


def _answers(root: Path, flags: _Flags, found: Found, *, is_terminal: bool) -> Answers:
    """Options, else the answers of last time, else what was found, else what is asked. Raises SettingsError."""
    from orchestrator.operations import init as scaffolding
    from orchestrator.scaffold.answers import Answers

    last, missing = found.answers, _Missing(is_terminal=is_terminal)
    project = flags.project or (last.project if last else "") or found.project
    if is_terminal and not flags.project and last is None:
        project = missing.ask("Name of the project", "--project", project)
    repository = flags.repository or (last.repository if last else "") or found.repository
    repository = repository or missing.ask("Repository on GitHub, OWNER/NAME", "--repository OWNER/NAME")
    region = flags.region or (last.region if last else "") or missing.ask("AWS region", "--region", "")
    environments = _environments(flags, last, missing)
    if flags.dockerfile or last is None:
        path = _dockerfile(flags, found)
        context, name = path.parent.as_posix(), path.name
    else:
        context, name = last.context, last.dockerfile
        path = Path(context, name)
    known_port = flags.port or (last.port if last else 0)
    port = (
        known_port or scaffolding.port_of(root, path) or _number(missing.ask("Port of the service", "--port"))
    )
    if missing.options:
        raise SettingsError(
            f"there is no terminal to ask on, and nothing tells {', '.join(missing.options)}",
            hint="give them as options",
        )
    if flags.repository or last is None:
        repository = _as_tokens_name_it(repository)
    return Answers(
        project=project,
        service=flags.service or (last.service if last else project),
        region=region,
        repository=repository,
        branch=flags.branch or (last.branch if last else found.branch),
        environments=environments,
        port=port,
        context=context,
        dockerfile=name,
        requirement=flags.requirement or (last.requirement if last else "") or found.requirement,
    )


def _environments(flags: _Flags, last: Answers | None, missing: _Missing) -> tuple[EnvironmentAnswer, ...]:
    from orchestrator.scaffold.answers import EnvironmentAnswer

    accounts = {item.name: item.account_id for item in last.environments} if last else {}
    for pair in flags.accounts:
        name, equals, account_id = pair.partition("=")
        if not equals:
            raise SettingsError(
                f"--account {pair}: must be ENV=ID", hint="for example --account dev=111111111111"
            )
        accounts[name] = account_id
    names = flags.environments or tuple(accounts)
    if not names:
        names = tuple(
            missing.ask(
                "Environments, in the order of promotion", "--account ENV=ID", " ".join(_USUAL)
            ).split()
        )
    if missing.options and not accounts:
        # Whoever gives the accounts names the environments too.
        return ()
    unknown = [name for name in accounts if name not in names]
    if unknown and flags.accounts:
        raise SettingsError(
            f"--account {unknown[0]}=…: it is none of {', '.join(names)}", hint="name it with --environment"
        )
    return tuple(
        EnvironmentAnswer(
            name, accounts.get(name) or missing.ask(f"AWS account of {name}", f"--account {name}=ID")
        )
        for name in names
    )


def _dockerfile(flags: _Flags, found: Found) -> Path:
    if flags.dockerfile:
        return Path(flags.dockerfile)
    if len(found.dockerfiles) != 1:
        listed = ", ".join(map(str, found.dockerfiles))
        raise PreconditionError(
            f"there are several Dockerfiles: {listed}"
            if listed
            else "there is no Dockerfile, here or one folder below",
            hint="name it: --dockerfile PATH",
        )
    return found.dockerfiles[0]


def _number(answer: str) -> int:
    return int(answer) if answer.isdecimal() else 0


def _as_tokens_name_it(repository: str) -> str:
    """With the ids where GitHub's tokens carry them, if a token lets us ask; a GitHub that does not answer is no reason to stop."""
    token = os.environ.get("GITHUB_TOKEN", "")
    if not token or "@" in repository:
        return repository
    from orchestrator.github import identity
    from orchestrator.github.api import API_URL

    try:
        found = identity.repository_identity(
            token, repository, api_url=os.environ.get("GITHUB_API_URL", API_URL)
        )
    except (GitHubError, SettingsError) as error:
        typer.echo(f"GitHub did not say how its tokens name {repository}: {error.message}", err=True)
        return repository
    return found.subject_repository


def _show(survey: Survey, console: Console, output: Output) -> None:
    """What becomes of each file; the diff of each that is there and would be changed, or is not touched for a reason."""
    from orchestrator.scaffold.merge import Fate

    shown = [change for change in survey.changes if change.fate is not Fate.SAME]
    if output is Output.JSON:
        values = [FileFate(change.path, change.fate, change.reason) for change in shown]
        if values:
            console.result(values, lambda _text: [])
        return
    created = [change.path for change in shown if change.fate is Fate.CREATED]
    lines = [f"  {change.fate:<9} {change.path}" for change in shown if change.fate is not Fate.CREATED]
    lines += [f"  {Fate.CREATED:<9} {line}" for line in _grouped(created)]
    console.say(lines or ["everything is as orch writes it"])
    for change in shown:
        if change.before is not None and (change.is_written or change.is_open):
            console.say(["", *change.diff().splitlines()])
    for change in survey.open:
        typer.echo(f"{change.path} stays as it is: {change.reason}", err=True)
        typer.echo(f"  → take over by hand what you want of the diff, or --overwrite {change.path}", err=True)


def _grouped(paths: Sequence[str]) -> list[str]:
    """Files of Terraform's modules, which are many, as one line a folder."""
    found: dict[str, int] = {}
    for path in paths:
        parts = path.split("/")
        key = "/".join(parts[:3]) + "/" if len(parts) > 3 else path
        found[key] = found.get(key, 0) + 1
    return [f"{key} ({_files(count)})" if key.endswith("/") else key for key, count in found.items()]


def _files(count: int) -> str:
    return f"{count} file{'' if count == 1 else 's'}"
