"""The page of `orch board`: all environments, what may be promoted, the last releases and the metrics, as one HTML file. Pure.

Comes in: an Overview. Goes out: a page that loads nothing, runs nothing and reads without JavaScript, from a file too: its
Content-Security-Policy allows its own style sheet by its hash, and nothing else. May touch: its template and style sheet, which
lie beside this file.

Most of its words were written by others. The template cannot forget it: everything that it puts into the page goes through
`_readable` (no credentials, nothing that is invisible or turns the direction of writing) and is then escaped.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import re
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import resources
from typing import TYPE_CHECKING, Any

from orchestrator import __version__
from orchestrator.model import Standing, Verdict
from orchestrator.promotion import State
from orchestrator.report import board, charts, text
from orchestrator.report.escapes import clean, scrubbed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import jinja2
    from markupsafe import Markup

    from orchestrator.dora import Metrics
    from orchestrator.model import Lock, ReleaseRecord, ServiceStatus
    from orchestrator.promotion import Gate, Row

_LONGEST = 400
_SHORT_COMMIT = 8
_SHORT_DIGEST = 12
_NOTHING = "-"
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class Trouble:
    """Something that could not be found out: a sentence, and what to do about it. `exit_code` is 0 for what is only a warning."""

    message: str
    hint: str = ""
    exit_code: int = 0


@dataclass(frozen=True)
class DriftRecord:
    """What is on record of changes outside Terraform: the sentence, and the page that tells more, if there is one."""

    sentence: str
    url: str = ""


@dataclass(frozen=True)
class Place:
    """One environment. `services` are those that it has; `drift` holds for each of them the sentences on what nobody released.

    `note` says why there are no services. `troubles` is what could not be read of it; `freezes` what forbids releases now.
    """

    name: str
    account_id: str
    region: str
    services: tuple[ServiceStatus, ...] = ()
    lock: Lock | None = None
    freezes: tuple[str, ...] = ()
    drift: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    terraform_drift: DriftRecord | None = None
    note: str = ""
    troubles: tuple[Trouble, ...] = ()
    is_protected: bool = False


@dataclass(frozen=True)
class Crossing:
    """What may go from one environment to the next; `trouble` is why that is not known. `asks_for_plan`: an empty plan of the
    target is asked for too, which a look at it does not make.
    """

    source: str
    target: str
    gates: tuple[Gate, ...] = ()
    trouble: Trouble | None = None
    asks_for_plan: bool = False


@dataclass(frozen=True)
class Trend:
    """The metrics of an environment: over a whole period, and of each week, the earliest first."""

    environment: str
    whole: Metrics
    weeks: tuple[Metrics, ...]


@dataclass(frozen=True)
class Overview:
    """Everything that the page shows, as it was at `at`. `titles` are those of commits, by their full hash; `commit_url` is what
    a hash is put behind to see the commit, empty where that is not known.
    """

    project: str
    at: datetime
    services: tuple[str, ...]
    places: tuple[Place, ...]
    crossings: tuple[Crossing, ...] = ()
    releases: tuple[ReleaseRecord, ...] = ()
    trends: tuple[Trend, ...] = ()
    titles: Mapping[str, str] = field(default_factory=dict)
    commit_url: str = ""

    @property
    def troubles(self) -> tuple[tuple[str, Trouble], ...]:
        """What could not be found out, each with the environment or the step between two that it is of."""
        return (
            *((place.name, one) for place in self.places for one in place.troubles),
            *(
                (f"{crossing.source} → {crossing.target}", crossing.trouble)
                for crossing in self.crossings
                if crossing.trouble is not None
            ),
        )


def render(overview: Overview) -> str:
    """The page."""
    style = _file("board.css")
    # CSP level 3: https://www.w3.org/TR/CSP3/#grammardef-hash-source; the text between the tags, as it is.
    style_hash = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return _template().render(
        page=overview,
        view=_View(overview),
        charts=charts,
        policy=f"default-src 'none'; style-src 'sha256-{style_hash}'; base-uri 'none'; form-action 'none'",
        style=_trusted(style),
        version=__version__,
    )


@functools.cache
def _template() -> jinja2.Template:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_file),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_readable,
    )
    environment.filters["prose"] = _prose
    return environment.get_template("board.html.jinja")


def _file(name: str) -> str:
    return (resources.files("orchestrator.report") / name).read_text(encoding="utf-8")


def _trusted(own: str) -> Markup:
    from markupsafe import Markup

    return Markup(own)  # noqa: S704 - a file of this package


def _readable(value: Any) -> Any:
    """What an expression of the template comes to, before it is escaped: a text of others as people may read it."""
    if hasattr(value, "__html__") or isinstance(value, (int, float)):
        return value
    # What hides within a credential is gone after the first `clean`, so that the second look sees it; cut off is only then.
    return clean(scrubbed(str(value)), _LONGEST)


def _prose(sentence: str) -> Markup:
    """A sentence in which `backticks` make code, as orch's messages have it."""
    from markupsafe import Markup, escape

    pieces = str(_readable(sentence)).split("`")
    if len(pieces) % 2 == 0:
        return escape("`".join(pieces))
    return Markup("").join(
        Markup("<code>{}</code>").format(piece) if number % 2 else escape(piece)
        for number, piece in enumerate(pieces)
    )


