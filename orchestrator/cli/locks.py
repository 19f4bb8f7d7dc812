"""The verbs on the locks of environments: `lock`, `unlock`, `locks`."""

from __future__ import annotations

import re
from typing import Annotated

import typer

from orchestrator.cli.app import (
    EnvOption,
    LockTimeoutOption,
    Output,
    OutputOption,
    ProjectOption,
    SandboxOption,
    VerboseOption,
    annotate,
    app,
    guarded,
)
from orchestrator.cli.run import Console, Run, connect, find_sandbox, load_settings
from orchestrator.errors import SettingsError

_DURATION = re.compile(r"(?:(\d{1,9})d)?(?:(\d{1,9})h)?(?:(\d{1,9})m)?(?:(\d{1,9})s)?")
_LONGEST_DAYS = 366


@app.command()
@guarded
def lock(
    env: EnvOption,
    *,
    reason: Annotated[
        str, typer.Option("--reason", metavar="TEXT", help="Why, for whoever is refused.", show_default=False)
    ],
    for_: Annotated[
        str,
        typer.Option(
            "--for", metavar="DURATION", help="Such as 30m, 2h or 1d12h; until it is unlocked when absent."
        ),
    ] = "",
    lock_timeout: LockTimeoutOption = None,
    project: ProjectOption = None,
    sandbox: SandboxOption = False,
    output: OutputOption = Output.TEXT,
    verbose: VerboseOption = False,
) -> int:
    """Keep everybody from changing an environment, yourself included, until you unlock it or a time is over."""
    lifetime_s = duration_s(for_) if for_ else None
    run = Run(env, project, sandbox=sandbox, output=output, verbose=verbose)
    run.wait_for_lock(lock_timeout)
    from orchestrator.operations import lock as locking

    done = locking.lock(
        run.settings,
        run.environment,
        reason=reason,
        lifetime_s=lifetime_s,
        session=run.session,
        environ=run.environ,
        steps=run.steps,
    )
    run.result((done,), lambda text: text.locked_lines(done))
    return 0


@app.command()
@guarded
def unlock(
    env: EnvOption,
    *,
    force: Annotated[
        bool,
        typer.Option(
            "--force", help="Also a lock of somebody else, or of a run: only if it is certainly dead."
        ),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="With --force: do not ask.")] = False,
    project: ProjectOption = None,
    sandbox: SandboxOption = False,
    output: OutputOption = Output.TEXT,
    verbose: VerboseOption = False,
) -> int:
    """Remove your own lock of an environment, or one that is dead; with --force any other."""
    run = Run(env, project, sandbox=sandbox, output=output, verbose=verbose)
    from orchestrator.operations import lock as locking

    done = locking.unlock(
        run.settings,
        run.environment,
        force=force,
        ask=run.ask(yes=yes),
        session=run.session,
        environ=run.environ,
    )
    run.result((done,), lambda text: text.unlocked_lines(done))
    return 0


@app.command()
@guarded
def locks(
    env: Annotated[str, typer.Option("--env", "-e", help="One environment; all of them when absent.")] = "",
    *,
    project: ProjectOption = None,
    sandbox: SandboxOption = False,
    output: OutputOption = Output.TEXT,
    verbose: VerboseOption = False,
) -> int:
    """Show who holds the locks of the environments, and Terraform's locks of their states; changes nothing."""
    console = Console(output=output, verbose=verbose)
    settings = load_settings(project)
    chosen = [settings.environment(env)] if env else list(settings.environments.values())
    found = find_sandbox() if sandbox else None
    from orchestrator.operations import lock as locking

    asked = []
    for environment in chosen:
        _environ, session = connect(environment, found)
        asked.append(locking.locks(environment, session))
    if env and asked[0].error is not None:
        raise asked[0].error
    held = [one for answer in asked for one in answer.locks]
    if held or output is Output.TEXT:
        console.result(
            held,
            lambda text: text.locks_lines(held, [answer.environment for answer in asked if not answer.error]),
        )
    failed = [(answer.environment, answer.error) for answer in asked if answer.error is not None]
    for name, error in failed:
        if output is Output.JSON:
            from orchestrator.report import json_lines

            message = f"the locks of {name}: {error.message}"
            typer.echo(json_lines.error_line(message, error.hint, error.details, error.exit_code))
        typer.echo(f"! the locks of {name}: {error.message}", err=True)
        if error.hint:
            typer.echo(f"  → {error.hint}", err=True)
    annotate(*(error for _name, error in failed))
    return max((error.exit_code for _name, error in failed), default=0)


def duration_s(text: str) -> float:
    """`2h`, `30m`, `1d12h` in seconds. Raises SettingsError for anything else, for none at all, and for more than a year."""
    match = _DURATION.fullmatch(text.strip())
    parts = [int(part or 0) for part in match.groups()] if match is not None else []
    seconds = sum(count * unit for count, unit in zip(parts, (86_400, 3_600, 60, 1), strict=False))
    if not 0 < seconds <= _LONGEST_DAYS * 86_400:
        raise SettingsError(
            f"--for {text}: this is no duration of at most {_LONGEST_DAYS} days",
            hint="write days, hours, minutes, seconds, such as 30m, 2h or 1d12h",
        )
    return float(seconds)
