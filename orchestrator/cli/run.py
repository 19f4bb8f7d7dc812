"""What a verb on an environment needs: settings, the environment, a session, a view, steps, and the questions it may ask."""

from __future__ import annotations

import os
import sys
import threading
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from orchestrator.cli.app import Output
from orchestrator.errors import PreconditionError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import ModuleType

    from orchestrator.aws import Aws
    from orchestrator.events import Event, Steps
    from orchestrator.github.difference import Difference
    from orchestrator.model import Pause, Plan, Release
    from orchestrator.report.terminal import View
    from orchestrator.sandbox.control import Sandbox
    from orchestrator.settings import Environment, Settings


def describe_sandbox(found: Sandbox) -> str:
    return f"sandbox at {found.endpoint_url} (pid {found.pid}, {found.task_seconds:g} s a task), log {found.log_path}"


def find_sandbox() -> Sandbox:
    from orchestrator.errors import SandboxError
    from orchestrator.sandbox import control

    found = control.find(control.default_state_dir(os.environ))
    if found is None:
        raise SandboxError("the sandbox is not running", hint="start it with `orch sandbox up`")
    return found


def load_settings(project: Path | None) -> Settings:
    from orchestrator import settings

    if project is not None and not project.is_dir():
        raise PreconditionError(
            f"there is no folder {project}", hint="--project takes the folder that holds orch.toml"
        )
    return settings.load(settings.find((project or Path.cwd()).absolute()))


class Console:
    """How a verb speaks: events to the view, results to stdout, questions on the terminal. Threads may share one."""

    def __init__(
        self,
        *,
        output: Output,
        verbose: bool,
        is_plan_the_result: bool = False,
        is_gate_the_result: bool = False,
    ) -> None:
        from orchestrator.report import terminal

        self._output = output
        self._is_plan_the_result = is_plan_the_result
        self._is_gate_the_result = is_gate_the_result
        self._lock = threading.Lock()
        self.view: View = terminal.open_view(sys.stderr, is_verbose=verbose)

    def emit(self, event: Event) -> None:
        from orchestrator.events import GateJudged, PlanReady

        is_the_result = (self._is_plan_the_result and isinstance(event, PlanReady)) or (
            self._is_gate_the_result and isinstance(event, GateJudged)
        )
        with self._lock:
            if self._output is Output.JSON:
                from orchestrator.report import json_lines

                typer.echo(json_lines.line(event))
            if is_the_result:
                # It will be printed on stdout.
                return
            self.view.take(event)

    def approve_github(self, *, yes: bool) -> Callable[[tuple[Difference, ...]], bool]:
        """Shows what would change on GitHub, and asks."""
        ask = self.ask(yes=yes)

        def approve(found: tuple[Difference, ...]) -> bool:
            self.view.pause()
            for difference in found:
                typer.echo(f"  {difference.line}", err=True)
            return ask("Change this on GitHub?")

        return approve

    def ask(self, *, yes: bool) -> Callable[[str], bool]:
        """Asks a question on the terminal, unless the user already said yes."""

        def ask(question: str) -> bool:
            if yes:
                return True
            self.view.pause()
            if not sys.stdin.isatty():
                raise PreconditionError(
                    f"there is no terminal to ask for approval on: {question}",
                    hint="review what is shown, then pass --yes",
                )
            with _interruptible():
                return typer.confirm(question, err=True)

        return ask

    def approve_pauses(self, *, yes: bool, rolls_back: bool) -> Callable[[tuple[Pause, ...]], bool]:
        """Shows which rollouts wait, and asks."""
        ask = self.ask(yes=yes)

        def approve(found: tuple[Pause, ...]) -> bool:
            from orchestrator.report import text

            self.view.pause()
            typer.echo("\n".join(text.pause_lines(found)), err=True)
            return ask("Roll back?" if rolls_back else "Continue?")

        return approve

    def confirm_name(self, given: str, name: str) -> Callable[[Plan], bool]:
        """Asks for a name on the terminal, unless the command line already holds it."""

        def ask(_plan: Plan) -> bool:
            if given:
                return given == name
            self.view.pause()
            if not sys.stdin.isatty():
                raise PreconditionError(
                    f"there is no terminal to type {name} on",
                    hint=f"review the plan, then pass --confirm {name}",
                )
            with _interruptible():
                typed: str = typer.prompt(
                    f"Type {name} to destroy all of this", default="", show_default=False, err=True
                )
            return typed == name

        return ask

    def result(self, values: Sequence[Any], lines: Callable[[ModuleType], list[str]]) -> None:
        """Prints what a verb found out: each value as a JSON line, or the lines for people."""
        self.view.pause()
        if self._output is Output.JSON:
            from orchestrator.report import json_lines

            typer.echo("\n".join(json_lines.value_line(value) for value in values))
        else:
            from orchestrator.report import text

            self.say(lines(text))

    def say(self, lines: Sequence[str]) -> None:
        """Prints lines of a result for people."""
        from orchestrator.report import terminal

        self.view.pause()
        terminal.write(lines, sys.stdout)

    def show_releases(self, releases: Sequence[Release]) -> None:
        """Prints releases for people; as JSON they were printed as they happened."""
        self.view.pause()
        if self._output is Output.TEXT:
            from orchestrator.report import text

            for release in releases:
                self.say(text.release_lines(release))


