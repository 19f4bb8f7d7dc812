"""The verbs that carry a release from one environment to the next: `promote`, and `release --through` for the whole path."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli.app import (
    LockTimeoutOption,
    Output,
    OutputOption,
    ProjectOption,
    SandboxOption,
    VerboseOption,
    app,
    guarded,
)
from orchestrator.cli.records import releases
from orchestrator.cli.releases import ServicesOption, ready_for
from orchestrator.cli.run import Console, load_settings
from orchestrator.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from orchestrator.operations.survey import Asked
    from orchestrator.promotion import Gate

_DAY_S = 24 * 3600.0
WaitOption = Annotated[
    bool, typer.Option("--wait", help="Wait for a gate that time, or the end of another run, will open.")
]
WaitTimeoutOption = Annotated[
    float, typer.Option("--wait-timeout", metavar="SECONDS", min=0, help="How long --wait waits at most.")
]


@app.command()
@guarded
def promote(
    source: Annotated[
        str, typer.Option("--from", help="The environment whose release is carried.", show_default=False)
    ],
    to: Annotated[str, typer.Option("--to", help="The environment that gets it.", show_default=False)],
    *,
    service: ServicesOption = None,
    release: Annotated[
        str, typer.Option("--release", metavar="ID", help="This release of --from, not the one that runs.")
    ] = "",
    check: Annotated[
        bool,
        typer.Option("--check", help="Show the gate, and change nothing; exit 20 or 22 while it is shut."),
    ] = False,
    plan: Annotated[
        bool, typer.Option("--plan", help="Show everything that would change, and change nothing.")
    ] = False,
    wait: WaitOption = False,
    wait_timeout: WaitTimeoutOption = _DAY_S,
    skip_path: Annotated[
        bool, typer.Option("--skip-path", help="Promote though --to does not promote from --from.")
    ] = False,
    override: Annotated[
        list[str] | None,
        typer.Option("--override", metavar="RULE", help="Open one gate knowingly; may be repeated."),
    ] = None,
    reason: Annotated[
        str, typer.Option("--reason", metavar="TEXT", help="Why; it goes into the release record.")
    ] = "",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    lock_timeout: LockTimeoutOption = None,
    project: ProjectOption = None,
    sandbox: SandboxOption = False,
    output: OutputOption = Output.TEXT,
    verbose: VerboseOption = False,
) -> int:
    """Carry what one environment runs to the next: the same digest, once its gate is open; nothing is built."""
    console = Console(output=output, verbose=verbose, is_gate_the_result=check)
    settings = load_settings(project)
    ends = [settings.environment(source), settings.environment(to)]
    asked = _asked(service, release, override, reason, skips_path=skip_path)
    if lock_timeout is not None:
        from dataclasses import replace

        from orchestrator.settings import LockSettings

        settings = replace(settings, lock=LockSettings(timeout_s=lock_timeout))
    (here,) = ready_for(ends[:1], console, sandbox=sandbox, with_scope=True)
    (there,) = ready_for(ends[1:], console, sandbox=sandbox, with_scope=False)
    from orchestrator.operations import promote as promoting
    from orchestrator.report import promotion as lines

    patience = promoting.Patience(wait_timeout if wait else None)
    if check:
        gates = promoting.check(settings, here, there, asked, patience)
        if output is Output.TEXT:
            # As JSON they were printed when they were judged.
            console.say(lines.all_gates_lines(gates))
        codes = {gate.exit_code for gate in gates if not gate.is_open}
        return min(codes, default=0)
    if plan:
        view = promoting.plan(settings, here, there, asked)
        from orchestrator.report import path_view

        console.result([view], lambda _text: path_view.view_lines(view))
        return 0
    done = promoting.promote(
        settings, here, there, asked, reason=reason, patience=patience, approve=_approve(console, yes=yes)
    )
    console.show_releases(done)
    return max((one.verdict.exit_code for one in done), default=0)


def _asked(
    service: list[str] | None, release: str, override: list[str] | None, reason: str, *, skips_path: bool
) -> Asked:
    from orchestrator.model import Override
    from orchestrator.operations.survey import Asked

    if skips_path and not reason.strip():
        raise SettingsError("--skip-path needs a reason", hint="say why with --reason; it goes on record")
    return Asked(
        tuple(service or ()),
        release,
        skips_path=skips_path,
        overrides=tuple(Override(rule, reason) for rule in override or ()),
    )


def _approve(console: Console, *, yes: bool) -> Callable[[Sequence[Gate]], bool]:
    ask = console.ask(yes=yes)

    def approve(gates: Sequence[Gate]) -> bool:
        moved = ", ".join(gate.service for gate in gates if not gate.is_carried)
        return ask(f"Promote {moved} from {gates[0].source} to {gates[0].target}?")

    return approve


@releases.callback(invoke_without_command=True)
def release_through(
    context: typer.Context,
    *,
    through: Annotated[
        str,
        typer.Option("--through", metavar="ENV", help="Release through every environment up to this one."),
    ] = "",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    wait: WaitOption = False,
    wait_timeout: WaitTimeoutOption = _DAY_S,
    project: ProjectOption = None,
    sandbox: SandboxOption = False,
    output: OutputOption = Output.TEXT,
    verbose: VerboseOption = False,
) -> None:
    """Apply the first environment of the path and promote to the next, up to --through; or show a release on record."""
    if context.invoked_subcommand is not None:
        return
    _release_through(
        through=through,
        yes=yes,
        patience_s=wait_timeout if wait else None,
        project=project,
        sandbox=sandbox,
        output=output,
        verbose=verbose,
    )


@guarded
def _release_through(
    *,
    through: str,
    yes: bool,
    patience_s: float | None,
    project: Path | None,
    sandbox: bool,
    output: Output,
    verbose: bool,
) -> int:
    if not through:
        raise SettingsError(
            "--through names no environment",
            hint="name the last one: orch release --through prod; or see `orch release show --help`",
        )
    console = Console(output=output, verbose=verbose)
    settings = load_settings(project)
    from orchestrator.operations import pipeline
    from orchestrator.operations.promote import Patience

    path = pipeline.path_to(settings, through)
    ready = ready_for(
        [settings.environment(name) for name in path], console, sandbox=sandbox, with_scope=True
    )
    ask = console.ask(yes=yes)
    passage = pipeline.Passage(path)
    try:
        pipeline.release_through(
            settings,
            passage,
            ready,
            patience=Patience(patience_s),
            approve_plan=lambda _plan: ask(f"Apply this to {path[0]}?"),
            approve=_approve(console, yes=yes),
        )
    finally:
        console.show_releases(passage.releases)
    return max((done.verdict.exit_code for done in passage.releases), default=0)
