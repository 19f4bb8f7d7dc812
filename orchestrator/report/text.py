"""Events and results as lines of text. Pure: terminal.py decides where the lines go."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.events import (
    Event,
    GateShut,
    OutputLine,
    PlanReady,
    Released,
    ResourceProgress,
    RolloutProgress,
    ServiceEvent,
    StepFinished,
    StepStarted,
    Warned,
)
from orchestrator.model import Action, Release

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from orchestrator.errors import OrchError
    from orchestrator.model import Bootstrapped, Destroyed, Plan, ServiceStatus

_SYMBOLS = {
    Action.CREATE: "+",
    Action.UPDATE: "~",
    Action.REPLACE: "±",
    Action.DELETE: "-",
    Action.FORGET: "x",
    Action.IMPORT: "<",
    Action.MOVE: ">",
    Action.READ: "?",
}
_OUTCOMES = {"done": "✓", "skipped": "•", "failed": "✗"}


def seconds(duration_s: float) -> str:
    """`0.4 s`, `2 min 05 s`."""
    if duration_s < 60:
        return f"{duration_s:.1f} s"
    return f"{int(duration_s) // 60} min {int(duration_s) % 60:02d} s"


def event_lines(event: Event) -> list[str]:  # noqa: C901 - a table, one line a kind
    """What a plain log shows of an event; nothing for those that only move a display."""
    match event:
        case StepStarted():
            return [f"▸ {event.title}"]
        case StepFinished():
            return [step_line(event)]
        case ResourceProgress():
            return resource_lines(event)
        case OutputLine():
            return [f"    {event.source}: {event.text}"]
        case PlanReady():
            return plan_lines(event.environment, event.plan)
        case GateShut():
            return [
                f"! gate {event.rule} is shut: {event.sentence}",
                *(f"    {item}" for item in event.about),
            ]
        case RolloutProgress():
            return [f"    {rollout_line(event)}"]
        case ServiceEvent():
            return [f"    ECS: {event.message}"]
        case Warned():
            return warning_lines(event)
        case Released():
            return []


def step_line(event: StepFinished) -> str:
    detail = f" — {event.detail}" if event.detail else ""
    skipped = " (skipped)" if event.outcome == "skipped" else ""
    return f"{_OUTCOMES[event.outcome]} {event.title}{skipped}  {seconds(event.duration_s)}{detail}"


def resource_lines(event: ResourceProgress) -> list[str]:
    if event.action in {"refresh", "read"}:
        return []
    if event.state == "started":
        return [f"    {event.address}: {event.action} …"]
    word = {
        "running": f"{event.action} still under way",
        "done": f"{event.action} done",
        "failed": f"{event.action} FAILED",
    }
    return [f"    {event.address}: {word[event.state]}, {seconds(event.elapsed_s)}"]


def rollout_line(event: RolloutProgress) -> str:
    failures = ""
    if event.failed:
        limit = f" of {event.failure_threshold} before rollback" if event.failure_threshold else ""
        failures = f", {event.failed} failed{limit}"
    return (
        f"{event.service} {event.deployment_id}: {event.state}, {event.running} of {event.desired} running,"
        f" {event.pending} pending{failures}"
    )


def warning_lines(event: Warned) -> list[str]:
    head, *rest = event.message.splitlines() or [""]
    hint = [f"  → {event.hint}"] if event.hint else []
    return [f"! {head}", *rest, *hint]


def plan_lines(environment: str, plan: Plan) -> list[str]:
    """The plan: addresses and actions, the ones that destroy first."""
    order = [Action.DELETE, Action.REPLACE, Action.FORGET, *(a for a in Action if a not in _DANGEROUS)]
    changes = sorted(plan.changes, key=lambda change: (order.index(change.action), change.address))
    lines = [f"Plan for {environment}: {plan.summary}"]
    lines += [f"  {_SYMBOLS[change.action]} {change.address} ({change.action})" for change in changes]
    lines += [f"  ~ output {output.name}" for output in plan.output_changes]
    if plan.drift:
        lines.append(f"Changed outside Terraform: {', '.join(change.address for change in plan.drift)}")
    return lines


def plans_lines(
    outcomes: Sequence[tuple[str, tuple[str, ...], Plan | None, OrchError | None]],
) -> list[str]:
    """The plans of many environments: name, why it was chosen, and its plan or the error that kept it from one."""
    if not outcomes:
        return ["No environment is concerned."]
    lines: list[str] = []
    for name, reasons, plan, error in outcomes:
        if plan is not None:
            lines += plan_lines(name, plan)
        if error is not None:
            lines += [f"No plan for {name}: {error.message}", *(f"  {line}" for line in error.details)]
            lines += [f"  → {error.hint}"] if error.hint else []
        if reasons:
            lines.append(f"  chosen for: {', '.join(reasons)}")
    return lines


_DANGEROUS = frozenset({Action.DELETE, Action.REPLACE, Action.FORGET})


def release_lines(release: Release) -> list[str]:
    """The result of one service."""
    lines = [
        f"{release.environment} · {release.service}: {release.verdict}",
        f"  image     {release.image}",
        f"  revision  {release.revision}",
        f"  tasks     {release.running_count} of {release.desired_count} running",
    ]
    if release.commit:
        lines.append(f"  commit    {release.commit}")
    if release.reason:
        lines.append(f"  why       {release.reason}")
    lines += [f"  opened    {override.rule}: {override.reason}" for override in release.overrides]
    lines.append(f"  took      {durations(release.durations_s)}")
    return lines


def status_lines(statuses: Sequence[ServiceStatus]) -> list[str]:
    """What an environment's services run, a block each."""
    lines = []
    for status in statuses:
        running = f"{status.running_count} of {status.desired_count} running"
        lines.append(
            f"{status.environment} · {status.service}: {status.deployment_state or 'no deployment'}, {running}"
        )
        lines.append(f"  revision  {status.revision}")
        if not status.image:
            lines.append("  image     none yet: orch has released nothing here")
            continue
        lines.append(f"  image     {status.image}")
        lines.append(f"  commit    {status.commit or 'unknown (the image was given by digest)'}")
        lines.append(f"  released  {status.released_at or 'not with success yet'}")
    return lines


