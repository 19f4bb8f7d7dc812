"""The verbs on environments: options → arguments, the value → what is printed and the exit code."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli.app import (
    CommentOption,
    EnvOption,
    LockTimeoutOption,
    Output,
    OutputOption,
    ProjectOption,
    PullRequestOption,
    RoleOption,
    SandboxOption,
    VerboseOption,
    annotate,
    app,
    guarded,
)
from orchestrator.cli.run import Console, Run, connect, find_sandbox, load_settings, prepare_sandbox
from orchestrator.errors import PreconditionError, SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from orchestrator.errors import OrchError
    from orchestrator.model import Plan, Release
    from orchestrator.operations.plan import Prepared
    from orchestrator.operations.plan_all import ImageFinder, Planned, Ready, Sealer
    from orchestrator.operations.seal import Origin
    from orchestrator.operations.tell_github import Teller
    from orchestrator.report.board import ServiceImage
    from orchestrator.settings import Settings
    from orchestrator.terraform.runner import SavedPlan


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
    seal: Annotated[
        bool, typer.Option("--seal", help="Keep the plan, encrypted, for `orch apply --sealed`.")
    ] = False,
    comment: CommentOption = False,
    pull_request: PullRequestOption = 0,
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
    console = Console(output=output, verbose=verbose, is_plan_the_result=True)
    settings = load_settings(project)
    teller = _teller(settings, console, pull_request) if comment else None
    if teller is not None and teller.skips_fork([env] if env else list(settings.environments)):
        return 0
    many = _plan_many(
        settings,
        console,
        env=env,
        changed=changed,
        parallel=parallel,
        sandbox=sandbox,
        seal=seal,
        with_images=teller is not None,
    )
    if teller is not None:
        _tell_plans(many, teller)
    if env and many.planned[0].error is not None:
        raise many.planned[0].error
    _show_plans(many, output)
    has_changes = any(item.plan and item.plan.is_applicable for item in many.planned)
    return many.worst_exit_code or (2 if detailed_exitcode and has_changes else 0)


def _origin(environ: Mapping[str, str]) -> Origin:
    """What GitHub Actions tells of this run; nothing elsewhere."""
    from orchestrator.github import context
    from orchestrator.operations.seal import Origin

    if environ.get("GITHUB_ACTIONS") != "true":
        return Origin()
    found = context.from_environment(environ)
    return Origin(
        repository=found.repository,
        pull_request=str(found.pull_request or ""),
        base_commit=found.base_commit,
        run_url=found.run_url,
    )


@dataclass(frozen=True)
class _Many:
    """Environments that were planned side by side."""

    settings: Settings
    console: Console
    planned: tuple[Planned, ...]
    reasons: dict[str, tuple[str, ...]]

    @property
    def errors(self) -> tuple[OrchError, ...]:
        return tuple(item.error for item in self.planned if item.error is not None)

    @property
    def worst_exit_code(self) -> int:
        return max((error.exit_code for error in self.errors), default=0)


def _plan_many(
    settings: Settings,
    console: Console,
    *,
    env: str,
    changed: str,
    parallel: int,
    sandbox: bool,
    seal: bool = False,
    with_images: bool = False,
) -> _Many:
    """Plans one environment, all of them, or those that differ from `changed`."""
    from orchestrator.events import Steps
    from orchestrator.operations import changed as changes
    from orchestrator.operations import plan_all as planning

    every = [settings.environment(env)] if env else list(settings.environments.values())
    chosen = [changes.Chosen(environment, ()) for environment in every]
    if changed:
        chosen = list(changes.changed(settings, changed, os.environ))
    found = find_sandbox() if sandbox else None
    ready = []
    for item in chosen:
        environ, session = connect(item.environment, found)
        steps = Steps(console.emit, scope="" if env else item.environment.name)
        if found is not None:
            prepare_sandbox(found, item.environment, session, steps)
        one = planning.Ready(item.environment, session, environ, steps)
        if seal:
            one = replace(one, sealer=_sealer(settings, one))
        ready.append(replace(one, image_finder=_image_finder(settings, one)) if with_images else one)
    planned = planning.plan_all(settings, ready, parallel=parallel)
    console.view.pause()
    return _Many(settings, console, planned, {item.environment.name: item.reasons for item in chosen})


def _sealer(settings: Settings, one: Ready) -> Sealer:
    """Seals the plan of one environment; what it needs is asked for now, before any plan takes its time."""
    from orchestrator.operations import seal as sealing

    work = sealing.Sealing(
        settings, one.environment, one.session, one.environ, _origin(one.environ), one.steps
    )
    commit, key = sealing.require_sealable(work)
    return lambda prepared, saved: sealing.seal(prepared, saved, work, commit=commit, key=key)


def _image_finder(settings: Settings, one: Ready) -> ImageFinder:
    """Finds what the services run and are to run, once the plan has told which they are."""
    from orchestrator.operations import images, release

    def find(saved: SavedPlan) -> tuple[ServiceImage, ...]:
        builds = one.environment.promotes_from is None
        sources = release.identify_sources(settings, (), one.environ, builds=builds)
        return images.compare(saved.prior_outputs, sources, one.session)

    return find


def _tell_plans(many: _Many, teller: Teller) -> None:
    """Tells the pull request of every plan."""
    from orchestrator.operations import tell_github

    positions = {name: number for number, name in enumerate(many.settings.environments)}
    rows = [
        tell_github.planned_row(
            item.environment,
            positions[item.environment.name],
            plan=item.plan,
            error=item.error,
            shut=[(refusal.rule, refusal.sentence) for refusal in item.shut],
            bundle=item.sealed.place if item.sealed else "",
            images=item.images,
        )
        for item in many.planned
    ]
    teller.rows(rows)


def _teller(settings: Settings, console: Console, pull_request: int) -> Teller:
    from orchestrator.github import context
    from orchestrator.operations import tell_github

    name = settings.github.full_name if settings.github else ""
    is_actions = os.environ.get("GITHUB_ACTIONS") == "true"
    where = context.from_environment(
        os.environ, repository="" if is_actions else name, pull_request=pull_request or None
    )
    if settings.github is not None and not is_actions:
        where = replace(where, api_url=settings.github.api_url)
    return tell_github.teller(where, console.emit)


def _print_errors(many: _Many) -> None:
    from orchestrator.report import json_lines

    for failed in many.errors:
        typer.echo(json_lines.error_line(failed.message, failed.hint, failed.details, failed.exit_code))


def _show_plans(many: _Many, output: Output) -> None:
    if output is Output.JSON:
        _print_errors(many)
    else:
        from orchestrator.report import text

        outcomes = [
            (item.environment.name, many.reasons[item.environment.name], item.plan, item.error)
            for item in many.planned
        ]
        many.console.say(text.plans_lines(outcomes))
    annotate(*many.errors)
    sealed = [item.sealed for item in many.planned if item.sealed is not None]
    if sealed:
        many.console.result(
            sealed, lambda text: [line for item in sealed for line in text.sealed_lines(item)]
        )


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
    sealed: Annotated[
        str,
        typer.Option(
            "--sealed",
            metavar="COMMIT",
            help="Apply exactly the plan that `orch plan --seal` kept of this commit; HEAD takes the checkout's.",
        ),
    ] = "",
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="After a failed apply of a sealed plan: plan what is left of it, and ask again.",
        ),
    ] = False,
    override: Annotated[
        list[str] | None,
        typer.Option(
            "--override", metavar="RULE", help="Open this gate of the environment; may be repeated."
        ),
    ] = None,
    reason: Annotated[
        str, typer.Option("--reason", metavar="TEXT", help="Why; it goes into the release record.")
    ] = "",
    lock_timeout: LockTimeoutOption = None,
    comment: CommentOption = False,
    pull_request: PullRequestOption = 0,
    project: ProjectOption = None,
    sandbox: SandboxOption = False,
    output: OutputOption = Output.TEXT,
    verbose: VerboseOption = False,
) -> int:
    """Bring an environment to what this checkout says: infrastructure, image, rollout, verdict."""
    run = Run(env, project, sandbox=sandbox, output=output, verbose=verbose)
    run.wait_for_lock(lock_timeout)
    from orchestrator.model import Override
    from orchestrator.operations import apply as applying

    options = applying.Options(tuple(image or ()), tuple(Override(rule, reason) for rule in override or ()))
    if sealed:
        again = f"`orch apply --env {env} --sealed {sealed} --resume`"
        options = replace(options, again=again)

    def work(approve: Callable[[Plan], bool]) -> tuple[Release, ...]:
        return applying.apply(
            run.settings,
            run.environment,
            options,
            session=run.session,
            environ=run.environ,
            steps=run.steps,
            approve=approve,
            reviewed=_reviewed(run, sealed, is_resumed=resume, yes=yes) if sealed or resume else None,
        )

    releases = _told(run, pull_request, work, yes=yes) if comment else work(run.approve(yes=yes))
    run.show_releases(releases)
    return max((release.verdict.exit_code for release in releases), default=0)


def _told(
    run: Run, pull_request: int, work: Callable[[Callable[[Plan], bool]], tuple[Release, ...]], *, yes: bool
) -> tuple[Release, ...]:
    """An apply of which the pull request hears: when it begins, and how it ends."""
    position = list(run.settings.environments).index(run.environment.name)
    with _teller(run.settings, run, pull_request).following(run.environment, position) as following:
        ask = run.approve(yes=yes)

        def approve(plan: Plan) -> bool:
            is_approved = ask(plan)
            if is_approved:
                following.applying(plan)
            return is_approved

        releases = work(approve)
        following.released(releases)
    return releases


def _reviewed(run: Run, sealed: str, *, is_resumed: bool, yes: bool) -> Callable[[Prepared], SavedPlan]:
    from orchestrator.operations import seal as sealing

    origin = _origin(run.environ)
    work = sealing.Sealing(run.settings, run.environment, run.session, run.environ, origin, run.steps)
    commit = "" if sealed == "HEAD" else sealed
    if is_resumed:
        return lambda prepared: sealing.resume(prepared, work, commit=commit, may_ask=not yes)
    return lambda prepared: sealing.open_(prepared, work, commit=commit)


@app.command()
@guarded
def drift(
    env: Annotated[str, typer.Option("--env", "-e", help="One environment; all of them when absent.")] = "",
    *,
    parallel: Annotated[int, typer.Option("--parallel", min=1, help="How many at a time.")] = 2,
    issue: Annotated[
        bool,
        typer.Option(
            "--issue",
            help="Keep one GitHub issue for each environment: opened, updated, closed (GITHUB_TOKEN).",
        ),
    ] = False,
    project: ProjectOption = None,
    sandbox: SandboxOption = False,
    output: OutputOption = Output.TEXT,
    verbose: VerboseOption = False,
) -> int:
    """Show what was changed outside Terraform, apart from what this checkout changes; exit code 2 when there is some."""
    from orchestrator.operations import drift as drifting

    console = Console(output=output, verbose=verbose, is_plan_the_result=True)
    settings = load_settings(project)
    many = _plan_many(settings, console, env=env, changed="", parallel=parallel, sandbox=sandbox)
    found = [
        drifting.drift_of(item.environment.name, item.plan) for item in many.planned if item.plan is not None
    ]
    console.result(found, lambda text: [line for item in found for line in text.drift_lines(item)])
    if issue:
        _teller(settings, console, 0).drifted(found)
    if output is Output.JSON:
        _print_errors(many)
    else:
        from orchestrator.report import text

        failed = [(item.environment.name, (), None, item.error) for item in many.planned if item.error]
        if failed:
            console.say(text.plans_lines(failed))
    annotate(*many.errors)
    return many.worst_exit_code or (2 if any(item.is_there for item in found) else 0)


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
    lock_timeout: LockTimeoutOption = None,
    project: ProjectOption = None,
    sandbox: SandboxOption = False,
    output: OutputOption = Output.TEXT,
    verbose: VerboseOption = False,
) -> int:
    """Destroy everything Terraform made in an environment, and deregister the revisions; the state bucket stays."""
    run = Run(env, project, sandbox=sandbox, output=output, verbose=verbose)
    run.wait_for_lock(lock_timeout)
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
