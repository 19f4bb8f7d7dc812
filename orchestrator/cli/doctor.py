"""The verb that says what a machine, a repository and its accounts lack: its findings as a tree, and whether one failed."""

from __future__ import annotations

import os
import shutil
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli.app import (
    Output,
    OutputOption,
    ProjectOption,
    SandboxOption,
    VerboseOption,
    app,
    guarded,
)
from orchestrator.cli.run import Console, connect, find_sandbox, load_settings

if TYPE_CHECKING:
    from orchestrator.operations.plan_all import Ready
    from orchestrator.sandbox.control import Sandbox
    from orchestrator.settings import Environment


@app.command()
@guarded
def doctor(
    env: Annotated[
        str, typer.Option("--env", "-e", help="One environment; all when absent.", show_default=False)
    ] = "",
    *,
    fix: Annotated[
        bool,
        typer.Option(
            "--fix",
            help="Mend what orch can: the state bucket and its settings; environments and variables on GitHub. Then check again.",
        ),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="With --fix: without asking.")] = False,
    project: ProjectOption = None,
    sandbox: SandboxOption = False,
    output: OutputOption = Output.TEXT,
    verbose: VerboseOption = False,
) -> int:
    """Say what this machine, the repository on GitHub and each account lack, and the command that mends it; exit code 1 on a FAIL.

    Reads with your own credentials, and GITHUB_TOKEN or GH_TOKEN; what they may not ask is skipped. Changes nothing without --fix.
    """
    console = Console(output=output, verbose=verbose)
    settings = load_settings(project)
    chosen = [settings.environment(env)] if env else list(settings.environments.values())
    from orchestrator.events import Steps
    from orchestrator.operations import doctor as examining
    from orchestrator.report import doctor as report

    found_sandbox = find_sandbox() if sandbox else None
    ready = [_ready(environment, found_sandbox, console) for environment in chosen]
    given = examining.Given(
        settings,
        dict(os.environ),
        github_token=os.environ.get("GITHUB_TOKEN") or os.environ.get("GH_TOKEN") or "",
        env=env,
        flags=("--sandbox",) if sandbox else (),
    )
    steps = Steps(console.emit)
    found = examining.examine(given, ready, steps)
    if fix and examining.mend(
        given,
        ready,
        found,
        steps=steps,
        ask=console.ask(yes=yes),
        approve_github=console.approve_github(yes=yes),
    ):
        found = examining.examine(given, ready, steps)
    # Elsewhere than on a terminal a finding stays on its line, for whoever searches it.
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 0
    console.result(found, lambda _text: report.lines(found, width=width))
    return 1 if any(one.failures for one in found) else 0


def _ready(environment: Environment, found: Sandbox | None, console: Console) -> Ready:
    """Without the state bucket that other verbs make in an empty sandbox: that it lacks is to be said."""
    from orchestrator.events import Steps
    from orchestrator.operations.plan_all import Ready

    environ, session = connect(environment, found)
    return Ready(environment, session, environ, Steps(console.emit, scope=environment.name))
