"""Overviews to make pages of: a small one as it might be, one as large as they get, one with hostile words in all places."""

from __future__ import annotations

import hashlib
import itertools
from dataclasses import fields, is_dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from orchestrator import dora
from orchestrator.model import (
    Image,
    Lock,
    LockKind,
    Override,
    PromotedFrom,
    Release,
    ReleaseBrief,
    ReleaseRecord,
    Replaced,
    ServiceStatus,
    Standing,
    Verdict,
)
from orchestrator.promotion import Gate, Row, State
from orchestrator.report.board_html import Crossing, DriftRecord, Overview, Place, Trend, Trouble

NOW = datetime(2026, 7, 1, 12, 0, tzinfo=UTC)
ACCOUNTS = ("111111111111", "222222222222", "333333333333", "444444444444")
REASON = (
    "ECS deployment circuit breaker: tasks failed to start. CannotPullContainerError: the digest is not there"
)


def digest(seed: str) -> str:
    return f"sha256:{hashlib.sha256(seed.encode()).hexdigest()}"


def sha(seed: str) -> str:
    return hashlib.sha1(seed.encode(), usedforsecurity=False).hexdigest()


def ago(**of: float) -> str:
    return (NOW - timedelta(**of)).isoformat()


def status(environment: str, service: str, number: int = 41, **more: Any) -> ServiceStatus:
    account = ACCOUNTS[0]
    seed = f"{service}{number}"
    whole = ServiceStatus(
        environment=environment,
        service=service,
        revision_arn=f"arn:aws:ecs:eu-central-1:{account}:task-definition/shop-{environment}-{service}:{number}",
        image=f"{account}.dkr.ecr.eu-central-1.amazonaws.com/shop/{service}@{digest(seed)}",
        deployment_state="COMPLETED",
        running_count=2,
        desired_count=2,
        release_id=f"20260701T070000Z-{sha(seed)[:6]}",
        commit=sha(seed),
        released_at=ago(hours=5, minutes=7),
        standing=Standing.RELEASED,
        declared_count=2,
        last_verdict=Verdict.SUCCEEDED,
        last_at=ago(hours=5, minutes=6),
    )
    return replace(whole, **more)


def gate(source: str, target: str, service: str, *rows: Row, number: int = 41, **more: Any) -> Gate:
    titles = (
        "path",
        "verdict",
        "image",
        "healthy now",
        "soaked",
        "branch",
        "in the registry",
        "tag in the target",
        "as orch left it",
        "no other rollout",
        "freeze",
        "lock",
    )
    shut = {row.title for row in rows}
    seed = f"{service}{number}"
    return Gate(
        source,
        target,
        service,
        digest(seed),
        f"20260701T070000Z-{sha(seed)[:6]}",
        sha(seed),
        (
            *(Row(title, title, State.OPEN, f"{title} is well") for title in titles if title not in shut),
            *rows,
        ),
        **more,
    )


SOAK = Row(
    "soak",
    "soaked",
    State.WAITS,
    "18 min of 30 min in staging: opens in 12 min, at 2026-07-01 12:12 UTC",
    "wait with --wait",
    NOW + timedelta(minutes=12),
)
FAILED = Row(
    "verdict",
    "verdict",
    State.SHUT,
    "ECS rolled shop-staging-jobs:43 back in staging: what runs is an older release",
    "release a good one to staging first, or name the one that runs: --release 20260701T070000Z-0a1b2c",
)
LOCKED = Row(
    "lock",
    "lock",
    State.WAITS,
    "prod is locked by orch lock of alice@laptop, since 2026-07-01 10:22:05 UTC: the database moves",
    "wait, or ask the holder: `orch locks --env prod`",
)
LOCK = Lock(
    "prod",
    LockKind.MANUAL,
    "4f",
    None,
    person="alice@laptop",
    command="lock",
    acquired_at="2026-07-01 10:22:05 UTC",
    reason="the database moves",
)


