"""The verbs on release records: `history`, `release show`, `metrics`. None of them changes anything."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli.app import (
    Output,
    OutputOption,
    ProjectOption,
    SandboxOption,
    VerboseOption,
    annotate,
    app,
    guarded,
)
from orchestrator.cli.releases import print_errors, ready_for
from orchestrator.cli.run import Console, load_settings

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from orchestrator.errors import OrchError
    from orchestrator.operations.plan_all import Ready

AnyEnvOption = Annotated[str, typer.Option("--env", "-e", help="One environment; all of them when absent.")]
OneServiceOption = Annotated[str, typer.Option("--service", "-s", help="Only this service.")]


class Part(StrEnum):
    """What a period is divided into; dora.Step, without its module."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"


releases = typer.Typer(
    name="release",
    help="One release through the whole path, or what is on record of it.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.add_typer(releases)


@app.command()
@guarded
def history(
    env: AnyEnvOption = "",
    *,
    service: OneServiceOption = "",
    limit: Annotated[int, typer.Option("--limit", min=1, help="How many releases, the newest first.")] = 20,
    project: ProjectOption = None,
    sandbox: SandboxOption = False,
    output: OutputOption = Output.TEXT,
    verbose: VerboseOption = False,
) -> int:
    """Show the releases on record: when, what, by whom, and how each ended; changes nothing."""
    console = Console(output=output, verbose=verbose)
    ready = _ready(env, project, console, sandbox=sandbox)
    from orchestrator.operations import history as reading
    from orchestrator.report import releases as lines

    answers = reading.history_of_all(ready, service=service, limit=limit)
    if (env or len(answers.errors) == len(ready)) and answers.errors:
        raise answers.errors[0]
    if answers.found or output is Output.TEXT:
        console.result(answers.found, lambda _text: lines.history_lines(env, answers.found, service=service))
    return _tell(answers.errors, output)


@releases.command()
@guarded
def show(
    release_id: Annotated[
        str,
        typer.Argument(metavar="ID", help="Its id, or the beginning of it, or of the part after the hyphen."),
    ],
    *,
    env: AnyEnvOption = "",
    project: ProjectOption = None,
    sandbox: SandboxOption = False,
    output: OutputOption = Output.TEXT,
    verbose: VerboseOption = False,
) -> int:
    """Show everything on record of one release; changes nothing."""
    console = Console(output=output, verbose=verbose)
    ready = _ready(env, project, console, sandbox=sandbox)
    from orchestrator.operations import release_show
    from orchestrator.report import releases as lines

    record = release_show.show(ready, release_id)
    console.result((record,), lambda _text: lines.record_lines(record))
    return 0


@app.command()
@guarded
def metrics(
    env: AnyEnvOption = "",
    *,
    service: OneServiceOption = "",
    since: Annotated[
        str, typer.Option("--since", metavar="TIME", help="30d, 2w or 12h ago, or a day as 2026-01-01 (UTC).")
    ] = "30d",
    until: Annotated[str, typer.Option("--until", metavar="TIME", help="Likewise; now when absent.")] = "",
    by: Annotated[Part | None, typer.Option("--by", help="Each day, week or month of the period.")] = None,
    project: ProjectOption = None,
    sandbox: SandboxOption = False,
    output: OutputOption = Output.TEXT,
    verbose: VerboseOption = False,
) -> int:
    """Show DORA's metrics: deployment frequency, lead time, change failure rate, recovery time; changes nothing."""
    from orchestrator.dora import Step
    from orchestrator.operations import metrics as measuring
    from orchestrator.report import metrics as lines

    begins, ends = measuring.period(since, until, now=datetime.now(UTC))
    console = Console(output=output, verbose=verbose)
    ready = _ready(env, project, console, sandbox=sandbox)
    step = Step(by) if by is not None else None
    answers = measuring.metrics(ready, since=begins, until=ends, step=step, service=service)
    if (env or len(answers.errors) == len(ready)) and answers.errors:
        raise answers.errors[0]
    console.result(answers.found, lambda _text: lines.metrics_lines(answers.found, is_series=by is not None))
    return _tell(answers.errors, output)


def _ready(env: str, project: Path | None, console: Console, *, sandbox: bool) -> list[Ready]:
    settings = load_settings(project)
    chosen = [settings.environment(env)] if env else list(settings.environments.values())
    return ready_for(chosen, console, sandbox=sandbox, with_scope=not env)


def _tell(errors: Sequence[OrchError], output: Output) -> int:
    """Tells which environments could not be read beside those that could; returns the exit code."""
    if output is Output.JSON:
        print_errors(errors)
    for error in errors:
        typer.echo(f"error: {error.message}", err=True)
        if error.hint:
            typer.echo(f"  → {error.hint}", err=True)
    annotate(*errors)
    return max((error.exit_code for error in errors), default=0)
