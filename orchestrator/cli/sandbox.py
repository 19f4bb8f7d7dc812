"""The verbs on the embedded AWS: `orch sandbox up|down|status|reset|env`."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from orchestrator.cli.app import ProjectOption, app, guarded
from orchestrator.cli.run import describe_sandbox, find_sandbox, load_settings

sandbox_app = typer.Typer(
    help="The embedded AWS on this machine, to try everything without an account.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.add_typer(sandbox_app, name="sandbox")


@sandbox_app.command("up")
@guarded
def sandbox_up(
    *,
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1; 0 takes any free one.")] = 4577,
    task_seconds: Annotated[float, typer.Option(help="How long a task takes to start.", min=0)] = 2.0,
) -> int:
    """Start the embedded AWS."""
    from orchestrator.sandbox import control

    started = control.start(control.default_state_dir(os.environ), port=port, task_seconds=task_seconds)
    typer.echo(describe_sandbox(started))
    return 0


@sandbox_app.command("down")
@guarded
def sandbox_down() -> int:
    """Stop the embedded AWS; everything in it is gone."""
    from orchestrator.sandbox import control

    stopped = control.stop(control.default_state_dir(os.environ))
    typer.echo(f"stopped {stopped.endpoint_url}" if stopped else "no sandbox was running")
    return 0


@sandbox_app.command("status")
@guarded
def sandbox_status() -> int:
    """Say whether the embedded AWS runs, and where; exit code 1 when it does not."""
    typer.echo(describe_sandbox(find_sandbox()))
    return 0


@sandbox_app.command("reset")
@guarded
def sandbox_reset() -> int:
    """Empty the embedded AWS."""
    from orchestrator.sandbox import control

    found = find_sandbox()
    control.reset(found)
    typer.echo(f"{found.endpoint_url} is empty now")
    return 0


@sandbox_app.command("env")
@guarded
def sandbox_env(
    env: Annotated[
        str | None, typer.Option("--env", "-e", help="The environment whose account and region to use.")
    ] = None,
    *,
    project: ProjectOption = None,
) -> int:
    """Print shell lines that point other programs (aws, terraform, skopeo) at the embedded AWS."""
    import shlex

    from orchestrator.sandbox import control

    found = find_sandbox()
    account_id, region = None, "us-east-1"
    if env is not None:
        environment = load_settings(project).environment(env)
        account_id, region = environment.account_id, environment.region
    for key, value in control.aws_environment(found, account_id=account_id, region=region).items():
        typer.echo(f"export {key}={shlex.quote(value)}")
    return 0