@contextmanager
def _interruptible() -> Iterator[None]:
    """Click ends a question that is interrupted, or that nobody is there to answer, with an exception of its own."""
    try:
        yield
    except typer.Abort:
        raise KeyboardInterrupt from None


def connect(environment: Environment, found: Sandbox | None) -> tuple[dict[str, str], Aws]:
    """The environment variables and the AWS session for one environment, on AWS or on the sandbox."""
    from orchestrator import web_identity
    from orchestrator.aws import Aws

    environ = dict(os.environ)
    if found is not None:
        from orchestrator.sandbox import control

        # A profile or a web identity of the real AWS must not reach Terraform or boto3 here.
        for key in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ROLE_ARN"):
            environ.pop(key, None)
        environ |= control.aws_environment(
            found, account_id=environment.account_id, region=environment.region
        )
    web_roles = environment.web_roles if found is None and web_identity.is_offered(environ) else {}
    return environ, Aws(environment.region, environ, environment.assume_role, web_roles=web_roles)


def prepare_sandbox(found: Sandbox, environment: Environment, session: Aws, steps: Steps) -> None:
    """An empty sandbox has no state bucket yet; on AWS that is `orch bootstrap`, done once and on purpose."""
    from orchestrator.sandbox import control

    if not control.has_bucket(found, environment.state_bucket):
        from orchestrator.operations import bootstrap as bootstrapping

        bootstrapping.ensure_bucket(session, environment, steps, ask=lambda _question: True)


class Run(Console):
    """What a verb on one environment needs."""

    def __init__(
        self,
        env: str,
        project: Path | None,
        *,
        sandbox: bool,
        output: Output,
        verbose: bool,
        is_bootstrap: bool = False,
        is_plan_the_result: bool = False,
    ) -> None:
        from orchestrator.events import Steps

        self.settings: Settings = load_settings(project)
        self.environment: Environment = self.settings.environment(env)
        found = find_sandbox() if sandbox else None
        self.environ, self.session = connect(self.environment, found)
        super().__init__(output=output, verbose=verbose, is_plan_the_result=is_plan_the_result)
        self.steps = Steps(self.emit)
        if found is not None and not is_bootstrap:
            prepare_sandbox(found, self.environment, self.session, self.steps)

    def wait_for_lock(self, timeout_s: int | None) -> None:
        """Waits that long for the environment's lock, in place of what orch.toml says."""
        from orchestrator.settings import LockSettings

        if timeout_s is not None:
            self.settings = replace(self.settings, lock=LockSettings(timeout_s=timeout_s))

    def approve(self, *, yes: bool, place: str = "") -> Callable[[Plan], bool]:
        """Asks whether to apply a plan to the environment, or to that place, unless the user already said yes."""
        ask = self.ask(yes=yes)
        return lambda _plan: ask(f"Apply this to {place or self.environment.name}?")
