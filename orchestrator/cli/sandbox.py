"""The verbs on the embedded AWS: `orch sandbox up|down|status|reset|env`, `… scenario` and `… clock`."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestrator.cli.app import EnvOption, Output, OutputOption, ProjectOption, app, guarded
from orchestrator.cli.run import describe_sandbox, find_sandbox, load_settings
from orchestrator.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from orchestrator.sandbox.scenario import ScenarioSet

sandbox_app = typer.Typer(
    help="The embedded AWS on this machine, to try everything without an account.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.add_typer(sandbox_app, name="sandbox")
scenario_app = typer.Typer(
    help="Make things go wrong, or happen, in the embedded AWS.", no_args_is_help=True, rich_markup_mode=None
)
sandbox_app.add_typer(scenario_app, name="scenario")
clock_app = typer.Typer(
    help="Hold and push the embedded AWS's time.", no_args_is_help=True, rich_markup_mode=None
)
sandbox_app.add_typer(clock_app, name="clock")
ServiceArgument = Annotated[
    str, typer.Argument(help="The ECS service: its name, CLUSTER/SERVICE, or its ARN.", show_default=False)
]
ScenarioEnvOption = Annotated[
    str | None,
    typer.Option("--env", "-e", help="The environment whose account and region hold the service."),
]


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


# --- scenarios and the clock


@scenario_app.command("list")
@guarded
def scenario_list(*, output: OutputOption = Output.TEXT) -> int:
    """Show every behaviour, with what happens on AWS then."""
    from orchestrator.sandbox import scenario

    titles = {
        "tasks": "lived by the next tasks that the service starts",
        "happening": "befalls the service once, now",
        "disturbance": "for ECS calls of the service's account and region, until cleared",
    }
    wide = max(len(one.usage) for one in scenario.CATALOGUE)
    lines = []
    for kind, title in titles.items():
        lines.append(f"{kind}: {title}")
        lines += [f"  {one.usage:<{wide}}  {one.what}" for one in scenario.CATALOGUE if one.kind == kind]
    _print(output, scenario.CATALOGUE, lines)
    return 0


@scenario_app.command("set")
@guarded
def scenario_set(
    service: ServiceArgument,
    behaviour: Annotated[
        str, typer.Argument(help="One of `orch sandbox scenario list`.", show_default=False)
    ],
    argument: Annotated[str, typer.Argument(help="Its argument, if it takes one.", show_default=False)] = "",
    *,
    env: ScenarioEnvOption = None,
    times: Annotated[
        int | None,
        typer.Option(
            "--times",
            "-n",
            metavar="N",
            help="So many task starts, of whatever deployment; without it all those of the next deployment.",
        ),
    ] = None,
    project: ProjectOption = None,
    output: OutputOption = Output.TEXT,
) -> int:
    """Make something happen to a service: its next tasks behave so, or it happens at once."""
    from orchestrator.sandbox import control

    account_id, region = _account_and_region(env, project)
    wanted = f"{behaviour}:{argument}" if argument else behaviour
    done = control.set_scenario(
        find_sandbox(), service, wanted, account_id=account_id, region=region, times=times
    )
    _print(output, (done,), [_scenario_line(done)])
    return 0


@scenario_app.command("show")
@guarded
def scenario_show(*, output: OutputOption = Output.TEXT) -> int:
    """Show what is set now."""
    from orchestrator.sandbox import control

    found = control.scenarios(find_sandbox())
    _print(output, found, [_scenario_line(one) for one in found] or ["no scenario is set"])
    return 0


@scenario_app.command("clear")
@guarded
def scenario_clear(
    service: Annotated[
        str | None, typer.Argument(help="The ECS service; all of them when absent.", show_default=False)
    ] = None,
    *,
    env: ScenarioEnvOption = None,
    project: ProjectOption = None,
    output: OutputOption = Output.TEXT,
) -> int:
    """Take back what is set; what has happened stays happened."""
    from orchestrator.sandbox import control

    account_id, region = _account_and_region(env, project)
    count = control.clear_scenarios(find_sandbox(), service, account_id=account_id, region=region)
    if output is Output.JSON:
        typer.echo(json.dumps({"type": "scenarios_cleared", "count": count}))
    else:
        typer.echo(f"cleared {count} scenario{'' if count == 1 else 's'}")
    return 0


@scenario_app.command("metric", context_settings={"ignore_unknown_options": True})
@guarded
def scenario_metric(
    namespace: Annotated[str, typer.Argument(help="CloudWatch's namespace, e.g. Shop.", show_default=False)],
    name: Annotated[str, typer.Argument(help="The metric's name.", show_default=False)],
    values: Annotated[list[float], typer.Argument(help="Its values, oldest first.", show_default=False)],
    *,
    env: EnvOption,
    dimension: Annotated[
        list[str] | None,
        typer.Option("--dimension", "-d", metavar="NAME=VALUE", help="May be repeated."),
    ] = None,
    every: Annotated[str, typer.Option(metavar="DURATION", help="How far apart the values are.")] = "1m",
    project: ProjectOption = None,
    output: OutputOption = Output.TEXT,
) -> int:
    """Let CloudWatch have a series of values from now on, for an analysis to read as the time comes."""
    from orchestrator.sandbox import control

    environment = load_settings(project).environment(env)
    pairs = [text.partition("=") for text in dimension or ()]
    if wrong := next((name for name, sign, value in pairs if not (name and sign and value)), None):
        raise SettingsError(f"--dimension {wrong}: no value", hint="write NAME=VALUE")
    until = control.put_metric(
        find_sandbox(),
        namespace,
        name,
        values,
        dimensions={name: value for name, _, value in pairs},
        every_s=_seconds(every),
        account_id=environment.account_id,
        region=environment.region,
    )
    if output is Output.JSON:
        typer.echo(json.dumps({"type": "metric_put", "count": len(values), "until": until}))
    else:
        typer.echo(
            f"{len(values)} value{'' if len(values) == 1 else 's'} of {namespace} {name}, until {until}"
        )
    return 0


@clock_app.command("advance")
@guarded
def clock_advance(
    duration: Annotated[str, typer.Argument(help="How far: 90s, 20m, 1h30m, 2d.", show_default=False)],
    *,
    output: OutputOption = Output.TEXT,
) -> int:
    """Push the sandbox's time on, at once: what takes that long is over."""
    return _move_clock(output, advance_s=_seconds(duration))


