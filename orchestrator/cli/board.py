"""The verb that makes a page of all environments: `board`."""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli.app import Output, ProjectOption, SandboxOption, VerboseOption, app, guarded
from orchestrator.cli.releases import ready_for
from orchestrator.cli.run import Console, load_settings
from orchestrator.errors import PreconditionError, SettingsError

if TYPE_CHECKING:
    from orchestrator.operations.plan_all import Ready
    from orchestrator.report.board_html import Overview
    from orchestrator.settings import Settings

_FILE = "orch-board.html"
_PORT = 8321


@app.command()
@guarded
def board(
    *,
    file: Annotated[
        str,
        typer.Option(
            "--file", "-f", metavar="PATH", help=f"Where to write it; - is stdout. {_FILE} when absent."
        ),
    ] = "",
    serve: Annotated[
        bool, typer.Option("--serve", help="Serve it on 127.0.0.1 instead, until Ctrl-C.")
    ] = False,
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="With --serve; 0 takes any that is free.")
    ] = _PORT,
    max_age: Annotated[
        float,
        typer.Option(
            "--max-age",
            metavar="SECONDS",
            min=1,
            help="With --serve: read anew at most that often, when asked.",
        ),
    ] = 30.0,
    project: ProjectOption = None,
    sandbox: SandboxOption = False,
    verbose: VerboseOption = False,
) -> int:
    """Write one HTML page of all environments: what runs, what may be promoted, releases, metrics; changes nothing."""
    if serve and file:
        raise SettingsError("--serve and --file exclude each other", hint="leave one of them out")
    console = Console(output=Output.TEXT, verbose=verbose)
    settings = load_settings(project)
    target = Path(file or _FILE)
    if file != "-" and not serve:
        _require_place(target)
    ready = ready_for(list(settings.environments.values()), console, sandbox=sandbox, with_scope=True)
    if serve:
        return _serve(settings, ready, console, port=port, max_age_s=max_age)
    overview, page = _make(settings, ready)
    console.view.pause()
    if file == "-":
        sys.stdout.write(page)
    else:
        _write(target, page)
        typer.echo(f"{target}: {len(overview.places)} environments, {len(page.encode()) // 1000} kB")
    errors = [(where, one) for where, one in overview.troubles if one.exit_code]
    for where, one in errors:
        typer.echo(f"error: {where}: {one.message}", err=True)
        if one.hint:
            typer.echo(f"  → {one.hint}", err=True)
    return max((one.exit_code for _where, one in errors), default=0)


def _make(settings: Settings, ready: list[Ready]) -> tuple[Overview, str]:
    from orchestrator.operations import board_page
    from orchestrator.report import board_html

    overview = board_page.gather(settings, ready, now=datetime.now(UTC))
    return overview, board_html.render(overview)


def _serve(settings: Settings, ready: list[Ready], console: Console, *, port: int, max_age_s: float) -> int:
    from orchestrator.operations import board_serve
    from orchestrator.report import bug_log

    def make() -> str:
        page = _make(settings, ready)[1]
        console.view.pause()
        return page

    board_serve.serve(
        board_serve.Pages(make, max_age_s=max_age_s),
        port=port,
        ready=lambda url: typer.echo(f"{url}  (Ctrl-C ends it)"),
        failed=lambda bug: typer.echo(bug_log.write(bug, os.environ, sys.argv[1:]), err=True),
    )
    console.view.pause()
    return 0


def _require_place(target: Path) -> None:
    """Before anything is asked of AWS."""
    if target.is_dir() or not target.absolute().parent.is_dir():
        raise PreconditionError(
            f"--file {target}: {'that is a folder' if target.is_dir() else 'there is no such folder'}",
            hint="name a file in a folder that is there",
        )


def _write(target: Path, page: str) -> None:
    """The whole page or the one before: a web server may be reading it."""
    beside = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        beside.write_text(page, encoding="utf-8")
        beside.replace(target)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise PreconditionError(
            f"--file {target}: {error.strerror or error}", hint="name a file that you may write"
        ) from error
