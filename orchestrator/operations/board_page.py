"""`orch board`: everything that its page shows of all environments.

    gather    Readys    → Overview    what runs, locks, drift, what may be promoted and why not, the last releases, the metrics

May touch: read-only calls of ECS, ECR and the stores, the states by `terraform output`, Git; GitHub's checks of a commit where a
target asks for some, and the issues of `orch drift --issue`, where there is a GITHUB_TOKEN; no plan is made. Each environment's contract is read once, and each is asked in threads of its own: one that
cannot be read shows why, and hides no other. What is only a warning elsewhere, such as a lock that cannot be read, stands on the
page too, which must not look as if there were none.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from orchestrator import dora, git
from orchestrator.errors import GitHubError, NotAppliedError, OrchError, SettingsError, ToolMissingError
from orchestrator.events import Steps, Warned
from orchestrator.github import context, issues
from orchestrator.github.api import Patience
from orchestrator.model import Standing
from orchestrator.operations import contract, history, metrics, status
from orchestrator.operations.side_by_side import side_by_side
from orchestrator.operations.survey import Asked, Ends, survey
from orchestrator.promotion import Row, State
from orchestrator.report.board_html import Crossing, DriftRecord, Overview, Place, Trend, Trouble, order
from orchestrator.terraform import gates

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from orchestrator.events import Event
    from orchestrator.model import Contract, ReleaseBrief, ReleaseRecord, ServiceContract, ServiceStatus
    from orchestrator.operations.plan_all import Ready
    from orchestrator.operations.survey import Surveyed
    from orchestrator.promotion import Gate
    from orchestrator.settings import Environment, Settings

_RELEASES = 20
_WEEKS = 12
# As `orch metrics` measures when it is not told a period.
_PERIOD = timedelta(days=30)
_AT_ONCE = 8
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass
class _Found:
    """What was found out of one environment so far; the threads that ask for it fill in a field each."""

    ready: Ready
    agreed: Contract | None = None
    status: status.EnvironmentStatus | None = None
    releases: tuple[ReleaseRecord, ...] = ()
    briefs: tuple[ReleaseBrief, ...] | None = None
    terraform_drift: DriftRecord | None = None
    note: str = ""
    troubles: list[Trouble] = field(default_factory=list)


def gather(settings: Settings, ready: Sequence[Ready], *, now: datetime) -> Overview:
    """All of it, as it is now. Raises InterruptedByUserError."""
    found = {one.environment.name: _Found(one) for one in ready}
    since = _first_monday(now)
    side_by_side(
        lambda ask: ask(),
        [ask for one in found.values() for ask in _asks(settings, one, since=since, now=now)],
        parallel=_AT_ONCE,
    )
    pairs = [
        (found[source], one)
        for one in found.values()
        if (source := one.ready.environment.promotes_from) is not None and source in found
    ]
    crossed: dict[str, tuple[Crossing, tuple[Surveyed, ...]]] = {}

    def cross(source: _Found, target: _Found) -> None:
        crossed[target.ready.environment.name] = _crossing(settings, source, target)

    asks: list[Callable[[], None]] = [partial(cross, *pair) for pair in pairs]
    asks += _asks_for_releases(list(found.values()))
    side_by_side(lambda ask: ask(), asks, parallel=_AT_ONCE)
    crossings = tuple(crossed[target.ready.environment.name][0] for _source, target in pairs)
    wandered = _other_digests([one for _crossing, surveyed in crossed.values() for one in surveyed])
    places = tuple(_place(one, wandered, now) for one in found.values())
    releases = sorted(
        (record for one in found.values() for record in one.releases),
        key=lambda record: record.began_at,
        reverse=True,
    )[:_RELEASES]
    return Overview(
        settings.project,
        now,
        order(tuple(settings.services), places),
        places,
        crossings,
        tuple(releases),
        tuple(_trend(name, one.briefs, since, now) for name, one in found.items() if one.briefs is not None),
        titles=_titles(settings, places, crossings, releases, ready),
        commit_url=_commit_url(settings),
    )


def _noting(one: _Found) -> Steps:
    """Steps whose warnings stand on the page too, each once."""
    steps = one.ready.steps

    def emit(event: Event) -> None:
        if isinstance(event, Warned):
            trouble = Trouble(event.message, event.hint)
            one.troubles += [trouble] if trouble not in one.troubles else []
        steps.emit(event)

    return Steps(emit, steps.durations_s, steps.scope)


# --- an environment


def _asks(
    settings: Settings, one: _Found, *, since: datetime, now: datetime
) -> tuple[Callable[[], None], ...]:
    """What is asked of one environment, each on its own; none raises an OrchError."""
    # Terraform's warnings are of the configuration, and not of what is there.
    quiet, ready = one.ready, replace(one.ready, steps=_noting(one))

    def runs() -> None:
        try:
            one.agreed = contract.read(settings, quiet.environment, quiet.session, quiet.environ, quiet.steps)
            one.status = status.status_of(ready, one.agreed)
        except NotAppliedError:
            one.note = "not applied"

    def measured() -> None:
        one.briefs = metrics.briefs(ready, since=min(since, now - _PERIOD), until=now)

    def drifted() -> None:
        one.terraform_drift = _terraform_drift(settings, ready)

    return _told(one, runs), _told(one, measured), _told(one, drifted)


def _told(one: _Found, ask: Callable[[], None]) -> Callable[[], None]:
    """The same, with an error on the page in place of the exception."""

    def guarded() -> None:
        try:
            ask()
        except OrchError as error:
            trouble = Trouble(error.message, error.hint, error.exit_code)
            one.troubles += [trouble] if trouble not in one.troubles else []

    return guarded


def _asks_for_releases(found: Sequence[_Found]) -> list[Callable[[], None]]:
    """Reads no more records of an environment than it has among the last ones of all, as far as their keys tell."""
    known = sorted(
        (brief.began_at, number)
        for number, one in enumerate(found)
        for brief in (one.briefs or ())[:_RELEASES]
    )[-_RELEASES:]
    shares = Counter(number for _began_at, number in known)

    def ask(one: _Found, limit: int) -> Callable[[], None]:
        def last() -> None:
            ready = replace(one.ready, steps=_noting(one))
            one.releases = history.history(
                ready.environment, service="", limit=limit, session=ready.session, steps=ready.steps
            )

        return _told(one, last)

    return [
        ask(one, shares[number] if len(known) == _RELEASES else _RELEASES)
        for number, one in enumerate(found)
        # What cannot be listed has said so.
        if one.briefs is not None and (shares[number] or len(known) < _RELEASES)
    ]


def _terraform_drift(settings: Settings, ready: Ready) -> DriftRecord | None:
    """What `orch drift --issue` has on record, where this run may read GitHub's issues; None where nothing is."""
    if settings.github is None or not ready.environ.get("GITHUB_TOKEN"):
        return None
    try:
        where = context.from_environment(ready.environ, repository=settings.github.full_name)
        if not ready.environ.get("GITHUB_API_URL"):
            where = replace(where, api_url=settings.github.api_url)
        issue = issues.find(context.connect(where), ready.environment.name, patience=Patience(0.0))
    except (GitHubError, SettingsError) as error:
        return DriftRecord(f"not known: {error.message}")
    if issue is None:
        return None
    return DriftRecord(
        f"{issue.title} (#{issue.number})" if issue.is_open else f"none since #{issue.number} was closed",
        issue.url,
    )


