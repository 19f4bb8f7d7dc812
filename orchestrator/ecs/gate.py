"""The gate before a new revision is final: takes the measurements that are due, has what fails rolled back, and continues pauses.

Holds what was measured of every deployment in one watch, which asks it at each look (`Gate.judge`). Where the watch ends, ECS goes
on without any analysis; only a PAUSE hook waits for it. Touches: what `read`, `find_targets` and `resume` touch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from orchestrator.ecs import analysis
from orchestrator.ecs.analysis import Measurement, Outcome, Question, State
from orchestrator.errors import AwsError, OrchError
from orchestrator.events import Measured, PauseContinued, Warned

if TYPE_CHECKING:
    from orchestrator.ecs.analysis import Judgement
    from orchestrator.ecs.followed import Stage
    from orchestrator.events import Emit
    from orchestrator.settings_analysis import AnalysisSettings

Read = Callable[[Sequence[Question]], Sequence[tuple[float, ...] | str]]
"""From questions to the values of each, or a text that says why there is no answer."""
FindTargets = Callable[[str], Mapping[str, str]]
"""From the ARN of a service deployment to what $TARGET_GROUP and $LOAD_BALANCER stand for in it. Raises OrchError."""
Resume = Callable[[str, str], None]
"""Continues a pause: the ARN of the service deployment, and the hook's id. Raises AwsError."""

# Before each shift of traffic there is the same stage, and before the first of them no traffic.
_SHIFTS = frozenset({"PRE_PRODUCTION_TRAFFIC_SHIFT", "PRODUCTION_TRAFFIC_SHIFT"})


@dataclass
class _Subject:
    """One deployment: its analyses, since when each is measured, and what was measured since."""

    analyses: Sequence[AnalysisSettings]
    texts: Mapping[str, str]
    targets: Mapping[str, str] = field(default_factory=dict)
    began_at: dict[str, float] = field(default_factory=dict)
    measured: dict[str, list[Measurement]] = field(default_factory=dict)
    told: set[str] = field(default_factory=set)
    passed: set[str] = field(default_factory=set)
    continued: set[str] = field(default_factory=set)

    def judgement(self, one: AnalysisSettings) -> Judgement:
        return analysis.judge(one, self.measured.get(one.name, ()))

    def begin_anew(self) -> None:
        """A pause was continued: what comes now is measured for itself."""
        self.began_at.clear()
        self.measured.clear()
        self.told.clear()


@dataclass(frozen=True)
class _Due:
    service: str
    stage: Stage
    subject: _Subject
    analysis: AnalysisSettings
    end: int