@dataclass(frozen=True)
class _Mark:
    """A word with the tone in which it is shown: good, busy, warn, bad or calm. The word alone says it too."""

    word: str
    tone: str


@dataclass(frozen=True)
class _Cell:
    """One service in one environment; `status` is None where there is none, and `unknown` says why that is not known."""

    environment: str
    status: ServiceStatus | None = None
    unknown: str = ""
    drift: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Carried:
    """One service on its way to the next environment: where its gate stands, in a word and a sentence."""

    gate: Gate
    mark: _Mark
    detail: str
    passed: str


class _View:
    """How the values of an Overview are shown; what the template asks."""

    def __init__(self, overview: Overview) -> None:
        self._overview = overview

    # --- in short

    def summary(self) -> list[_Mark]:
        """The page in a line."""
        places = self._overview.places
        services = [one for place in places for one in place.services]
        ill = sum(not one.is_healthy for one in services)
        moving = sum(one.standing in {Standing.ROLLING_OUT, Standing.ROLLING_BACK} for one in services)
        drifted = sum(bool(sentences) for place in places for sentences in place.drift.values())
        open_now = sum(
            carried.mark.tone == "good"
            for crossing in self._overview.crossings
            for carried in self.carried(crossing)
        )
        unread = sum(bool(place.troubles) for place in places)
        counted = (
            (len(places), "environment", "calm"),
            (len(self._overview.services), "service", "calm"),
            (unread, "not fully read", "bad"),
            (ill, "not healthy", "bad"),
            (moving, "rolling out or back", "busy"),
            (drifted, "drifted", "warn"),
            (sum(place.lock is not None for place in places), "locked", "warn"),
            (sum(bool(place.freezes) for place in places), "frozen", "warn"),
            (open_now, "ready to promote", "good"),
        )
        return [
            _Mark(f"{count} {word}{'s' if tone == 'calm' and count != 1 else ''}", tone)
            for count, word, tone in counted
            if count or tone == "calm"
        ]

    # --- environments and services

    def rows(self) -> list[tuple[str, list[_Cell]]]:
        """Each service with a cell for each environment."""
        return [
            (service, [_cell(place, service) for place in self._overview.places])
            for service in self._overview.services
        ]

    def standing(self, status: ServiceStatus) -> _Mark:
        tones = {
            Standing.RELEASED: "good",
            Standing.ROLLING_OUT: "busy",
            Standing.ROLLING_BACK: "warn",
            Standing.FAILED: "bad",
            Standing.UNRECORDED: "warn",
            Standing.NEW: "calm",
            Standing.GONE: "bad",
        }
        return _Mark(str(status.standing), tones[status.standing])

    def verdict(self, verdict: Verdict) -> _Mark:
        tones = {
            Verdict.SUCCEEDED: "good",
            Verdict.NO_CHANGE: "good",
            Verdict.ROLLED_BACK: "bad",
            Verdict.FAILED: "bad",
            Verdict.TIMED_OUT: "bad",
        }
        return _Mark(verdict.value.replace("_", " ").lower(), tones.get(verdict, "warn"))

    def is_good(self, verdict: Verdict) -> bool:
        return verdict in {Verdict.SUCCEEDED, Verdict.NO_CHANGE}

    # --- promotions

    def carried(self, crossing: Crossing) -> list[_Carried]:
        return [self._carried(gate, asks_for_plan=crossing.asks_for_plan) for gate in crossing.gates]

    def _carried(self, gate: Gate, *, asks_for_plan: bool) -> _Carried:
        passed = Counter(row.title for row in gate.rows if row.state is State.OPEN)
        return _Carried(gate, *self._stands(gate, asks_for_plan=asks_for_plan), ", ".join(passed))

    def _stands(self, gate: Gate, *, asks_for_plan: bool) -> tuple[_Mark, str]:
        opens_at = gate.opens_at
        if gate.is_carried:
            return _Mark("there already", "calm"), f"{gate.target} runs this image"
        if gate.is_open:
            command = f"orch promote --from {gate.source} --to {gate.target} --service {gate.service}"
            if asks_for_plan:
                return _Mark("open but for a plan", "warn"), f"{command} --check makes the plan it asks for"
            return _Mark("ready", "good"), command
        if opens_at is not None:
            left_s = (opens_at - self._overview.at).total_seconds()
            when = f"{opens_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
            # By AWS's clock, which may be ahead.
            return _Mark("waits", "busy"), f"opens in {_age(left_s)}, at {when}" if left_s > 0 else when
        return _Mark("waits", "busy") if gate.may_open_by_itself else _Mark("shut", "bad"), ""

    def shut(self, gate: Gate) -> tuple[Row, ...]:
        """What stands in the way; nothing does of what is there already."""
        return () if gate.is_carried else gate.shut

    # --- metrics

    def bars(self, trend: Trend) -> charts.Bars:
        return charts.bars([(week.changes, week.failed_changes) for week in trend.weeks])

    def line(self, trend: Trend) -> charts.Line:
        return charts.line([week.lead_time.median_s if week.lead_time else None for week in trend.weeks])

    def figures(self, whole: Metrics) -> list[tuple[str, str, str]]:
        """DORA's four metrics: the name, the figure, and what it is of."""
        lead, recovery, rate = whole.lead_time, whole.recovery_time, whole.change_failure_rate
        return [
            (
                "Deployments",
                str(whole.deployments),
                ""
                if whole.deployments_per_day is None
                else f"{_number(7 * whole.deployments_per_day)} a week",
            ),
            (
                "Lead time",
                _age(lead.median_s) if lead else _NOTHING,
                f"median; nine in ten within {_age(lead.p90_s)}" if lead else "",
            ),
            (
                "Change failure rate",
                _NOTHING if rate is None else f"{100 * rate:.0f} %",
                f"{whole.failed_changes} of {whole.changes} changes" if whole.changes else "",
            ),
            (
                "Recovery time",
                _age(recovery.median_s) if recovery else _NOTHING,
                f"median of {recovery.count}" if recovery else "",
            ),
        ]

    def age_of(self, duration_s: float) -> str:
        return _age(duration_s)

    def day(self, at: str) -> str:
        return _moment(at, "%d %b")

    # --- words

    def ago(self, at: str) -> str:
        """How long ago a time was when the page was made."""
        try:
            passed_s = (self._overview.at - datetime.fromisoformat(at)).total_seconds()
        except (ValueError, TypeError):
            return "?"
        return _age(max(0.0, passed_s))

    def time(self, at: str) -> str:
        return _moment(at, "%Y-%m-%d %H:%M")

    def took(self, record: ReleaseRecord) -> str:
        try:
            began, ended = (datetime.fromisoformat(at) for at in (record.began_at, record.recorded_at))
            return text.seconds(max(0.0, (ended - began).total_seconds()))
        except (ValueError, TypeError):
            return "?"

    def digest(self, image: str) -> str:
        return image.rpartition("sha256:")[2][:_SHORT_DIGEST]

    def commit(self, commit: str) -> str:
        """`c0ffee12`, with a + when the working tree differed from it."""
        hexadecimal, _, rest = commit.partition("-")
        return f"{hexadecimal[:_SHORT_COMMIT]}{'+' if rest else ''}"

    def commit_link(self, commit: str) -> str:
        hexadecimal = commit.partition("-")[0]
        if not self._overview.commit_url or not _COMMIT.fullmatch(hexadecimal):
            return ""
        return self.link(f"{self._overview.commit_url}{hexadecimal}")

    def title(self, commit: str) -> str:
        return self._overview.titles.get(commit.partition("-")[0], "")

    def link(self, url: str) -> str:
        """A URL that may be linked to; none of what would not reach the page as it is."""
        return url if board.url(url) and _readable(url) == url else ""

    def short_id(self, release_id: str) -> str:
        return release_id.rpartition("-")[2]

    def actor(self, arn: str) -> str:
        """`deploy/alice` of an assumed role, `alice` of a user."""
        return arn.partition("/")[2] or arn.rpartition(":")[2] or _NOTHING


def _cell(place: Place, service: str) -> _Cell:
    for status in place.services:
        if status.service == service:
            return _Cell(place.name, status, drift=place.drift.get(service, ()))
    return _Cell(place.name, unknown=place.note or ("not known" if place.troubles else ""))


def order(known: Sequence[str], places: Sequence[Place]) -> tuple[str, ...]:
    """The services as orch.toml has them, and after them those that only an environment has."""
    found = (status.service for place in places for status in place.services)
    return tuple(dict.fromkeys([*known, *found]))


def _age(duration_s: float) -> str:
    """`5 h 07 min`, which stays on one line."""
    return text.age(duration_s).replace(" ", "\N{NO-BREAK SPACE}")


def _number(value: float) -> str:
    return f"{value:.2g}" if value < 10 else f"{value:.0f}"


def _moment(at: str, form: str) -> str:
    try:
        return datetime.fromisoformat(at).astimezone(UTC).strftime(form)
    except ValueError:
        return at
