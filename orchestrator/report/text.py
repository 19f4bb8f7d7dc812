"""Events and results as lines of text. Pure: terminal.py decides where the lines go."""

from __future__ import annotations

import json
import re
import textwrap
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from orchestrator.events import (
    CopyProgress,
    Event,
    GateJudged,
    GateShut,
    LogLine,
    Measured,
    OutputLine,
    PauseContinued,
    PlanReady,
    PlanResumed,
    Released,
    ResourceProgress,
    RolloutPaused,
    RolloutProgress,
    ScaleProgress,
    ServiceEvent,
    StageEntered,
    StepFinished,
    StepStarted,
    TaskFailed,
    TaskProgress,
    Warned,
)
from orchestrator.masks import scrub
from orchestrator.model import Action, Change, Detail, LockKind, Masked, Outcome, Release
from orchestrator.report import promotion
from orchestrator.report.escapes import scrubbed, without_sequences

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from orchestrator.errors import OrchError
    from orchestrator.model import (
        Bootstrapped,
        ContainerExit,
        Destroyed,
        Drift,
        Finding,
        Lock,
        OutputChange,
        Pause,
        Plan,
        Preflight,
        Scaled,
        Sealed,
        TaskFailure,
        TaskRun,
        TaskStatus,
        Unlocked,
        Value,
    )

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
_SHORT_TASK = 12
_WIDTH = 120
_LOG_LINES = 50


def seconds(duration_s: float) -> str:
    """`0.4 s`, `2 min 05 s`."""
    if duration_s < 60:
        return f"{duration_s:.1f} s"
    return f"{int(duration_s) // 60} min {int(duration_s) % 60:02d} s"


def event_lines(event: Event) -> list[str]:  # noqa: C901, PLR0912 - a table, one line a kind
    """What a plain log shows of an event; nothing for those that only move a display."""
    match event:
        case StepStarted():
            return [f"▸ {event.title}"]
        case StepFinished():
            return [step_line(event)]
        case ResourceProgress():
            return resource_lines(event)
        case OutputLine():
            return [f"    {event.source}: {log_text(event.text)}"]
        case PlanReady():
            return plan_lines(event.environment, event.plan)
        case PlanResumed():
            return resumed_lines(event)
        case GateShut():
            return [
                f"! gate {event.rule} is shut: {event.sentence}",
                *(f"    {item}" for item in event.about),
            ]
        case RolloutProgress():
            return [f"    {rollout_line(event)}"]
        case StageEntered():
            return [f"    {stage_line(event)}"]
        case PauseContinued():
            return [f"    ✓ {event.service}: the pause at {event.stage} is over: {event.reason}"]
        case RolloutPaused():
            return paused_lines(event)
        case ServiceEvent():
            return [f"    ECS: {log_text(event.message)}"]
        case Measured():
            return [f"    {measured_line(event)}"]
        case LogLine():
            return [f"    {event.container}: {log_text(event.text)}"]
        case TaskProgress():
            return [f"    task {short_task(event.task_id)} of {event.service}: {event.status}"]
        case ScaleProgress():
            return [
                f"    {event.service}: {event.running} of {event.desired} running, {event.pending} pending"
            ]
        case CopyProgress():
            return [f"    {copy_line(event)}"]
        case TaskFailed():
            return failure_lines(event.failure)
        case GateJudged():
            return promotion.gate_lines(event.gate)
        case Warned():
            return warning_lines(event)
        case Released():
            return []


def copy_line(event: CopyProgress) -> str:
    """How far an image is on its way, e.g. `12.5 of 300.0 MB (4 %) to …/app@sha256:…`."""
    percent = 100 * event.done_bytes // event.total_bytes if event.total_bytes else 100
    done, total = event.done_bytes / 1e6, event.total_bytes / 1e6
    return f"{done:.1f} of {total:.1f} MB ({percent} %) to {event.image}"


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
    # The id comes last: a narrow terminal may cut it off.
    return (
        f"{event.service}: {event.state}, {event.running} of {event.desired} running,"
        f" {event.pending} pending{failures} ({event.deployment_id})"
    )


_MEASURED = {"success": "✓", "failure": "✗", "inconclusive": "?", "error": "!"}