@clock_app.command("freeze")
@guarded
def clock_freeze(*, output: OutputOption = Output.TEXT) -> int:
    """Hold the sandbox's time: nothing goes on but by `advance`."""
    return _move_clock(output, freeze=True)


@clock_app.command("resume")
@guarded
def clock_resume(*, output: OutputOption = Output.TEXT) -> int:
    """Let the sandbox's time run on from where it was held."""
    return _move_clock(output, freeze=False)


@clock_app.command("show")
@guarded
def clock_show(*, output: OutputOption = Output.TEXT) -> int:
    """Tell the sandbox's time."""
    return _move_clock(output)


def _seconds(duration: str) -> float:
    from orchestrator.sandbox import scenario

    try:
        return scenario.duration_s(duration)
    except ValueError:
        raise SettingsError(f"{duration!r} is no duration", hint="write 90s, 20m, 1h30m or 2d") from None


def _move_clock(output: Output, *, freeze: bool | None = None, advance_s: float = 0.0) -> int:
    from orchestrator.sandbox import control

    time = control.move_clock(find_sandbox(), freeze=freeze, advance_s=advance_s)
    _print(output, (time,), [f"{time.now}, {'held' if time.is_frozen else 'running'}"])
    return 0


def _account_and_region(env: str | None, project: Path | None) -> tuple[str | None, str | None]:
    if env is None:
        return None, None
    environment = load_settings(project).environment(env)
    return environment.account_id, environment.region


def _scenario_line(one: ScenarioSet) -> str:
    name = f"{one.cluster}/{one.service} " if one.service else ""
    return f"{name}({one.account_id} {one.region}): {one.behaviour}, {one.applies_to}"


def _print(output: Output, values: Sequence[Any], lines: Sequence[str]) -> None:
    if output is Output.JSON:
        from orchestrator.report import json_lines

        lines = [json_lines.value_line(value) for value in values]
    if lines:
        typer.echo("\n".join(lines))
