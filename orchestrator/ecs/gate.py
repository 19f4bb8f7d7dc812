"""The gate before a new revision is final: takes the measurements that are due, and says what they mean for each deployment.

Holds what was measured of every deployment in one watch. It asks nothing of ECS and does nothing to it: who watches hands in the
lifecycle stages, and acts on the decisions. Where the watch ends, ECS goes on without any analysis; only a PAUSE hook waits for it.
Touches: what `read` touches.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from orchestrator.ecs import analysis
from orchestrator.ecs.analysis import Measurement, Outcome, Question, State
from orchestrator.errors import OrchError
from orchestrator.events import Measured, Warned

if TYPE_CHECKING:
    from orchestrator.ecs.analysis import Judgement
    from orchestrator.events import Emit
    from orchestrator.settings_analysis import AnalysisSettings

Read = Callable[[Sequence[Question]], Sequence[tuple[float, ...] | str]]
"""From questions to the values of each, or a text that says why there is no answer."""
Targets = Callable[[], Mapping[str, str]]
"""What $TARGET_GROUP and $LOAD_BALANCER stand for in one deployment. Raises OrchError when that is not known."""


class Act(enum.Enum):
    """What a decision asks for."""

    ROLL_BACK = "roll back"
    CONTINUE = "continue"


@dataclass(frozen=True)
class Decision:
    """What is to be done with a deployment, and why."""

    act: Act
    reason: str


@dataclass(frozen=True)
class Where:
    """How far a deployment is: its lifecycle stage, and the percent of the production traffic that the new revision gets, None where
    that is not known.
    """

    stage: str
    production_percent: float | None = None

    @property
    def has_traffic(self) -> bool:
        """Whether there is something to measure. Before each shift of traffic there is the same stage, and before the first of them
        no traffic.
        """
        return self.stage not in _SHIFTS or self.production_percent is None or self.production_percent > 0


_SHIFTS = frozenset({"PRE_PRODUCTION_TRAFFIC_SHIFT", "PRODUCTION_TRAFFIC_SHIFT"})


@dataclass
class _Subject:
    """One deployment: its analyses, since when each is measured, and what was measured since."""

    analyses: Sequence[AnalysisSettings]
    texts: Mapping[str, str]
    find_targets: Targets
    targets: Mapping[str, str] = field(default_factory=dict)
    where: Where = Where("")
    began_at: dict[str, float] = field(default_factory=dict)
    measured: dict[str, list[Measurement]] = field(default_factory=dict)
    told: set[str] = field(default_factory=set)
    passed: set[str] = field(default_factory=set)
    is_over: bool = False

    def judgement(self, one: AnalysisSettings) -> Judgement:
        return analysis.judge(one, self.measured.get(one.name, ()))

    def here(self) -> list[AnalysisSettings]:
        return [one for one in self.analyses if self.where.stage in one.during]


class Gate:
    """The analyses of all deployments in one watch, by service. `now` is AWS's time of day, in seconds since the epoch."""

    def __init__(self, read: Read, now: Callable[[], float], emit: Emit) -> None:
        self._read = read
        self._now = now
        self._emit = emit
        self._subjects: dict[str, _Subject] = {}

    def add(
        self,
        service: str,
        analyses: Sequence[AnalysisSettings],
        texts: Mapping[str, str],
        find_targets: Targets,
    ) -> None:
        """Takes in a deployment of that service; one that was there before is forgotten. `texts` are the placeholders that are known,
        `find_targets` is asked for the others when the first measurement needs them.
        """
        self._subjects[service] = _Subject(analyses, texts, find_targets)

    def look(self, places: Mapping[str, Where]) -> dict[str, Decision]:
        """Measures what is due where the services' deployments are, and returns what is to be done with each of which
        something is, for as long as it holds.
        """
        now = self._now()
        for service, where in places.items():
            if subject := self._subjects.get(service):
                subject.where = where
                for one in subject.here() if where.has_traffic else ():
                    subject.began_at.setdefault(one.name, now)
        self._measure({service: one for service, one in self._subjects.items() if service in places}, now)
        decided = {}
        for service in places:
            subject = self._subjects.get(service)
            decision = self._decide(subject) if subject else None
            if decision is not None:
                decided[service] = decision
        return decided

    def again(self, service: str) -> None:
        """A PAUSE hook was continued: what comes now is measured anew."""
        subject = self._subjects[service]
        subject.began_at.clear()
        subject.measured.clear()
        subject.told.clear()

    def end(self, service: str, *, has_succeeded: bool) -> None:
        """The deployment is over. Says so where it succeeded before its analyses had come to an end."""
        subject = self._subjects.pop(service, None)
        if subject is None or not has_succeeded:
            return
        for one in subject.analyses:
            judgement = subject.judgement(one)
            if judgement.state is State.RUNNING and one.name not in subject.passed:
                wanted = f" of {one.count}" if one.count else ""
                if one.count or not judgement.successes:
                    self._emit(
                        Warned(
                            f"{service}: analysis {one.name} had {judgement.successes}{wanted} successful measurements when ECS"
                            " completed the deployment",
                            "a longer bake time, or a PAUSE hook with continue_when_passed = true, waits for it",
                        )
                    )

    def _measure(self, subjects: Mapping[str, _Subject], now: float) -> None:
        due: list[tuple[str, _Subject, AnalysisSettings, int]] = []
        for service, subject in subjects.items():
            for one in subject.here() if subject.where.has_traffic and not subject.is_over else ():
                if subject.judgement(one).state is not State.RUNNING:
                    continue
                taken = subject.measured.get(one.name, [])
                last = taken[-1].ended_at if taken else None
                end = analysis.due_end(one, subject.began_at[one.name], last, now)
                if end is not None:
                    due.append((service, subject, one, end))
        questions, asked = [], []
        for service, subject, one, end in due:
            try:
                questions.append(Question(one, end, _texts(subject, one)))
                asked.append((service, subject, one, end))
            except OrchError as error:
                self._take(service, subject, one, Measurement(end, Outcome.ERROR, (), error.message))
        if not questions:
            return
        for (service, subject, one, end), found in zip(asked, self._read(questions), strict=True):
            if isinstance(found, str):
                self._take(service, subject, one, Measurement(end, Outcome.ERROR, (), found))
            else:
                self._take(service, subject, one, analysis.measure(one, end, found))

    def _take(self, service: str, subject: _Subject, one: AnalysisSettings, measurement: Measurement) -> None:
        subject.measured.setdefault(one.name, []).append(measurement)
        judgement = subject.judgement(one)
        self._emit(
            Measured(
                service=service,
                analysis=one.name,
                stage=subject.where.stage,
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

    def _decide(self, subject: _Subject) -> Decision | None:
        judged = [(one, subject.judgement(one)) for one in subject.analyses]
        for one, judgement in judged:
            if judgement.state is State.FAILED or (
                judgement.state is State.INCONCLUSIVE and one.on_inconclusive == "rollback"
            ):
                subject.is_over = True
                return Decision(Act.ROLL_BACK, judgement.reason)
            if judgement.state is State.INCONCLUSIVE and one.name not in subject.told:
                subject.told.add(one.name)
                self._emit(Warned(judgement.reason, "on_inconclusive = continue: the deployment goes on"))
            if judgement.state is State.PASSED:
                subject.passed.add(one.name)
        here = [(one, judgement) for one, judgement in judged if subject.where.stage in one.during]
        if not any(one.continue_when_passed for one, _ in here):
            return None
        if not subject.where.has_traffic:
            return Decision(Act.CONTINUE, "no production traffic yet: there is nothing to measure")
        if all(judgement.state is State.PASSED for _, judgement in here):
            return Decision(Act.CONTINUE, "; ".join(judgement.reason for _, judgement in here))
        return None


def _texts(subject: _Subject, one: AnalysisSettings) -> Mapping[str, str]:
    """The placeholders of an analysis; asked for again as long as they are not known. Raises OrchError."""
    if not analysis.needs_targets(one):
        return subject.texts
    if not subject.targets:
        subject.targets = subject.find_targets()
    return {**subject.texts, **subject.targets}