def _place(one: _Found, wandered: Mapping[tuple[str, str], str], now: datetime) -> Place:
    environment = one.ready.environment
    services = one.status.services if one.status is not None else ()
    agreed = {service.name: service for service in one.agreed.services} if one.agreed is not None else {}
    return Place(
        environment.name,
        environment.account_id,
        environment.region,
        services,
        one.status.lock if one.status is not None else None,
        tuple(sentence for sentence, _until in gates.freezes(environment, now)),
        {
            service.service: _drift(
                service,
                agreed[service.service],
                wandered.get((environment.name, service.service), ""),
            )
            for service in services
        },
        terraform_drift=one.terraform_drift,
        note=one.note,
        troubles=tuple(one.troubles),
        is_protected=environment.is_protected,
    )


def _drift(stands: ServiceStatus, agreed: ServiceContract, other_digest: str) -> tuple[str, ...]:
    """What neither a release nor Terraform made of a service, as far as a look at it tells."""
    sentences = []
    if stands.standing is Standing.NEW and stands.revision_arn != agreed.skeleton_arn:
        sentences.append(f"it runs {stands.revision}, which orch did not register")
    if other_digest:
        sentences.append(other_digest)
    is_released = stands.standing not in {Standing.NEW, Standing.GONE}
    if is_released and stands.desired_count != stands.declared_count:
        sentences.append(f"desired count {stands.desired_count}, in Terraform {stands.declared_count}")
    return tuple(sentences)