class Gate:
    """The analyses of all deployments in one watch, by service. `now` is AWS's time of day, in seconds since the epoch."""

    def __init__(
        self,
        emit: Emit,
        *,
        read: Read,
        now: Callable[[], float],
        find_targets: FindTargets,
        resume: Resume,
    ) -> None:
        self._emit = emit
        self._read = read
        self._now = now
        self._find_targets = find_targets
        self._resume = resume
        self._subjects: dict[str, _Subject] = {}

    def add(self, service: str, analyses: Sequence[AnalysisSettings], texts: Mapping[str, str]) -> None:
        """Takes in a deployment of that service; one that was there before is forgotten. `texts` are the placeholders that do not
        depend on the deployment.
        """
        self._subjects[service] = _Subject(analyses, texts)

    def judge(self, stages: Mapping[str, Stage]) -> dict[str, str]:
        """Measures what is due where the services' deployments are, continues the pauses of those that have passed, and returns why
        others are to be rolled back, for as long as that holds.
        """
        now = self._now()
        going = {service: stage for service, stage in stages.items() if service in self._subjects}
        for service, stage in going.items():
            for one in _here(self._subjects[service], stage) if _has_traffic(stage) else ():
                self._subjects[service].began_at.setdefault(one.name, now)
        self._measure([due for service, stage in going.items() for due in self._due(service, stage, now)])
        found = {}
        for service, stage in going.items():
            reason = self._why_not(self._subjects[service])
            if reason:
                found[service] = reason
            elif stage.pauses:
                self._continue(service, stage)
        return found

    def end(self, service: str, *, has_succeeded: bool) -> None:
        """The deployment is over. Says so where it succeeded against its analyses, or before they had come to an end."""
        subject = self._subjects.pop(service, None)
        if subject is None or not has_succeeded:
            return
        if reason := self._why_not(subject):
            self._emit(
                Warned(
                    f"{service}: {reason}; ECS completed the deployment before it could be rolled back",
                    "`orch rollback` goes back; a pause with continue_when_passed = true does not let it come so far",
                )
            )
            return
        for one in subject.analyses:
            judgement = subject.judgement(one)
            is_short = bool(one.count) or not judgement.successes
            if judgement.state is State.RUNNING and is_short and one.name not in subject.passed:
                of = f" of {one.count}" if one.count else ""
                self._emit(
                    Warned(
                        f"{service}: analysis {one.name} had {judgement.successes}{of} successful measurements when ECS completed"
                        " the deployment",
                        "a longer bake time, or a pause with continue_when_passed = true, waits for it",
                    )
                )

    # --- measuring

    def _due(self, service: str, stage: Stage, now: float) -> list[_Due]:
        subject, found = self._subjects[service], []
        judged = {one.name: subject.judgement(one).state for one in subject.analyses}
        if State.FAILED in judged.values() or not _has_traffic(stage):
            return []
        for one in _here(subject, stage):
            taken = subject.measured.get(one.name)
            last = taken[-1].ended_at if taken else None
            end = analysis.due_end(one, subject.began_at[one.name], last, now)
            if end is not None and judged[one.name] is State.RUNNING:
                found.append(_Due(service, stage, subject, one, end))
        return found

    def _measure(self, dues: Sequence[_Due]) -> None:
        questions, asked = [], []
        for due in dues:
            try:
                questions.append(Question(due.analysis, due.end, self._texts(due)))
                asked.append(due)
            except OrchError as error:
                self._take(due, Measurement(due.end, Outcome.ERROR, (), error.message))
        for due, found in zip(asked, self._read(questions) if questions else (), strict=True):
            if isinstance(found, str):
                self._take(due, Measurement(due.end, Outcome.ERROR, (), found))
            else:
                self._take(due, analysis.measure(due.analysis, due.end, found))

    def _texts(self, due: _Due) -> Mapping[str, str]:
        """The placeholders of an analysis; asked for again as long as they are not known. Raises OrchError."""
        subject = due.subject
        if not analysis.needs_targets(due.analysis):
            return subject.texts
        if not subject.targets:
            subject.targets = self._find_targets(due.stage.arn)
        return {**subject.texts, **subject.targets}

    def _take(self, due: _Due, measurement: Measurement) -> None:
        one, subject = due.analysis, due.subject
        subject.measured.setdefault(one.name, []).append(measurement)
        judgement = subject.judgement(one)
        if judgement.state is State.PASSED:
            subject.passed.add(one.name)
        self._emit(
            Measured(
                service=due.service,
                analysis=one.name,
                stage=due.stage.stage,
                ended_at=datetime.fromtimestamp(measurement.ended_at, UTC).isoformat(),
                values=measurement.values,
                outcome=measurement.outcome.value,
                success=one.success,
                failure=one.failure or "",
                successes=judgement.successes,
                count=one.count,
                failures=judgement.failures,
                failure_limit=one.failure_limit,
                state=judgement.state.value,
                detail=measurement.detail,
            )
        )

    # --- deciding

    def _why_not(self, subject: _Subject) -> str:
        for one in subject.analyses:
            judgement = subject.judgement(one)
            if judgement.state is State.FAILED:
                return judgement.reason
            if judgement.state is not State.INCONCLUSIVE:
                continue
            if one.on_inconclusive == "rollback":
                return judgement.reason
            if one.name not in subject.told:
                subject.told.add(one.name)
                self._emit(Warned(judgement.reason, "on_inconclusive = continue: the deployment goes on"))
        return ""

    def _continue(self, service: str, stage: Stage) -> None:
        """Ends the pauses of a deployment whose analyses have passed."""
        subject = self._subjects[service]
        reason = _why_continue(subject, stage)
        hooks = [hook for hook in stage.pauses if hook not in subject.continued]
        if not reason or not hooks:
            return
        for hook in hooks:
            try:
                self._resume(stage.arn, hook)
            except AwsError as error:
                if hook not in subject.told:
                    subject.told.add(hook)
                    self._emit(Warned(f"{service} could not be continued: {error.message}", error.hint))
                return
            subject.continued.add(hook)
        self._emit(PauseContinued(service, stage.stage, reason))
        subject.begin_anew()


def _why_continue(subject: _Subject, stage: Stage) -> str:
    """Why a pause is over, empty while it is not."""
    here = _here(subject, stage)
    if not any(one.continue_when_passed for one in here):
        return ""
    if not _has_traffic(stage):
        return "no production traffic yet, and nothing to measure"
    judged = [subject.judgement(one) for one in here]
    has_passed = all(judgement.state is State.PASSED for judgement in judged)
    return "; ".join(judgement.reason for judgement in judged) if has_passed else ""


def _here(subject: _Subject, stage: Stage) -> list[AnalysisSettings]:
    return [one for one in subject.analyses if stage.stage in one.during]


def _has_traffic(stage: Stage) -> bool:
    """Whether there is something to measure."""
    return stage.stage not in _SHIFTS or stage.production_percent is None or stage.production_percent > 0