def measured_line(event: Measured) -> str:
    """`✓ web: errors 0.42 (value < 1), 2 of 5`."""
    head = f"{_MEASURED[event.outcome]} {event.service}: {event.analysis}"
    if event.outcome == "error":
        return _readable(f"{head} could not be measured: {event.detail}")
    said = ", ".join(f"{value:.4g}" for value in event.values) or "no data"
    wanted = event.success + (f", fails at {event.failure}" if event.failure else "")
    so_far = f"{event.successes} of {event.count}" if event.count else f"{event.successes} so far"
    failed = f", {event.failures} failed and {event.failure_limit} may" if event.failures else ""
    return f"{head} {said} ({wanted}), {so_far}{failed}"


def stage_line(event: StageEntered) -> str:
    """`web CANARY: PRODUCTION_TRAFFIC_SHIFT, 10% of the traffic, until 2026-01-01 12:10:00 UTC`."""
    traffic = (
        f", {event.production_percent:g}% of the traffic" if event.production_percent is not None else ""
    )
    until = f", until {clock_time(event.bakes_until)}" if event.bakes_until else ""
    return f"{event.service} {event.strategy}: {event.stage}{traffic}{until}"


def paused_lines(event: RolloutPaused) -> list[str]:
    """Who has to do what, and what happens otherwise."""
    words = {"ROLLBACK": "; then ECS rolls it back", "CONTINUE": "; then ECS goes on by itself"}
    until = f" until {clock_time(event.expires_at)}" if event.expires_at else ""
    return [
        f"! {event.service} is paused at {event.stage}{until}{words.get(event.timeout_action, '')}",
        f"    → {event.command} goes on; with --rollback it takes the release back",
    ]


def pause_lines(found: Sequence[Pause]) -> list[str]:
    """A line for each rollout that waits: where, since when, until when, and what then."""
    words = {"ROLLBACK": ", then ECS rolls it back", "CONTINUE": ", then ECS goes on by itself"}
    lines = []
    for pause in found:
        since = f" since {clock_time(pause.since)}" if pause.since else ""
        until = f", until {clock_time(pause.expires_at)}" if pause.expires_at else ""
        after = words.get(pause.timeout_action, "")
        lines.append(f"{pause.environment} · {pause.service}: paused at {pause.stage}{since}{until}{after}")
    return lines


def clock_time(moment: str) -> str:
    """An ISO 8601 time as people read it, in UTC: `2026-01-01 12:10:00 UTC`."""
    return f"{datetime.fromisoformat(moment).astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def log_line(event: LogLine, *, with_time: bool) -> str:
    """A line of the logs of many tasks: whose it is, then what it says."""
    at = f"{event.at} " if with_time else ""
    container = f"/{event.container}" if event.container else ""
    return f"{at}{short_task(event.task_id)}{container}  {log_text(event.text)}"


def log_text(line: str) -> str:
    """What a program logged, without what would steer a terminal or turn text around, or command GitHub's runner: it takes
    `##[` for a command wherever it stands in a line (actions/runner, src/Runner.Common/ActionCommand.cs, TryParse).
    """
    seen = without_sequences(line).replace("##[", "# #[")
    if seen.isprintable():
        return seen
    return "".join(character if character.isprintable() or character == "\t" else "·" for character in seen)


def short_task(task_id: str) -> str:
    """As much of a task's id as tells it apart; `--task` takes it."""
    return task_id[:_SHORT_TASK]


def resumed_lines(event: PlanResumed) -> list[str]:
    """What of the reviewed plan is done, line by line; what is left follows as the plan itself, so only the rest is named."""
    lines = [f"Of the reviewed plan for {event.environment}: {len(event.done)} done, {len(event.left)} left"]
    lines += [f"  ✓ {line}" for line in event.done]
    lines += [f"  • {line}" for line in event.left]
    if event.unreviewed:
        lines.append(f"! Not in the reviewed plan: {len(event.unreviewed)}")
        lines += [f"  ! {line}" for line in event.unreviewed]
    return lines


def warning_lines(event: Warned) -> list[str]:
    head, *rest = event.message.splitlines() or [""]
    hint = [f"  → {event.hint}"] if event.hint else []
    return [f"! {head}", *rest, *hint]


