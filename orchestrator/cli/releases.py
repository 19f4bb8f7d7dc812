"""The verbs on releases, and on what runs: `deploy`, `watch`, `rollback`, `status`, `diff`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

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
from orchestrator.cli.run import Console, Run, connect, find_sandbox, load_settings, prepare_sandbox
from orchestrator.errors import SettingsError
from orchestrator.model import Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestrator.errors import OrchError
    from orchestrator.model import Release
    from orchestrator.operations.plan_all import Ready
    from orchestrator.settings import Environment

ServicesOption = Annotated[
    list[str] | None,
    typer.Option("--service", "-s", help="One service; may be repeated. All when absent."),
]
ImagesOption = Annotated[
    list[str] | None,
    typer.Option(
        "--image",
        metavar="[SERVICE=]REPO@sha256:…",
        help="This image instead of that of the checkout; may be repeated.",
    ),
]


@app.command()
@guarded
def deploy(
    env: EnvOption,
    *,
    service: ServicesOption = None,
    image: ImagesOption = None,
    force: Annotated[
        bool, typer.Option("--force", help="A new deployment also of what runs already: new tasks.")
    ] = False,
    override: Annotated[
        list[str] | None,
        typer.Option("--override", metavar="RULE", help="Open the gate `freeze` of the environment."),
    ] = None,
    reason: Annotated[
        str, typer.Option("--reason", metavar="TEXT", help="Why; it goes into the release record.")
    ] = "",
    lock_timeout: LockTimeoutOption = None,
    project: ProjectOption = None,
    sandbox: SandboxOption = False,
    output: OutputOption = Output.TEXT,
    verbose: VerboseOption = False,
) -> int:
    """Roll services out as this checkout has them: image, revision, rollout, verdict; the infrastructure stays as it is."""
    run = Run(env, project, sandbox=sandbox, output=output, verbose=verbose)
    run.wait_for_lock(lock_timeout)
    from orchestrator.model import Override
    from orchestrator.operations import deploy as deploying

    options = deploying.Options(
        tuple(service or ()),
        tuple(image or ()),
        is_forced=force,
        overrides=tuple(Override(rule, reason) for rule in override or ()),
    )
    releases = deploying.deploy(
        run.settings,
        run.environment,
        options,
        session=run.session,
        environ=run.environ,
        steps=run.steps,
    )
    run.show_releases(releases)
    return _worst(releases)


@app.command()
@guarded
def watch(
    env: EnvOption,
    *,
    service: ServicesOption = None,
    project: ProjectOption = None,
    sandbox: SandboxOption = False,
    output: OutputOption = Output.TEXT,
    verbose: VerboseOption = False,
) -> int:
    """Follow the rollouts under way to their verdicts, from any machine; Ctrl-C ends the watching, and nothing else."""
    run = Run(env, project, sandbox=sandbox, output=output, verbose=verbose)
    from orchestrator.operations import watch as watching
    from orchestrator.report import releases as lines

    found = watching.watch(
        run.settings,
        run.environment,
        names=tuple(service or ()),
        session=run.session,
        environ=run.environ,
        steps=run.steps,
    )
    now = datetime.now(UTC)
    run.result(found, lambda _text: [line for one in found for line in lines.watched_lines(one, now=now)])
    return max((one.rollout.verdict.exit_code for one in found if one.rollout is not None), default=0)


@app.command("continue")
@guarded
def continue_(
    env: EnvOption,
    *,
    service: ServicesOption = None,
    rollback: Annotated[
        bool,
        typer.Option("--rollback", help="Take the release back instead; exit code 0 once it is rolled back."),
    ] = False,
    detach: Annotated[
        bool, typer.Option("--detach", help="Do not follow the rollout to its verdict afterwards.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Without asking.")] = False,
    project: ProjectOption = None,
    sandbox: SandboxOption = False,
    output: OutputOption = Output.TEXT,
    verbose: VerboseOption = False,
) -> int:
    """End the pauses of rollouts (pause_at of a strategy), from any machine: on with them, or back; then follow them."""
    run = Run(env, project, sandbox=sandbox, output=output, verbose=verbose)
    from orchestrator.operations import continue_rollout as continuing
    from orchestrator.report import releases as lines

    paused, found = continuing.continue_(
        run.settings,
        run.environment,
        names=tuple(service or ()),
        rolls_back=rollback,
        follows=not detach,
        session=run.session,
        environ=run.environ,
        steps=run.steps,
        approve=run.approve_pauses(yes=yes, rolls_back=rollback),
    )
    if detach:
        does = "is rolled back" if rollback else "goes on"
        run.result(
            paused,
            lambda _text: [f"{one.environment} · {one.service}: {does} from {one.stage}" for one in paused],
        )
        return 0
    now = datetime.now(UTC)
    run.result(found, lambda _text: [line for one in found for line in lines.watched_lines(one, now=now)])
    verdicts = [one.rollout.verdict for one in found if one.rollout is not None]
    wanted = Verdict.ROLLED_BACK if rollback else Verdict.SUCCEEDED
    return max((0 if verdict is wanted else verdict.exit_code for verdict in verdicts), default=0)


@app.command()
@guarded
def rollback(
    env: EnvOption,
    *,
    service: ServicesOption = None,
    to: Annotated[
        str, typer.Option("--to", metavar="REVISION", help="NUMBER or FAMILY:NUMBER, released before.")
    ] = "",
    lock_timeout: LockTimeoutOption = None,
    project: ProjectOption = None,
    sandbox: SandboxOption = False,
    output: OutputOption = Output.TEXT,
    verbose: VerboseOption = False,
) -> int:
    """Roll services back to the newest revision released before the one they are on; builds and renders nothing."""
    run = Run(env, project, sandbox=sandbox, output=output, verbose=verbose)
    run.wait_for_lock(lock_timeout)
    from orchestrator.operations import rollback as rolling_back

    releases = rolling_back.rollback(
        run.settings,
        run.environment,
        names=tuple(service or ()),
        to=to,
        session=run.session,
        environ=run.environ,
        steps=run.steps,
    )
    run.show_releases(releases)
    return _worst(releases)


@app.command()
@guarded
def status(
    env: Annotated[str, typer.Option("--env", "-e", help="One environment; all of them when absent.")] = "",
    *,
    exit_code: Annotated[
        bool,
        typer.Option("--exit-code", help="Exit with 1 when something is not as it should be."),
    ] = False,
    project: ProjectOption = None,
    sandbox: SandboxOption = False,
    output: OutputOption = Output.TEXT,
    verbose: VerboseOption = False,
) -> int:
    """Show what each service of an environment runs, or of all of them, as ECS says it now; changes nothing."""
    console = Console(output=output, verbose=verbose)
    settings = load_settings(project)
    every = [settings.environment(env)] if env else list(settings.environments.values())
    ready = ready_for(every, console, sandbox=sandbox, with_scope=not env)
    from orchestrator.operations import status as asking
    from orchestrator.report import releases as lines

    found = (asking.status(settings, ready[0]),) if env else asking.board(settings, ready)
    services = [service for one in found for service in one.services]
    locks = [one.lock for one in found if one.lock is not None]
    notes = {one.environment: one.note for one in found if one.note}
    if output is Output.JSON:
        if services or locks:
            console.result([*services, *locks], lambda _text: [])
        print_errors([one.error for one in found if one.error is not None])
    else:
        names = [one.environment for one in found]
        now = datetime.now(UTC)
        console.say(lines.status_lines(names, services, locks=locks, notes=notes, now=now))
    errors = [one.error for one in found if one.error is not None]
    annotate(*errors)
    unhealthy = exit_code and not all(one.is_healthy for one in found)
    return max((error.exit_code for error in errors), default=0) or int(unhealthy)


@app.command()
@guarded
def diff(
    env: Annotated[
        list[str],
        typer.Option(
            "--env", "-e", help="What a deploy of it would change; given twice, what two of them run."
        ),
    ],
    *,
    service: ServicesOption = None,
    image: ImagesOption = None,
    detailed_exitcode: Annotated[
        bool, typer.Option("--detailed-exitcode", help="Exit with 2 when something differs.")
    ] = False,
    project: ProjectOption = None,
    sandbox: SandboxOption = False,
    output: OutputOption = Output.TEXT,
    verbose: VerboseOption = False,
) -> int:
    """Show what a deploy would change, or what differs between two environments; never the value of a variable."""
    console = Console(output=output, verbose=verbose)
    settings = load_settings(project)
    names = tuple(service or ())
    if len(env) > 2 or (len(env) == 2 and (image or env[0] == env[1])):
        raise SettingsError(
            "--env is given once, for what a deploy would change, or for two environments, without --image",
            hint=f"for example: orch diff {' '.join(f'--env {name}' for name in [*settings.environments][:2])}",
        )
    chosen = [settings.environment(name) for name in env]
    ready = ready_for(chosen, console, sandbox=sandbox, with_scope=len(env) > 1)
    from orchestrator.operations import diff as comparing
    from orchestrator.report import releases as lines

    if len(ready) == 2:
        found = comparing.diff_environments(settings, (ready[0], ready[1]), names=names)
    else:
        found = comparing.diff(settings, ready[0], names=names, images=tuple(image or ()))
    console.result(found, lambda _text: [line for one in found for line in lines.difference_lines(one)])
    return 2 if detailed_exitcode and any(one.is_change for one in found) else 0


def ready_for(
    environments: Sequence[Environment],
    console: Console,
    *,
    sandbox: bool,
    with_scope: bool,
) -> list[Ready]:
    """Each environment with its session; `with_scope` names it in what is told of its steps."""
    from orchestrator.events import Steps
    from orchestrator.operations.plan_all import Ready

    found = find_sandbox() if sandbox else None
    ready = []
    for environment in environments:
        environ, session = connect(environment, found)
        steps = Steps(console.emit, scope=environment.name if with_scope else "")
        if found is not None:
            prepare_sandbox(found, environment, session, steps)
        ready.append(Ready(environment, session, environ, steps))
    return ready


def print_errors(errors: Sequence[OrchError]) -> None:
    from orchestrator.report import json_lines

    for error in errors:
        typer.echo(json_lines.error_line(error.message, error.hint, error.details, error.exit_code))


def _worst(releases: Sequence[Release]) -> int:
    return max((release.verdict.exit_code for release in releases), default=0)
