"""The verb that checks whether an environment's services could be rolled out: its findings as a tree, and whether one failed."""

from __future__ import annotations

import shutil
import sys
from typing import Annotated

import typer

from orchestrator.cli.app import (
    EnvOption,
    Output,
    OutputOption,
    ProjectOption,
    SandboxOption,
    VerboseOption,
    app,
    guarded,
)
from orchestrator.cli.run import Run


@app.command()
@guarded
def verify(
    env: EnvOption,
    *,
    service: Annotated[
        list[str] | None,
        typer.Option("--service", "-s", help="One service; may be repeated. All when absent."),
    ] = None,
    project: ProjectOption = None,
    sandbox: SandboxOption = False,
    output: OutputOption = Output.TEXT,
    verbose: VerboseOption = False,
) -> int:
    """Check all that a rollout needs: image, secrets, roles, logs, room, alarms; changes nothing, exit code 1 when it would fail."""
    run = Run(env, project, sandbox=sandbox, output=output, verbose=verbose)
    from orchestrator.operations import verify as verifying

    found = verifying.verify(
        run.settings,
        run.environment,
        tuple(service or ()),
        session=run.session,
        environ=run.environ,
        steps=run.steps,
    )
    # Elsewhere than on a terminal a finding stays on its line, for whoever searches it.
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 0
    run.result(found, lambda text: text.preflight_lines(found, width=width))
    return 1 if any(one.failures for one in found) else 0