def failure_lines(failure: TaskFailure, *, width: int = _WIDTH) -> list[str]:
    """A failed task on one screen: what is known of the cause and what to do, then what ECS, the load balancer and the log say.

    Lines of the log stand behind a bar, so that none is taken for a command to GitHub's runner, which looks behind spaces too.
    """
    cause, task = failure.cause, f"task {failure.task_id}" if failure.task_id else "no task could be placed"
    title = cause.title if cause else "A task failed, and orch does not know this cause"
    lines = _wrapped(f"✗ {failure.service}: {title} ({task})", width, "  ")
    if cause:
        lines += _wrapped(f"  → {cause.advice}", width, "    ")
    said = ": ".join(part for part in (failure.stop_code, failure.stopped_reason) if part)
    fields = [("stopped", said)]
    fields += [(one.name, _exit(one, failure.stopped_reason)) for one in failure.containers]
    fields += [("health", line) for line in failure.target_health]
    fields += [("log", failure.log_place)] if failure.log_place else []
    for name, value in fields:
        lines += _wrapped(f"  {name:<9} {value}", width, " " * 12)
    for line in failure.log_lines[-_LOG_LINES:]:
        shown = _readable(line).replace("##[", "# #[")
        lines.append(f"  │ {shown if len(shown) <= width - 4 else shown[: width - 5] + '…'}")
    return lines


def failure_again_line(failure: TaskFailure) -> str:
    """A task that failed as one before it did, of which everything was told."""
    title = failure.cause.title if failure.cause else failure.stopped_reason or "A task failed"
    return f"✗ {failure.service}: {_readable(title)}, again (task {failure.task_id or 'not placed'})"


def _exit(one: ContainerExit, stopped_reason: str) -> str:
    said = "never started" if one.exit_code is None else f"exit code {one.exit_code}"
    if one.exit_code is None and one.reason == "still stopping":
        return one.reason
    # A task that could not start has the reason of its container as its own.
    return f"{said}: {one.reason}" if one.reason and one.reason != stopped_reason else said


def _wrapped(line: str, width: int, indent: str) -> list[str]:
    """On as many lines as it needs; names, and with them what somebody will copy, stay whole."""
    short = _DIGEST.sub(r"\1…", _readable(line)).replace("##[", "# #[")
    wrapped = textwrap.wrap(
        short,
        width,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
        drop_whitespace=True,
    )
    return wrapped or [""]


def plan_lines(environment: str, plan: Plan) -> list[str]:
    """The plan: rights that grow first, then addresses and what changes in them, the ones that destroy before the others."""
    order = [*_DANGEROUS, *(action for action in Action if action not in _DANGEROUS)]
    changes = sorted(plan.changes, key=lambda change: (order.index(change.action), change.address))
    lines = [f"Plan for {environment}: {plan.summary}"]
    if plan.is_errored:
        lines.append("! Terraform stopped at an error: this plan is not complete and cannot be applied")
    lines += [f"! {address}: {sentence}" for address, sentence in plan.widenings]
    lines += [f"! {check.address}: {'; '.join(check.messages) or check.status}" for check in plan.checks]
    # A new environment is read by its addresses; what is set in each resource stands in the code beside it.
    is_first = plan.count(Action.CREATE) > _FEW_CREATES
    for change in changes:
        lines.append(f"  {_SYMBOLS[change.action]} {change.address} ({_what(change)})")
        if change.action is not Action.CREATE or not is_first:
            lines += _unfolded(change)
    lines += [line for output in plan.output_changes for line in _output_lines(output)]
    if plan.drift:
        lines.append(f"Changed outside Terraform: {', '.join(change.address for change in plan.drift)}")
        lines += [line for change in plan.drift for line in _unfolded(change)]
    return [_readable(line) for line in lines]


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


_DANGEROUS = (Action.DELETE, Action.REPLACE, Action.FORGET)
_FEW_CREATES = 10
_UNFOLDED = 8
_LONGEST = 72
_REST = re.compile(r"… (\d+) more")
_IMAGE = re.compile(r"(?P<repository>[^@\s]+/[^@\s]+?)(?:@|:(?=[^/]+$))(?P<rest>[^@\s/]+)")
_DIGEST = re.compile(r"(sha256:[0-9a-f]{12})[0-9a-f]{52}")
_REASONS = {
    "replace_because_cannot_update": "it cannot be updated in place",
    "replace_because_tainted": "it is tainted",
    "replace_by_request": "as asked for",
    "replace_by_triggers": "triggered",
    "delete_because_no_resource_config": "no longer in the configuration",
    "delete_because_no_module": "its module is no longer in the configuration",
    "delete_because_no_move_target": "what it moved to is not in the configuration",
    "delete_because_wrong_repetition": "it has count or for_each now, or no longer",
    "delete_because_count_index": "beyond count",
    "delete_because_each_key": "its key is no longer in for_each",
}