def release(number: int, environment: str, service: str, **more: Any) -> ReleaseRecord:
    seed = f"{service}{number}"
    arn = f"arn:aws:ecs:eu-central-1:111111111111:task-definition/shop-{environment}-{service}"
    began = NOW - timedelta(hours=5 * number + 1)
    done = Release(
        id=f"{began:%Y%m%dT%H%M%SZ}-{sha(seed)[:6]}",
        environment=environment,
        service=service,
        account_id=ACCOUNTS[0],
        region="eu-central-1",
        image=Image(f"111111111111.dkr.ecr.eu-central-1.amazonaws.com/shop/{service}", digest(seed)),
        commit=sha(seed),
        revision_arn=f"{arn}:{60 - number}",
        verdict=Verdict.SUCCEEDED,
        reason="",
        running_count=2,
        desired_count=2,
        actor="arn:aws:sts::111111111111:assumed-role/shop-dev-deploy/github-1234",
        started_at=began.isoformat(),
        durations_s={"image": 31.0, "rollout": 65.5},
        replaced=Replaced(f"{arn}:{59 - number}", digest("old"), sha("old")),
        run_url="https://github.com/acme/shop/actions/runs/1234567890",
    )
    return ReleaseRecord(
        began.isoformat(), (began + timedelta(seconds=97)).isoformat(), replace(done, **more)
    )


def trend(environment: str, *, every: float = 31.0, count: int = 70) -> Trend:
    """Releases some hours apart, of which a few failed."""
    briefs = []
    for number in range(count):
        began = NOW - timedelta(hours=every * number + 3)
        is_bad = number % 7 == 4
        briefs.append(
            ReleaseBrief(
                environment,
                "web",
                f"r{number}",
                began,
                began + timedelta(minutes=2),
                Verdict.ROLLED_BACK if is_bad else Verdict.SUCCEEDED,
                is_rollback=False,
                commit=f"{number:08x}",
                committed_at=began - timedelta(hours=1 + number * 7 % 19),
            )
        )
    since = datetime(2026, 4, 13, tzinfo=UTC)
    (whole,) = (
        one
        for one in dora.measure(briefs, since=NOW - timedelta(days=30), until=NOW, environments=[environment])
        if not one.service
    )
    weeks = dora.series(briefs, since=since, until=NOW, step=dora.Step.WEEK, environments=[environment])
    return Trend(environment, whole, tuple(one for one in weeks if not one.service))