def _other_digests(surveyed: Sequence[Surveyed]) -> dict[tuple[str, str], str]:
    """Where ECS runs another image than the revision names: a sentence by environment and service."""
    return {
        (one.origin.environment, one.name): (
            f"{one.origin.revision} names {one.origin.digest[:19]}, and ECS runs {one.origin.running_digest[:19]}"
        )
        for one in surveyed
        if one.origin.digest and one.origin.running_digest not in {"", one.origin.digest}
    }


# --- promotions


def _crossing(settings: Settings, source: _Found, target: _Found) -> tuple[Crossing, tuple[Surveyed, ...]]:
    """The gates from one environment to the next, or why they are not known."""
    names = source.ready.environment.name, target.ready.environment.name
    for one in (source, target):
        if one.agreed is None:
            told = one.note or "it cannot be read"
            return Crossing(*names, trouble=Trouble(f"{one.ready.environment.name}: {told}")), ()
    asks_for_plan = target.ready.environment.promotion.require_empty_plan
    there = replace(target.ready, environment=_without_plan(target.ready.environment))
    assert source.agreed is not None  # noqa: S101 - as asked above
    assert target.agreed is not None  # noqa: S101 - as asked above
    try:
        surveyed = survey(Ends(settings, source.ready, there, source.agreed, target.agreed), Asked())
    except OrchError as error:
        return Crossing(*names, trouble=Trouble(error.message, error.hint, error.exit_code)), ()
    found = tuple(_with_plan(one.gate) if asks_for_plan else one.gate for one in surveyed)
    return Crossing(*names, found, asks_for_plan=asks_for_plan), surveyed


def _without_plan(environment: Environment) -> Environment:
    """The environment as one whose gate asks for no plan: a page is no reason to make one."""
    asked = environment.promotion.model_copy(update={"require_empty_plan": False})
    return replace(environment, promotion=asked)


def _with_plan(gate: Gate) -> Gate:
    """The gate with a row that says what it was not asked."""
    row = Row("plan", "no pending changes", State.SKIPPED, "no plan was made to tell")
    return replace(gate, rows=(*gate.rows, row))


# --- metrics


def _first_monday(now: datetime) -> datetime:
    """Where the first of the weeks that are shown begins; the last one is that of `now`."""
    today = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return today - timedelta(days=today.weekday(), weeks=_WEEKS - 1)


def _trend(name: str, briefs: Sequence[ReleaseBrief], since: datetime, now: datetime) -> Trend:
    def of_all(measured: Sequence[dora.Metrics]) -> tuple[dora.Metrics, ...]:
        return tuple(one for one in measured if not one.service)

    (whole,) = of_all(dora.measure(briefs, since=now - _PERIOD, until=now, environments=(name,)))
    weeks = dora.series(briefs, since=since, until=now, step=dora.Step.WEEK, environments=(name,))
    return Trend(name, whole, of_all(weeks))


# --- commits


def _titles(
    settings: Settings,
    places: Sequence[Place],
    crossings: Sequence[Crossing],
    releases: Sequence[ReleaseRecord],
    ready: Sequence[Ready],
) -> Mapping[str, str]:
    """The titles of the commits that this checkout has."""
    named = (
        *(service.commit for place in places for service in place.services),
        *(gate.commit for crossing in crossings for gate in crossing.gates),
        *(record.release.commit for record in releases),
    )
    commits = {commit.partition("-")[0] for commit in named}
    known = sorted(commit for commit in commits if _COMMIT.fullmatch(commit))
    try:
        return git.titles(known, settings.root, ready[0].environ) if known else {}
    except ToolMissingError:
        return {}


def _commit_url(settings: Settings) -> str:
    """What GitHub shows a commit behind: https://github.com/OWNER/NAME/commit/."""
    github = settings.github
    if github is None:
        return ""
    host = urlsplit(github.api_url).netloc.removeprefix("api.")
    return f"https://{host}/{github.full_name}/commit/"