def _what(change: Change) -> str:
    """`replace: it cannot be updated in place`, `move from aws_a.old`."""
    said = str(change.action)
    if change.import_id:
        said += (
            f" of {change.import_id}" if change.action is Action.IMPORT else f", import of {change.import_id}"
        )
    if change.previous_address:
        said += (
            f" from {change.previous_address}"
            if change.action is Action.MOVE
            else f", was {change.previous_address}"
        )
    reason = _REASONS.get(change.reason, change.reason.replace("_", " "))
    return f"{said}: {reason}" if reason else said


def _unfolded(change: Change) -> list[str]:
    lines = [f"      {_detail(detail, is_new=change.action is Action.CREATE)}" for detail in change.details]
    hidden = change.details[_UNFOLDED:]
    if len(hidden) <= 1:
        return lines
    rest = _REST.fullmatch(hidden[-1].label)
    count = len(hidden) + (int(rest[1]) - 1 if rest else 0)
    return [*lines[:_UNFOLDED], f"      … {count} more"]


def _detail(detail: Detail, *, is_new: bool) -> str:
    """`memory: 512 → 1024`; with + what is added, with - what is removed."""
    forced = "  ← forces replacement" if detail.forces_replacement else ""
    before, after = detail.before, detail.after
    if before is Masked.ABSENT and after is Masked.ABSENT:
        return detail.label + forced
    if before is Masked.ABSENT:
        return f"{detail.label}: {'' if is_new else '+ '}{_shown(after)}{forced}"
    if after is Masked.ABSENT:
        return f"{detail.label}: - {_shown(before)}{forced}"
    was, now = _shown(before), _shown(after)
    repository = was[: max(was.rfind("@"), was.rfind(":"))] if detail.label.endswith("image") else ""
    if "@" in was:
        repository = repository.partition("@")[0]
    if repository and now.startswith((f"{repository}@", f"{repository}:")):
        now = f"…{now.removeprefix(repository)}"
    return f"{detail.label}: {was} → {now}{forced}"


def detail_line(detail: Detail) -> str:
    """The same of what runs: values that are never shown are told to differ."""
    is_hidden = (detail.before is Masked.SENSITIVE, detail.after is Masked.SENSITIVE)
    if all(is_hidden):
        return f"{detail.label}: another value"
    if any(is_hidden) and Masked.ABSENT in (detail.before, detail.after):
        return f"{detail.label}: {'added' if is_hidden[1] else 'removed'}"
    if detail.label.endswith("image") and isinstance(detail.before, str) and isinstance(detail.after, str):
        # The repository of ECR is longer than what tells two images of it apart.
        was, now = _IMAGE.fullmatch(detail.before), _IMAGE.fullmatch(detail.after)
        is_one = was is not None and now is not None and was["repository"] == now["repository"]
        sides = (was["rest"], now["rest"]) if was and now and is_one else (detail.before, detail.after)
        return f"{detail.label}: {_shown(sides[0])} → {_shown(sides[1])}"
    return _detail(detail, is_new=False)


def _output_lines(output: OutputChange) -> list[str]:
    head, before, after = f"{_SYMBOLS[output.action]} output {output.name}", output.before, output.after
    if isinstance(before, dict) and isinstance(after, dict):
        return [
            f"  {head}",
            *_unfolded(Change(output.name, output.action, details=tuple(_members(before, after)))),
        ]
    if before is Masked.ABSENT and (after is Masked.ABSENT or isinstance(after, dict)):
        return [f"  {head}"]
    return [f"  {_detail(Detail(head, before, after), is_new=True)}"]


def _members(before: Mapping[str, Value], after: Mapping[str, Value], path: str = "") -> Iterator[Detail]:
    """The members of two objects that differ, by their paths; two secrets cannot be told apart here, and are left out."""
    for key in dict.fromkeys([*before, *after]):
        old, new = before.get(key, Masked.ABSENT), after.get(key, Masked.ABSENT)
        if isinstance(old, dict) and isinstance(new, dict):
            yield from _members(old, new, f"{path}{key}.")
        elif old != new:
            yield Detail(f"{path}{key}", old, new)


def _shown(value: Value) -> str:
    """A value in a few words: lists by their members, long texts by their ends."""
    if isinstance(value, list | tuple) and not any(
        isinstance(member, dict | list | tuple) for member in value
    ):
        listed = [_shown(member) for member in value[:4]]
        return (
            ", ".join(listed) + (f" and {len(value) - 4} more" if len(value) > 4 else "") if value else "[]"
        )
    # Scrubbed before it is cut: half a key is no shape that a net knows.
    said = scrub(value) if isinstance(value, str) else _written(value)
    said = _DIGEST.sub(r"\1…", said)
    return said if len(said) <= _LONGEST else f"{said[: _LONGEST - 20]} … {said[-16:]}"