def small() -> Overview:
    """Four environments and three services, with one of each that there is to see."""
    dev = Place(
        "dev",
        ACCOUNTS[0],
        "eu-central-1",
        (
            status("dev", "web", 44, standing=Standing.ROLLING_OUT, running_count=1, released_at=""),
            status("dev", "jobs", 43),
            status("dev", "mail", 12, last_verdict=None, last_at=""),
        ),
        drift={"web": (), "jobs": ("desired count 3, in Terraform 2",), "mail": ()},
        terraform_drift=DriftRecord(
            "dev was changed outside Terraform (#12)", "https://github.com/acme/shop/issues/12"
        ),
    )
    staging = Place(
        "staging",
        ACCOUNTS[1],
        "eu-central-1",
        (
            status("staging", "web", 43),
            status(
                "staging",
                "jobs",
                42,
                last_verdict=Verdict.ROLLED_BACK,
                last_reason=REASON,
                last_at=ago(minutes=40),
            ),
        ),
    )
    prod = Place(
        "prod",
        ACCOUNTS[2],
        "eu-west-1",
        (
            status("prod", "web", 41, running_count=1, released_at=ago(days=3)),
            status("prod", "jobs", 42, released_at=ago(days=9)),
            status("prod", "mail", 7, standing=Standing.NEW, image="", commit="", last_verdict=None),
        ),
        lock=LOCK,
        freezes=("weekend until 2026-07-06 06:00 Europe/Berlin",),
        drift={"mail": ("it runs shop-prod-mail:7, which orch did not register",)},
        is_protected=True,
    )
    backup = Place(
        "backup",
        ACCOUNTS[3],
        "eu-north-1",
        troubles=(
            Trouble(
                "sts:GetCallerIdentity failed: the security token included in the request is expired",
                "log in again: aws sso login",
                1,
            ),
        ),
    )
    crossings = (
        Crossing(
            "dev", "staging", (gate("dev", "staging", "web", number=44), gate("dev", "staging", "jobs"))
        ),
        Crossing(
            "staging",
            "prod",
            (
                gate("staging", "prod", "web", SOAK, LOCKED, number=43),
                gate("staging", "prod", "jobs", FAILED, number=42),
                gate("staging", "prod", "mail", number=7, is_carried=True),
            ),
        ),
        Crossing("prod", "backup", trouble=Trouble("backup: it cannot be read")),
    )
    releases = (
        release(0, "staging", "jobs", verdict=Verdict.ROLLED_BACK, reason=REASON),
        release(1, "staging", "web", promoted_from=PromotedFrom("dev", "20260701T040000Z-a1b2c3")),
        release(2, "prod", "web", overrides=(Override("freeze", "the login is broken"),)),
        *(
            release(number, ("dev", "staging")[number % 2], ("web", "jobs")[number % 3 > 1])
            for number in range(3, 20)
        ),
    )
    places = (dev, staging, prod, backup)
    titles = {
        sha("web44"): "Show the basket while it loads",
        sha("web43"): "Send one e-mail for each order, not two",
        sha("jobs42"): "Retry the import when the supplier answers 503",
    }
    trends = (
        trend("dev", every=17, count=120),
        trend("staging"),
        trend("prod", every=90, count=30),
        trend("new", count=0),
    )
    return Overview(
        "shop",
        NOW,
        ("web", "jobs", "mail"),
        places,
        crossings,
        releases,
        trends,
        titles,
        "https://github.com/acme/shop/commit/",
    )


def large() -> Overview:
    """Ten services in four environments; every gate has something in its way."""
    names = ("dev", "test", "staging", "prod")
    services = tuple(f"a-service-of-some-length-{number:02d}" for number in range(10))
    places = tuple(
        Place(
            name,
            ACCOUNTS[0],
            "eu-central-1",
            tuple(
                status(name, service, last_verdict=Verdict.ROLLED_BACK, last_reason=REASON)
                for service in services
            ),
            LOCK,
            ("holidays until 2026-07-06 06:00 Europe/Berlin",),
            dict.fromkeys(services, ("desired count 3, in Terraform 2",)),
        )
        for name in names
    )
    crossings = tuple(
        Crossing(
            source, target, tuple(gate(source, target, service, SOAK, FAILED, LOCKED) for service in services)
        )
        for source, target in itertools.pairwise(names)
    )
    releases = tuple(
        release(number, names[number % 4], services[number % 10], verdict=Verdict.FAILED, reason=REASON)
        for number in range(20)
    )
    titles = {sha(f"{service}41"): "A title of a commit, about as long as titles are" for service in services}
    return Overview(
        "shop",
        NOW,
        services,
        places,
        crossings,
        releases,
        tuple(trend(name) for name in names),
        titles,
        "https://github.com/acme/shop/commit/",
    )


_KEPT = {
    "region",
    "at",
    "since",
    "until",
    "recorded_at",
    "released_at",
    "began_at",
    "last_at",
    "started_at",
    "revision_arn",
}


def hostile(words: str) -> Overview:
    """The small one, with these words behind every text that others write."""
    return _with(small(), words)


def _with(value: Any, words: str, name: str = "") -> Any:
    if is_dataclass(value) and not isinstance(value, (dora.Metrics, dora.Spread)):
        return replace(
            value,
            **{
                one.name: _with(getattr(value, one.name), words, one.name)
                for one in fields(value)
                if one.init
            },
        )
    if isinstance(value, tuple):
        return tuple(_with(one, words, name) for one in value)
    if isinstance(value, dict):
        return {
            (key if name in {"titles", "durations_s"} else _with(key, words)): _with(one, words)
            for key, one in value.items()
        }
    if type(value) is str and value and name not in _KEPT:
        return f"{value} {words}"
    return value
