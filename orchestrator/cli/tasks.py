"""The verbs on tasks: what runs, what it logs, one more task, a shell in one, how many.

Their exit codes are those of every verb, but for `orch run`, which ends as its command does: with the container's exit code when
that is 1 to 125, and with 1 when it is greater or the command never started.
"""

from __future__ import annotations

import os
import re
import secrets
import time
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

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
from orchestrator.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orchestrator.events import Event, LogLine

ServicesOption = Annotated[
    list[str] | None,
    typer.Option("--service", "-s", help="One service; may be repeated. All when absent."),
]
ServiceOption = Annotated[
    str, typer.Option("--service", "-s", help="The service; may be left out where there is only one.")
]
ContainerOption = Annotated[
    str, typer.Option("--container", "-c", help="A container of the task; the service's own when absent.")
]
_DURATION = re.compile(r"(\d+)([smhd])")
_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}
# Shells use the codes above for themselves: not executable, not found, ended by a signal.
_MOST_EXIT_CODE = 125


class _Logging(Run):
    """A verb whose result is what programs logged: line by line on stdout, as it comes."""

    def __init__(self, *arguments: Any, is_merged: bool, with_times: bool = False, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._is_merged = is_merged
        self._with_times = with_times

    def emit(self, event: Event) -> None:
        from orchestrator.events import LogLine

        if not isinstance(event, LogLine):
            super().emit(event)
            return
        with self._lock:
            self.view.pause()
            # A task does not end because nobody reads its output any more; a look at logs does.
            with suppress(*(() if self._is_merged else (BrokenPipeError,))):
                typer.echo(self._shown(event))

    def _shown(self, line: LogLine) -> str:
        from orchestrator.report import json_lines, text

        if self._output is Output.JSON:
            return json_lines.line(line)
        return (
            text.log_line(line, with_time=self._with_times) if self._is_merged else text.log_text(line.text)
        )

    @contextmanager
    def program_output(self) -> Iterator[None]:
        """In a workflow on GitHub: what is printed in here is text, and no command to the runner, whoever wrote it."""
        if os.environ.get("GITHUB_ACTIONS") != "true" or self._output is Output.JSON:
            yield
            return
        from orchestrator.report import github_actions

        token = secrets.token_hex(16)
        typer.echo(github_actions.stop_commands(token))
        try:
            yield
        finally:
            with suppress(BrokenPipeError):
                typer.echo(github_actions.resume_commands(token))


@app.command()
@guarded
def tasks(
    env: EnvOption,
    *,
    service: ServicesOption = None,
    stopped: Annotated[
        bool, typer.Option("--stopped", help="Also those that stopped within the last hour, and why.")
    ] = False,
    project: ProjectOption = None,
    sandbox: SandboxOption = False,
    output: OutputOption = Output.TEXT,
    verbose: VerboseOption = False,
) -> int:
    """Show the tasks of an environment's services, and one-off tasks, as ECS says them now; changes nothing."""
    run = Run(env, project, sandbox=sandbox, output=output, verbose=verbose)
    from orchestrator.operations import tasks as listing

    found = listing.tasks(
        run.settings,
        run.environment,
        tuple(service or ()),
        with_stopped=stopped,
        session=run.session,
        environ=run.environ,
        steps=run.steps,
    )
    if found or output is Output.TEXT:
        run.result(found, lambda text: text.tasks_lines(found, now=datetime.now(UTC)))
    return 0


@app.command()
@guarded
def logs(
    env: EnvOption,
    *,
    service: ServicesOption = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on with new lines until Ctrl-C (exit code 0).")
    ] = False,
    since: Annotated[
        str, typer.Option("--since", metavar="DURATION", help="How far back: 90s, 10m, 2h or 7d.")
    ] = "10m",
    container: Annotated[str, typer.Option("--container", "-c", help="Only this container.")] = "",
    task: Annotated[
        str,
        typer.Option("--task", "-t", metavar="ID", help="Only this task; the beginning of its id will do."),
    ] = "",
    text: Annotated[
        str, typer.Option("--filter", metavar="TEXT", help="Only messages with this in them, case and all.")
    ] = "",
    times: Annotated[bool, typer.Option("--times", help="Begin each line with its time (UTC).")] = False,
    project: ProjectOption = None,
    sandbox: SandboxOption = False,
    output: OutputOption = Output.TEXT,
    verbose: VerboseOption = False,
) -> int:
    """Show what the containers of services log, merged by time; text that looks like a credential is left out."""
    since_s = seconds(since)
    run = _Logging(
        env, project, sandbox=sandbox, output=output, verbose=verbose, is_merged=True, with_times=times
    )
    from orchestrator.operations import logs as reading

    wanted = reading.Wanted(
        start_ms=int((time.time() - since_s) * 1000),
        services=tuple(service or ()),
        container=container,
        task=task,
        text=text,
    )
    count = 0
    try:
        with run.program_output():
            count = reading.logs(
                run.settings,
                run.environment,
                wanted,
                is_followed=follow,
                session=run.session,
                environ=run.environ,
                steps=run.steps,
            )
    except BrokenPipeError:
        # Whoever read the lines has enough of them.
        return 0
    except KeyboardInterrupt:
        if not follow:
            raise
        return 0
    if not count:
        typer.echo(f"no lines within the last {since}", err=True)
    return 0


