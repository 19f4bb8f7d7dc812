"""The verbs on environments: options → arguments, the value → what is printed and the exit code."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli.app import (
    EnvOption,
    Output,
    OutputOption,
    ProjectOption,
    RoleOption,
    SandboxOption,
    VerboseOption,
    app,
    guarded,
)
from orchestrator.cli.run import Console, Run, connect, find_sandbox, load_settings, prepare_sandbox
from orchestrator.errors import PreconditionError, SettingsError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


@app.command()
@guarded
def plan(
    env: Annotated[
        str, typer.Option("--env", "-e", help="The environment, as orch.toml names it.", show_default=False)
    ] = "",
    *,
    every: Annotated[bool, typer.Option("--all", help="Every environment, side by side.")] = False,
    changed: Annotated[
        str,
        typer.Option(
            "--changed",
            metavar="BASE",
            help="With --all: only those that differ from where this branch left BASE.",
        ),
    ] = "",
    parallel: Annotated[
        int,
        typer.Option("--parallel", min=1, help="With --all: how many at a time; each takes about 0.7 GB."),
    ] = 2,
    project: ProjectOption = None,
    sandbox: SandboxOption = False,
    output: OutputOption = Output.TEXT,
    verbose: VerboseOption = False,
    detailed_exitcode: Annotated[
        bool,
        typer.Option("--detailed-exitcode", help="Exit with 2 when there are changes, as Terraform does."),
    ] = False,
) -> int:
    """Show what Terraform would change in an environment, or in all of them; changes nothing."""
    if bool(env) == every or (changed and not every):
        raise SettingsError(
            "name one environment with --env, or all of them with --all (and --changed BASE)",
            hint="for example: orch plan --env dev",
        )
    if every:
        return _plan_all(
            project,
            changed=changed,
            parallel=parallel,
            sandbox=sandbox,
            output=output,
            verbose=verbose,
            detailed_exitcode=detailed_exitcode,
        )
    run = Run(env, project, sandbox=sandbox, output=output, verbose=verbose, is_plan_the_result=True)
    from orchestrator.operations import plan as planning

    prepared = planning.prepare(run.settings, run.environment, run.session, run.environ, run.steps)
    saved = planning.plan(prepared, run.environment, run.steps)
    saved.discard()
    run.view.pause()
    if output is Output.TEXT:
        from orchestrator.report import text

        typer.echo("\n".join(text.plan_lines(run.environment.name, saved.plan)))
    return 2 if detailed_exitcode and saved.plan.is_applicable else 0


def _plan_all(
    project: Path | None,
    *,
    changed: str,
    parallel: int,
    sandbox: bool,
    output: Output,
    verbose: bool,
    detailed_exitcode: bool,
) -> int:
    from orchestrator.events import Steps
    from orchestrator.operations import changed as changes
    from orchestrator.operations import plan_all as planning

    settings = load_settings(project)
    console = Console(output=output, verbose=verbose, is_plan_the_result=True)
    chosen = [changes.Chosen(environment, ()) for environment in settings.environments.values()]
    if changed:
        chosen = list(changes.changed(settings, changed, os.environ))
    found = find_sandbox() if sandbox else None
    ready = []
    for item in chosen:
        environ, session = connect(item.environment, found)
        if found is not None:
            prepare_sandbox(
                found, item.environment, session, Steps(console.emit, scope=item.environment.name)
            )
        ready.append(planning.Ready(item.environment, session, environ))
    planned = planning.plan_all(
        settings, ready, lambda name: Steps(console.emit, scope=name), parallel=parallel
    )
    console.view.pause()
    if output is Output.JSON:
        from orchestrator.report import json_lines

        for failed in (item.error for item in planned if item.error is not None):
            typer.echo(json_lines.error_line(failed.message, failed.hint, failed.details, failed.exit_code))
    else:
        from orchestrator.report import text

        reasons = {item.environment.name: item.reasons for item in chosen}
        outcomes = [
            (item.environment.name, reasons[item.environment.name], item.plan, item.error) for item in planned
        ]
        typer.echo("\n".join(text.plans_lines(outcomes)))
    errors = [item.error.exit_code for item in planned if item.error is not None]
    if errors:
        return max(errors)
    return 2 if detailed_exitcode and any(item.plan and item.plan.is_applicable for item in planned) else 0


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
    run = Run(env, project, sandbox=sandbox, output=output, verbose=verbose)
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
    run = Run(env, project, sandbox=sandbox, output=output, verbose=verbose)
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
    run = Run(env, project, sandbox=sandbox, output=output, verbose=verbose)
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
    run = Run(env, project, sandbox=sandbox, output=output, verbose=verbose)
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

    settings = load_settings(project)
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
    run = Run(env, project, sandbox=sandbox, output=output, verbose=verbose, is_bootstrap=True)
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
            bucket=run.ask(yes=yes),
            plan=run.approve(yes=yes, place=f"account {run.environment.account_id}"),
            github=run.approve_github(yes=yes),
        ),
        github_token=token,
    )
    run.result((done,), lambda text: text.bootstrapped_lines(done))
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