def _written(value: Value) -> str:
    return (
        str(value) if isinstance(value, Masked) else scrub(json.dumps(value, default=str, ensure_ascii=False))
    )


def _readable(line: str) -> str:
    """On one line and scrubbed, without what would steer a terminal or turn text around."""
    seen = scrubbed(line)
    if seen.isprintable():
        return seen
    return "".join(character if character.isprintable() else "·" for character in seen)


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
    if release.strategy:
        lines.append(f"  strategy  {release.strategy}")
    if release.reason:
        lines.append(f"  why       {release.reason}")
    lines += [f"  opened    {override.rule}: {override.reason}" for override in release.overrides]
    lines.append(f"  took      {durations(release.durations_s)}")
    return lines


def preflight_lines(found: Sequence[Preflight], *, width: int = 0) -> list[str]:
    """The checks of each service, a line each, and below those that did not pass what to do; `width` 0 wraps nothing."""
    findings = [finding for one in found for finding in one.findings]
    named = [
        (f"{one.environment} · {one.service}" if one.service else one.environment, one.findings)
        for one in found
    ]
    lines = finding_lines(named, width=width)
    failed = sum(finding.outcome is Outcome.FAIL for finding in findings)
    skipped = sum(finding.outcome is Outcome.SKIP for finding in findings)
    ending = f"; {skipped} could not be checked" if skipped else ""
    said = f"✗ {failed} in the way of a rollout" if failed else "✓ Nothing stands in the way of a rollout"
    return [*lines, said + ending]


def finding_lines(found: Sequence[tuple[str, Sequence[Finding]]], *, width: int = 0) -> list[str]:
    """Findings below the name of what they are about, a line each, and below those that did not pass what to do."""
    width = width or 10_000
    longest = max((len(finding.title) for _name, findings in found for finding in findings), default=0)
    titles = min(longest, width // 3, 26)
    indent = " " * (titles + 12)
    lines = []
    for name, findings in found:
        lines.append(f"{name}: {counts(finding.outcome for finding in findings)}")
        for finding in findings:
            head = f"  {_MARKS[finding.outcome]} {finding.outcome:<4}  {finding.title:<{titles}}  "
            lines += _wrapped(f"{head}{finding.detail}", width, indent)
            if finding.hint:
                lines += _wrapped(f"{indent}→ {finding.hint}", width, f"{indent}  ")
    return lines


_MARKS = {Outcome.OK: "✓", Outcome.WARN: "!", Outcome.FAIL: "✗", Outcome.SKIP: "•"}


def counts(outcomes: Iterable[Outcome]) -> str:
    """`1 FAIL, 12 OK`: the worst first."""
    every = list(outcomes)
    order = (Outcome.FAIL, Outcome.WARN, Outcome.OK, Outcome.SKIP)
    return ", ".join(f"{every.count(kind)} {kind}" for kind in order if kind in every)


def tasks_lines(found: Sequence[TaskStatus], *, now: datetime) -> list[str]:
    """The tasks of each service as a table; below one that stopped, why it did."""
    if not found:
        return ["No task runs."]
    head = ("task", "revision", "status", "health", "started", "age", "zone", "address", "started by")
    rows = [_task_row(task, now) for task in found]
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]

    def aligned(row: Sequence[str]) -> str:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        return _readable(f"  {'  '.join(cells)}".rstrip())

    lines = []
    service = ""
    for task, row in zip(found, rows, strict=True):
        if task.service != service:
            service = task.service
            lines += [f"{task.environment} · {service}", aligned(head)]
        lines.append(aligned(row))
        if task.stop_code or task.stopped_reason:
            lines.append(_readable(f"      {task.stop_code}: {task.stopped_reason}"))
            lines += [
                _readable(
                    f"      {one.name}: exit code {one.exit_code}{f', {one.reason}' if one.reason else ''}"
                )
                for one in task.containers
                if one.exit_code is not None
            ]
    return lines


def _task_row(task: TaskStatus, now: datetime) -> tuple[str, ...]:
    age_s = max(0.0, (now - datetime.fromisoformat(task.created_at)).total_seconds())
    return (
        short_task(task.task_id),
        task.revision,
        task.status,
        task.health if task.health != "UNKNOWN" else "-",
        task.started_at.replace("+00:00", "Z") or "-",
        age(age_s),
        task.availability_zone or "-",
        task.private_ip or "-",
        task.started_by or "-",
    )