@app.command()
@guarded
def run(
    env: EnvOption,
    command: Annotated[
        list[str],
        typer.Argument(metavar="COMMAND", help="Program and arguments, after `--`.", show_default=False),
    ],
    *,
    service: ServiceOption = "",
    container: ContainerOption = "",
    cpu: Annotated[str, typer.Option("--cpu", help="CPU units of the task, in place of its own.")] = "",
    memory: Annotated[str, typer.Option("--memory", help="MiB of the task, in place of its own.")] = "",
    detach: Annotated[
        bool, typer.Option("--detach", help="Print the task's id and leave it to itself.")
    ] = False,
    project: ProjectOption = None,
    sandbox: SandboxOption = False,
    output: OutputOption = Output.TEXT,
    verbose: VerboseOption = False,
) -> int:
    """Run a command in a task of its own, on the revision the service runs: its log on stdout, its exit code (1 to 125)."""
    this = _Logging(env, project, sandbox=sandbox, output=output, verbose=verbose, is_merged=False)
    from orchestrator.operations import run_task as running

    wish = running.Wish(tuple(command), service, container, cpu, memory, is_detached=detach)
    with this.program_output():
        done = running.run_task(
            this.settings,
            this.environment,
            wish,
            session=this.session,
            environ=this.environ,
            steps=this.steps,
        )
    if output is Output.JSON or detach:
        this.result((done,), lambda _text: [done.task_id])
    else:
        from orchestrator.report import text

        this.view.pause()
        # stdout is the command's own.
        typer.echo("\n".join(text.task_run_lines(done)), err=True)
    return exit_code(done.exit_code or 0)


@app.command("exec")
@guarded
def execute(
    env: EnvOption,
    command: Annotated[
        list[str] | None,
        typer.Argument(metavar="COMMAND", help="Program and arguments, after `--`; /bin/sh when absent."),
    ] = None,
    *,
    service: ServiceOption = "",
    task: Annotated[
        str,
        typer.Option(
            "--task", "-t", metavar="ID", help="A task, or the beginning of its id; else the newest."
        ),
    ] = "",
    container: ContainerOption = "",
    project: ProjectOption = None,
    sandbox: SandboxOption = False,
    verbose: VerboseOption = False,
) -> int:
    """Open a shell, or run a command, in a container that runs, by ECS Exec and the Session Manager plugin."""
    this = Run(env, project, sandbox=sandbox, output=Output.TEXT, verbose=verbose)
    from orchestrator.operations import execute as executing

    wish = executing.Wish(service, task, container, tuple(command or ()))
    ended = executing.execute(
        this.settings,
        this.environment,
        wish,
        session=this.session,
        environ=this.environ,
        steps=this.steps,
    )
    return exit_code(ended)


@app.command()
@guarded
def scale(
    env: EnvOption,
    count: Annotated[int, typer.Argument(min=0, help="How many tasks.", show_default=False)],
    *,
    service: ServiceOption = "",
    wait: Annotated[bool, typer.Option(help="Wait until so many tasks run, and say whether they do.")] = True,
    force: Annotated[
        bool, typer.Option("--force", help="Also where autoscaling will soon set another count.")
    ] = False,
    project: ProjectOption = None,
    sandbox: SandboxOption = False,
    output: OutputOption = Output.TEXT,
    verbose: VerboseOption = False,
) -> int:
    """Set the desired count of a service, and wait for its tasks; starts no deployment."""
    run = Run(env, project, sandbox=sandbox, output=output, verbose=verbose)
    from orchestrator.operations import scale as scaling

    done = scaling.scale(
        run.settings,
        run.environment,
        service=service,
        count=count,
        is_forced=force,
        is_awaited=wait,
        session=run.session,
        environ=run.environ,
        steps=run.steps,
    )
    run.result((done,), lambda text: text.scaled_lines(done))
    return done.verdict.exit_code if done.verdict else 0


def seconds(duration: str) -> int:
    """`10m` → 600. Raises SettingsError."""
    found = _DURATION.fullmatch(duration)
    if found is None:
        raise SettingsError(f"--since {duration}: not a duration", hint="write 90s, 10m, 2h or 7d")
    return int(found[1]) * _UNITS_S[found[2]]


def exit_code(code: int) -> int:
    """What orch exits with for the exit code of a program that it ran for the user."""
    return code if 0 <= code <= _MOST_EXIT_CODE else 1
