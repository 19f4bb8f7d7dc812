"""The command line: options → arguments, the composition root, the error boundary, exit codes; nothing else.

Everything heavy is imported inside the verbs, so that `orch --help` answers at once. `guarded` is the only place that
catches: an OrchError is printed and becomes its exit code, anything else is a bug (exit code 3, one line, and a log file).
"""

from __future__ import annotations

import functools
import os
import signal
import sys
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from orchestrator import __version__
from orchestrator.errors import InterruptedByUserError, OrchError, PreconditionError
from orchestrator.permissions import Role

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import FrameType, ModuleType

    from orchestrator.aws import Aws
    from orchestrator.events import Event, Steps
    from orchestrator.github.difference import Difference
    from orchestrator.model import Plan, Release
    from orchestrator.report.terminal import View
    from orchestrator.sandbox.control import Sandbox
    from orchestrator.settings import Environment, Settings

app = typer.Typer(
    name="orch",
    help="Ship containers to AWS ECS: Terraform for the infrastructure, truthful rollouts for the rest.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # importing rich alone would double the time of --help
    context_settings={"help_option_names": ["-h", "--help"]},
)
sandbox_app = typer.Typer(
    help="The embedded AWS on this machine, to try everything without an account.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.add_typer(sandbox_app, name="sandbox")


class Output(StrEnum):
    """How results are printed."""

    TEXT = "text"
    JSON = "json"


EnvOption = Annotated[
    str, typer.Option("--env", "-e", help="The environment, as orch.toml names it.", show_default=False)
]
RoleOption = Annotated[
    Role, typer.Option("--role", "-r", help="Which role of the pipeline.", show_default=False)
]
ProjectOption = Annotated[
    Path | None,
    typer.Option("--project", help="Folder of orch.toml; the nearest one above this folder when absent."),
]
SandboxOption = Annotated[
    bool,
    typer.Option(
        "--sandbox", envvar="ORCH_SANDBOX", help="Work against the embedded AWS (`orch sandbox up`)."
    ),
]
OutputOption = Annotated[
    Output,
    typer.Option("--output", "-o", help="text for people; json prints one JSON object a line on stdout."),
]
VerboseOption = Annotated[
    bool, typer.Option("--verbose", "-v", help="Show every line of builds on a terminal too.")
]


def main() -> NoReturn:
    """The entry point of the command `orch`."""
    signal.signal(signal.SIGTERM, _interrupt)
    # Looking for pydantic plugins of other packages costs a tenth of the start-up, and orch uses none.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    try:
        app()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    with suppress(BrokenPipeError):
        sys.stdout.flush()
    with suppress(BrokenPipeError):
        sys.stderr.flush()
    # Taking boto3's modules apart at the end takes 0.1 s, and nothing is left that needs it.
    os._exit(code)


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def guarded(verb: Callable[..., int]) -> Callable[..., None]:
    """Runs a verb, prints what went wrong as people or programs want it, and exits with the right code."""

    @functools.wraps(verb)
    def run(*args: Any, **kwargs: Any) -> None:
        output = kwargs.get("output", Output.TEXT)
        try:
            code = verb(*args, **kwargs)
        except OrchError as error:
            _print_error(error, output)
            code = error.exit_code
        except KeyboardInterrupt:
            interrupted = InterruptedByUserError("interrupted", hint="run the same command again to go on")
            _print_error(interrupted, output)
            code = interrupted.exit_code
        except Exception as bug:  # noqa: BLE001 - the one boundary where a bug becomes a line and a log
            from orchestrator.report import bug_log

            typer.echo(bug_log.write(bug, os.environ, sys.argv[1:]), err=True)
            code = 3
        raise typer.Exit(code)

    return run


def _print_error(error: OrchError, output: Output) -> None:
    if output is Output.JSON:
        from orchestrator.report import json_lines

        typer.echo(json_lines.error_line(error.message, error.hint, error.details, error.exit_code))
    typer.secho(f"error: {error.message}", err=True, fg="red" if sys.stderr.isatty() else None)
    for line in error.details:
        typer.echo(f"  {line}", err=True)
    if error.hint:
        typer.echo(f"  → {error.hint}", err=True)


def _version(value: bool) -> None:
    if value:
        typer.echo(f"orch {__version__}")
        raise typer.Exit


@app.callback()
def options(
    _version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Holds the options of `orch` itself."""


@app.command()
@guarded
def plan(
    env: EnvOption,
    *,
    project: ProjectOption = None,
    sandbox: SandboxOption = False,
    output: OutputOption = Output.TEXT,
    verbose: VerboseOption = False,
    detailed_exitcode: Annotated[
        bool,
        typer.Option("--detailed-exitcode", help="Exit with 2 when there are changes, as Terraform does."),
    ] = False,
) -> int:
    """Show what Terraform would change in an environment; changes nothing."""
    run = _Run(env, project, sandbox=sandbox, output=output, verbose=verbose, is_plan_the_result=True)
    from orchestrator.operations import plan as planning

    prepared = planning.prepare(run.settings, run.environment, run.session, run.environ, run.steps)
    saved = planning.plan(prepared, run.environment, run.steps)
    saved.discard()
    run.view.pause()
    if output is Output.TEXT:
        from orchestrator.report import text

        typer.echo("\n".join(text.plan_lines(run.environment.name, saved.plan)))
    return 2 if detailed_exitcode and saved.plan.is_applicable else 0


@app.command()
@guarded
def apply(
    env: EnvOption,
    *,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Apply the plan without asking.")] = False,
    image: Annotated[
        list[str] | None,
        typer.Option(
            "--image",
            metavar="[SERVICE=]REPO@sha256:…",
            help="Roll out this image instead of building one; may be repeated.",
        ),
    ] = None,
    override: Annotated[
        list[str] | None,
        typer.Option(
            "--override", metavar="RULE", help="Open this gate of the environment; may be repeated."
        ),
    ] = None,
    reason: Annotated[
        str, typer.Option("--reason", metavar="TEXT", help="Why; it goes into the release record.")
    ] = "",
    project: ProjectOption = None,
    sandbox: SandboxOption = False,
    output: OutputOption = Output.TEXT,
    verbose: VerboseOption = False,
) -> int:
    """Bring an environment to what this checkout says: infrastructure, image, rollout, verdict."""
    run = _Run(env, project, sandbox=sandbox, output=output, verbose=verbose)
    from orchestrator.model import Override
    from orchestrator.operations import apply as applying

    releases = applying.apply(
        run.settings,
        run.environment,
        applying.Options(tuple(image or ()), tuple(Override(rule, reason) for rule in override or ())),
        session=run.session,
        environ=run.environ,
        steps=run.steps,
        approve=run.approve(yes=yes),
    )
    run.show_releases(releases)
    return max((release.verdict.exit_code for release in releases), default=0)


@app.command()
@guarded
def status(
    env: EnvOption,
    *,
    project: ProjectOption = None,
    sandbox: SandboxOption = False,
    output: OutputOption = Output.TEXT,
    verbose: VerboseOption = False,
) -> int:
    """Show what each service of an environment runs, as ECS says it now; changes nothing."""
    run = _Run(env, project, sandbox=sandbox, output=output, verbose=verbose)
    from orchestrator.operations import status as asking

    found = asking.status(
        run.settings, run.environment, session=run.session, environ=run.environ, steps=run.steps
    )
    run.result(found, lambda text: text.status_lines(found))
    return 0


@app.command()
@guarded
def rollback(
    env: EnvOption,
    *,
    service: Annotated[
        list[str] | None,
        typer.Option("--service", "-s", help="One service; may be repeated. All when absent."),
    ] = None,
    to: Annotated[
        str, typer.Option("--to", metavar="REVISION", help="NUMBER or FAMILY:NUMBER, released before.")
    ] = "",
    project: ProjectOption = None,
    sandbox: SandboxOption = False,
    output: OutputOption = Output.TEXT,
    verbose: VerboseOption = False,
) -> int:
    """Roll services back to the newest revision released before the one they are on; builds and renders nothing."""
    run = _Run(env, project, sandbox=sandbox, output=output, verbose=verbose)
    from orchestrator.operations import rollback as rolling_back

    releases = rolling_back.rollback(
        run.settings,
        run.environment,
        services=tuple(service or ()),
        to=to,
        session=run.session,
        environ=run.environ,
        steps=run.steps,
    )
    run.show_releases(releases)
    return max((release.verdict.exit_code for release in releases), default=0)


@app.command()
@guarded
def destroy(
    env: EnvOption,
    *,
    confirm: Annotated[
        str,
        typer.Option(
            "--confirm", metavar="NAME", help="The environment's name, in place of typing it when asked."
        ),
    ] = "",
    project: ProjectOption = None,
    sandbox: SandboxOption = False,
    output: OutputOption = Output.TEXT,
    verbose: VerboseOption = False,
) -> int:
    """Destroy everything Terraform made in an environment, and deregister the revisions; the state bucket stays."""
    run = _Run(env, project, sandbox=sandbox, output=output, verbose=verbose)
    from orchestrator.operations import destroy as destroying

    destroyed = destroying.destroy(
        run.settings,
        run.environment,
        session=run.session,
        environ=run.environ,
        steps=run.steps,
        confirm=run.confirm_name(confirm, run.environment.name),
    )
    run.result((destroyed,), lambda text: text.destroyed_lines(destroyed))
    return 0


@app.command()
@guarded
def policy(
    env: EnvOption,
    *,
    role: RoleOption,
    project: ProjectOption = None,
) -> int:
    """Print the IAM policy that a role of the pipeline needs in an environment, as JSON; asks nobody."""
    import json

    from orchestrator import permissions

    settings = _load_settings(project)
    place = settings.place(settings.environment(env))
    document = permissions.policy(role, place)
    typer.echo(json.dumps(document, indent=2))
    if len(json.dumps(document, separators=(",", ":"))) > permissions.INLINE_QUOTA:
        typer.echo(
            f"! IAM takes no more than {permissions.INLINE_QUOTA:,} characters in a role's inline policies\n"
            "  → attach the statements of the role plan as a managed policy, and the rest inline, as terraform/bootstrap does",
            err=True,
        )
    return 0


@app.command()
@guarded
def bootstrap(
    env: EnvOption,
    *,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Create what is missing without asking.")] = False,
    github: Annotated[
        bool,
        typer.Option(
            "--github",
            help="Set the variables and environments on GitHub too, with the token in GITHUB_TOKEN or GH_TOKEN.",
        ),
    ] = False,
    destroy: Annotated[
        bool, typer.Option("--destroy", help="Take it back, but for the state bucket; after `orch destroy`.")
    ] = False,
    confirm: Annotated[
        str, typer.Option("--confirm", metavar="ACCOUNT", help="With --destroy: the account id, unasked.")
    ] = "",
    project: ProjectOption = None,
    sandbox: SandboxOption = False,
    output: OutputOption = Output.TEXT,
    verbose: VerboseOption = False,
) -> int:
    """Set up an environment's account: state bucket, GitHub's identity provider, the pipeline's roles; may be repeated."""
    run = _Run(env, project, sandbox=sandbox, output=output, verbose=verbose, is_bootstrap=True)
    from orchestrator.operations import bootstrap as bootstrapping

    if destroy:
        destroyed = bootstrapping.tear_down(
            run.settings,
            run.environment,
            session=run.session,
            environ=run.environ,
            steps=run.steps,
            confirm=run.confirm_name(confirm, run.environment.account_id),
        )
        run.result((destroyed,), lambda text: text.destroyed_lines(destroyed))
        return 0
    token = _github_token(run.environ) if github else ""
    done = bootstrapping.bootstrap(
        run.settings,
        run.environment,
        session=run.session,
        environ=run.environ,
        steps=run.steps,
        questions=bootstrapping.Questions(
            bucket=run.ask(yes=yes), plan=run.approve(yes=yes), github=run.approve_github(yes=yes)
        ),
        github_token=token,
    )
    run.result((done,), lambda text: text.bootstrapped_lines(done))
    return 0


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
    typer.echo(_describe_sandbox(started))
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
    typer.echo(_describe_sandbox(_find_sandbox()))
    return 0


@sandbox_app.command("reset")
@guarded
def sandbox_reset() -> int:
    """Empty the embedded AWS."""
    from orchestrator.sandbox import control

    found = _find_sandbox()
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

    found = _find_sandbox()
    account_id, region = None, "us-east-1"
    if env is not None:
        environment = _load_settings(project).environment(env)
        account_id, region = environment.account_id, environment.region
    for key, value in control.aws_environment(found, account_id=account_id, region=region).items():
        typer.echo(f"export {key}={shlex.quote(value)}")
    return 0


def _github_token(environ: Mapping[str, str]) -> str:
    token = environ.get("GITHUB_TOKEN") or environ.get("GH_TOKEN") or ""
    if not token:
        raise PreconditionError(
            "--github needs a token in GITHUB_TOKEN or GH_TOKEN",
            hint="for example: GITHUB_TOKEN=$(gh auth token) orch bootstrap … --github; it needs the rights"
            " Administration: write, Environments: write and Variables: write in the repository",
        )
    return token


def _describe_sandbox(found: Sandbox) -> str:
    return f"sandbox at {found.endpoint_url} (pid {found.pid}, {found.task_seconds:g} s a task), log {found.log_path}"


def _find_sandbox() -> Sandbox:
    from orchestrator.errors import SandboxError
    from orchestrator.sandbox import control

    found = control.find(control.default_state_dir(os.environ))
    if found is None:
        raise SandboxError("the sandbox is not running", hint="start it with `orch sandbox up`")
    return found


def _load_settings(project: Path | None) -> Settings:
    from orchestrator import settings

    if project is not None and not project.is_dir():
        raise PreconditionError(
            f"there is no folder {project}", hint="--project takes the folder that holds orch.toml"
        )
    return settings.load(settings.find((project or Path.cwd()).absolute()))


class _Run:
    """What every verb on an environment needs: settings, the environment, a session, a view, steps."""

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
        self.settings: Settings = _load_settings(project)
        self.environment: Environment = self.settings.environment(env)
        self.environ: dict[str, str] = dict(os.environ)
        found = _find_sandbox() if sandbox else None
        if found is not None:
            self._point_at(found)
        self.session: Aws = self._session()
        self._output = output
        self._is_plan_the_result = is_plan_the_result
        self.view: View = self._view(verbose=verbose)
        self.steps: Steps = self._steps()
        if found is not None and not is_bootstrap:
            self._bootstrap_sandbox(found)

    def approve(self, *, yes: bool) -> Callable[[Plan], bool]:
        """Asks on the terminal, unless the user already said yes."""
        ask = self.ask(yes=yes)
        return lambda _plan: ask(f"Apply this to {self.environment.name}?")

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
            return typer.confirm(question, err=True)

        return ask

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

            typer.echo("\n".join(lines(text)))

    def show_releases(self, releases: Sequence[Release]) -> None:
        """Prints releases for people; as JSON they were printed as they happened."""
        self.view.pause()
        if self._output is Output.TEXT:
            from orchestrator.report import text

            for release in releases:
                typer.echo("\n".join(text.release_lines(release)))

    def _point_at(self, found: Sandbox) -> None:
        from orchestrator.sandbox import control

        # A profile or a web identity of the real AWS must not reach Terraform or boto3 here.
        for key in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ROLE_ARN"):
            self.environ.pop(key, None)
        self.environ |= control.aws_environment(
            found, account_id=self.environment.account_id, region=self.environment.region
        )

    def _session(self) -> Aws:
        from orchestrator.aws import Aws

        return Aws(self.environment.region, self.environ, self.environment.assume_role)

    def _view(self, *, verbose: bool) -> View:
        from orchestrator.report import terminal

        return terminal.open_view(sys.stderr, is_verbose=verbose)

    def _steps(self) -> Steps:
        from orchestrator.events import Steps

        return Steps(self._emit)

    def _emit(self, event: Event) -> None:
        from orchestrator.events import PlanReady

        if self._output is Output.JSON:
            from orchestrator.report import json_lines

            typer.echo(json_lines.line(event))
        if self._is_plan_the_result and isinstance(event, PlanReady):
            # It will be printed on stdout.
            return
        self.view.take(event)

    def _bootstrap_sandbox(self, found: Sandbox) -> None:
        """An empty sandbox has no state bucket yet; on AWS that is `orch bootstrap`, done once and on purpose."""
        from orchestrator.sandbox import control

        if not control.has_bucket(found, self.environment.state_bucket):
            from orchestrator.operations import bootstrap as bootstrapping

            bootstrapping.ensure_bucket(
                self.session, self.environment, self.steps, ask=lambda _question: True
            )