def age(duration_s: float) -> str:
    """`40 s`, `12 min`, `5 h 07 min`, `3 d`: as rough as one asks for."""
    minutes = int(duration_s) // 60
    if not minutes:
        return f"{int(duration_s)} s"
    if minutes < 60:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes < 48 * 60 else f"{minutes // 1440} d"


def task_run_lines(done: TaskRun) -> list[str]:
    """How a one-off task ended."""
    symbol = "✓" if done.exit_code == 0 else "✗"
    ended = f"exit code {done.exit_code}  {seconds(done.duration_s)}"
    lines = [f"{symbol} {done.environment} · {done.service}: {ended} — task {done.task_id}, {done.revision}"]
    if done.advice:
        lines.append(_readable(f"  → {done.advice}"))
    return lines


def scaled_lines(done: Scaled) -> list[str]:
    """The result of `orch scale`."""
    said = done.verdict or "asked for"
    return [
        f"{done.environment} · {done.service}: {said}",
        f"  desired   {done.desired_before} → {done.desired_count}",
        f"  tasks     {done.running_count} of {done.desired_count} running",
        f"  why       {done.reason}",
    ]


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


def sealed_lines(sealed: Sealed) -> list[str]:
    """Where a sealed plan lies, and how to apply it."""
    return [
        f"sealed {sealed.commit[:12]} for {sealed.environment}, to be applied until {sealed.expires_at}",
        f"  {sealed.place}",
        f"  → orch apply --env {sealed.environment} --sealed {sealed.commit[:12]}",
    ]


def locked_lines(lock: Lock) -> list[str]:
    """The result of `orch lock`."""
    until = f"until {lock.expires_at}" if lock.expires_at else "until it is unlocked"
    return [
        f"{lock.environment} is locked {until}: {lock.reason}",
        f"  → orch unlock --env {lock.environment}",
    ]


def unlocked_lines(done: Unlocked) -> list[str]:
    """The result of `orch unlock`."""
    if done.was is None:
        return [f"{done.environment} was not locked"]
    was = f", which was dead since {done.was.expires_at}" if done.was.is_expired else ""
    return [f"{done.environment} is unlocked; it was locked{was}: {done.was.line}"]


def locks_lines(locks: Sequence[Lock], environments: Sequence[str]) -> list[str]:
    """The locks as a table; `environments` are all that were asked for."""
    if not locks:
        return [f"not locked: {', '.join(environments)}"] if environments else []
    rows = [("environment", "holder", "command", "since (UTC)", "until (UTC)", "reason")]
    for lock in locks:
        program = "terraform" if lock.kind is LockKind.TERRAFORM else "orch"
        command = f"{program} {lock.command}" if lock.kind is not LockKind.UNKNOWN else "?"
        since = lock.acquired_at.removesuffix(" UTC") or "?"
        rows.append((lock.environment, lock.holder, command, since, _until(lock), lock.reason))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row, about in zip(rows, (None, *locks), strict=True):
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        lines.append("  ".join(cells).rstrip())
        if about is not None and about.run_url:
            lines.append(f"  {about.run_url}")
        if about is not None and about.kind is LockKind.TERRAFORM:
            lines.append(
                f"  Terraform's lock of the state; if that run is dead: terraform force-unlock {about.id}"
            )
    return lines


def _until(lock: Lock) -> str:
    ends = lock.expires_at.removesuffix(" UTC")
    if lock.is_expired:
        return f"dead since {ends}"
    if lock.kind is LockKind.RUN:
        # Of a lock that lives, the last minutes' time of day is enough.
        return f"its end, renewed {lock.heartbeat_at.removesuffix(' UTC')[-8:]}"
    return ends or ("its end" if lock.kind is LockKind.TERRAFORM else "unlocked")


def drift_lines(drift: Drift) -> list[str]:
    """What was changed outside Terraform in one environment."""
    count = len(drift.reverted) + len(drift.kept)
    lines = [f"Drift of {drift.environment}: {f'{count} changed outside Terraform' if count else 'none'}"]
    for change in drift.reverted:
        lines += [f"  ! {change.address} ({change.action}): the next apply reverts it", *_unfolded(change)]
    for change in drift.kept:
        lines += [f"  ~ {change.address} ({change.action}): stays as it is", *_unfolded(change)]
    if drift.yours:
        resources = "1 resource" if len(drift.yours) == 1 else f"{len(drift.yours)} resources"
        lines.append(f"  beside it this checkout changes {resources}, see `orch plan`")
    return lines