def bootstrapped_lines(done: Bootstrapped) -> list[str]:
    """The result of `orch bootstrap`, and what is left to do on GitHub, as commands to copy."""
    is_new = "created" if done.is_bucket_new else "was there; settings confirmed"
    lines = [f"account {done.account_id}", f"  {done.state_bucket}: {is_new}"]
    lines += [f"  role {arn}" for _, arn in sorted(done.role_arns.items())]
    if not done.role_arns:
        lines.append("  no roles for GitHub: orch.toml has no [github] with the repository")
    if done.github:
        lines.append(f"  {done.github} is set up on GitHub")
    if done.left_to_do:
        lines += [
            "",
            "Left to do on GitHub. `orch bootstrap --github` does it, with a token in GITHUB_TOKEN, and keeps the reviewers of",
            "environments that exist; by hand, for a repository without these environments:",
        ]
        lines += [f"  {command}" for command in done.left_to_do]
    return lines


def destroyed_lines(destroyed: Destroyed) -> list[str]:
    """The result of `orch destroy`."""
    gone = (
        f"{destroyed.resources} resources, deregistered {len(destroyed.revisions)} task definition revisions"
    )
    return [
        f"{destroyed.environment}: destroyed {gone}",
        *(f"  kept      {kept}" for kept in destroyed.kept),
    ]


def durations(durations_s: Mapping[str, float]) -> str:
    """`plan 2.9 s, apply 14.1 s, …`, leaving out what took no time and the steps that contain others."""
    parts = [
        f"{name.replace('_', ' ')} {seconds(duration_s)}"
        for name, duration_s in durations_s.items()
        if duration_s >= 0.05
    ]
    return ", ".join(parts)
