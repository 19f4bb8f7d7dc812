"""Release records in the state bucket: append-only, the newest listed first, and told in short by their keys.

    orch/releases/ENV/COUNTDOWN-SERVICE-ID.VERDICT.WAY.COMMIT.COMMITTED.json

S3 lists keys in ascending order, 1,000 a page, and in no other way
(https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html), so the key begins with milliseconds that count down: a page
holds the newest, and a period is a range of keys. The rest of the key is the index: what metrics.py needs of a release is listed
with it, and written with it by the same request, so that no second object has to be kept in step. WAY is `forward` or `back`,
COMMITTED the commit's time in seconds since the epoch; `-` stands for what is not known. Keys of an earlier orch have less, and
those records are read instead.

A record is never written again: S3 refuses the second writer (If-None-Match). A release whose first record left its end open
(TIMED_OUT, UNKNOWN) may get a second one, which then counts. Touches: S3, `orch/releases/` in that bucket alone.
"""

from __future__ import annotations

import itertools
import random
import re
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from orchestrator.aws import translated
from orchestrator.errors import AwsError
from orchestrator.model import ReleaseBrief, ReleaseRecord, Verdict
from orchestrator.store import release_json

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

    from mypy_boto3_s3 import S3Client

    from orchestrator.model import Release

_PREFIX = "orch/releases/"
_KEY_SPAN_MS = 10**14
# Keys of an earlier orch end with the id, and of a still earlier one lack the service.
_KEY = re.compile(
    r"(?P<countdown>\d{14})-(?:(?P<service>[a-z][a-z0-9-]*)-)?(?P<id>\d{8}T\d{6}Z-[0-9a-f]+)"
    r"(?:\.(?P<verdict>[A-Z_]+)\.(?P<way>forward|back)\.(?P<commit>[0-9a-f]+|-)\.(?P<committed>\d+|-))?\.json"
)
_COMMIT = re.compile(r"[0-9a-f]{1,12}")
_UNKNOWN = "-"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_KEYS_A_PAGE = 1000
# Listed beside those that are wanted, for releases with two records and for what is no record.
_SPARE_KEYS = 10
_READS_AT_ONCE = 8
# Records of an earlier orch that are read only to learn whose they are.
_MOST_READ = 50
_NO_OBJECT = frozenset({"404", "NoSuchKey", "NotFound"})
_IS_THERE = frozenset({"412", "PreconditionFailed"})
# "On a 409 failure you should retry": https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObject.html
_CONFLICT = frozenset({"409", "ConditionalRequestConflict", "OperationAborted"})
_CONFLICT_PAUSES_S = (0.1, 0.2, 0.4, 0.8)


@dataclass(frozen=True)
class Listed:
    """A release record as the listing shows it. `service` and `id` are empty, and `brief` None, where its key does not tell."""

    key: str
    began_at: datetime
    recorded_at: datetime
    service: str
    id: str
    brief: ReleaseBrief | None

    @property
    def is_final(self) -> bool:
        return self.brief is None or self.brief.verdict.is_final


def put_release(s3: S3Client, bucket: str, release: Release, *, at: datetime) -> str:
    """Writes the record of a release whose rollout began at that time, and returns its key; that of the record that is there when
    it says already how the release ended. Raises AwsError.
    """
    key, stem = release_key(release, at), f"{_PREFIX}{release.environment}/{_stem(release, at)}."
    request: Any = {"Bucket": bucket, "ExpectedBucketOwner": release.account_id}
    with translated("s3:ListBucket"):
        page = s3.list_objects_v2(**request, Prefix=stem)
    for item in page.get("Contents", ()):
        if (known := _listed(release.environment, item)).is_final:
            return known.key
    pauses = iter(_CONFLICT_PAUSES_S)
    while True:
        try:
            with translated("s3:PutObject"):
                s3.put_object(
                    **request,
                    Key=key,
                    Body=release_json.encode(release),
                    ContentType="application/json",
                    IfNoneMatch="*",
                )
        except AwsError as error:
            if error.code in _IS_THERE:
                return key
            pause_s = next(pauses, None) if error.code in _CONFLICT else None
            if pause_s is None:
                raise
            time.sleep(pause_s * random.uniform(0.5, 1.0))  # noqa: S311 - spreads those who met
        else:
            return key


def release_key(release: Release, at: datetime) -> str:
    """The key of a release's record; one of a later release sorts before one of an earlier release."""
    commit = _COMMIT.match(release.commit)
    committed = _moment(release.committed_at)
    told = (
        _stem(release, at),
        release.verdict.value,
        "back" if release.is_rollback else "forward",
        commit[0] if commit else _UNKNOWN,
        str(int(committed.timestamp())) if committed is not None and committed >= _EPOCH else _UNKNOWN,
        "json",
    )
    return f"{_PREFIX}{release.environment}/{'.'.join(told)}"


def _stem(release: Release, at: datetime) -> str:
    return f"{_countdown(at):014d}-{release.service}-{release.id}"


def listed(
    s3: S3Client,
    bucket: str,
    *,
    environment: str,
    account_id: str,
    since: datetime | None = None,
    until: datetime | None = None,
    page_keys: int = _KEYS_A_PAGE,
) -> Iterator[Listed]:
    """The records of an environment whose rollouts began in [since, until), the newest first, one a release; nothing is read.

    Costs one listing for each page of keys, asked for when it is needed. Raises AwsError.
    """
    request: Any = {
        "Bucket": bucket,
        "Prefix": f"{_PREFIX}{environment}/",
        "ExpectedBucketOwner": account_id,
        "MaxKeys": min(page_keys, _KEYS_A_PAGE),
    }
    if until is not None:
        # After every key that begins with the countdown of `until`: what follows a countdown sorts before the tilde.
        request["StartAfter"] = f"{request['Prefix']}{_countdown(until):014d}~"
    found: Iterator[Listed] = (_listed(environment, item) for item in _items(s3, request))
    if since is not None:
        # What is no record may stand anywhere among them.
        found = itertools.takewhile(lambda one: not one.id or one.began_at >= _in_ms(since), found)
    for _same, several in itertools.groupby(
        found, lambda one: (one.id or one.key, one.began_at, one.service)
    ):
        yield max(several, key=lambda one: (one.is_final, one.recorded_at, one.key))


def releases(
    s3: S3Client,
    bucket: str,
    *,
    environment: str,
    account_id: str,
    service: str = "",
    skipped: Callable[[str], None] = lambda _key: None,
) -> Iterator[ReleaseRecord]:
    """The release records of an environment, or of one of its services, the newest first; each is read when it is asked for.

    Costs one listing for 1,000 records of the environment, and one read for each record of the service: its key says whose it is.
    `skipped` gets the key of what is no record that this orch can read. Raises AwsError.
    """
    for one in listed(s3, bucket, environment=environment, account_id=account_id):
        if service and one.service not in {"", service}:
            continue
        record = read(s3, bucket, one, account_id=account_id)
        if record is None:
            skipped(one.key)
        elif not service or record.release.service == service:
            yield record


def newest(
    s3: S3Client,
    bucket: str,
    *,
    environment: str,
    account_id: str,
    limit: int,
    service: str = "",
    skipped: Callable[[str], None] = lambda _key: None,
) -> tuple[ReleaseRecord, ...]:
    """The first `limit` of `releases`, read side by side, and no other. Raises AwsError."""
    # Those of one service may lie far apart.
    page_keys = _KEYS_A_PAGE if service else limit + _SPARE_KEYS
    everything = listed(s3, bucket, environment=environment, account_id=account_id, page_keys=page_keys)
    wanted = (one for one in everything if not service or one.service in {"", service})
    found: list[ReleaseRecord] = []
    while batch := tuple(itertools.islice(wanted, limit - len(found))):
        for one, record in zip(batch, _read_all(s3, bucket, batch, account_id), strict=True):
            if record is None:
                skipped(one.key)
            elif not service or record.release.service == service:
                found.append(record)
    return tuple(found)


def last_releases(
    s3: S3Client, bucket: str, *, environment: str, account_id: str, services: Collection[str]
) -> dict[str, ReleaseRecord]:
    """The newest record of each of these services, as far as the environment's newest 1,000 hold it: one listing, and one read
    for each. Raises AwsError.
    """
    found: dict[str, ReleaseRecord] = {}
    reads = 0
    everything = listed(s3, bucket, environment=environment, account_id=account_id)
    # To tell whether a release has a second record, one key more is looked at, which is to be of the same page.
    for one in itertools.islice(everything, _KEYS_A_PAGE - 1):
        if one.service and (one.service in found or one.service not in services):
            continue
        if len(found) == len(services) or reads >= _MOST_READ + len(services):
            break
        reads += 1
        record = read(s3, bucket, one, account_id=account_id)
        if record is not None and record.release.service in services:
            found.setdefault(record.release.service, record)
    return found


def briefs(
    s3: S3Client,
    bucket: str,
    *,
    environment: str,
    account_id: str,
    since: datetime,
    until: datetime,
    skipped: Callable[[str], None] = lambda _key: None,
) -> tuple[ReleaseBrief, ...]:
    """The releases of an environment whose rollouts began in [since, until), in short, the newest first.

    Costs one listing for 1,000 of them, and a read for each record of an earlier orch, whose key does not tell. `skipped` gets the
    key of what is no record that this orch can read. Raises AwsError.
    """
    items = tuple(
        listed(s3, bucket, environment=environment, account_id=account_id, since=since, until=until)
    )
    silent = [one for one in items if one.brief is None]
    told = dict(zip((one.key for one in silent), _read_all(s3, bucket, silent, account_id), strict=True))
    found = []
    for one in items:
        record = told.get(one.key)
        brief = one.brief or (_brief(environment, one, record.release) if record is not None else None)
        if brief is None:
            skipped(one.key)
        elif since <= one.began_at < until or one.id:
            # A key that tells no time is listed with every period.
            found.append(brief)
    return tuple(found)


def read(s3: S3Client, bucket: str, one: Listed, *, account_id: str) -> ReleaseRecord | None:
    """One record; None when it is none that this orch can read, or is gone meanwhile. Raises AwsError."""
    try:
        with translated("s3:GetObject"):
            answer = s3.get_object(Bucket=bucket, Key=one.key, ExpectedBucketOwner=account_id)
            content = answer["Body"].read()
    except AwsError as error:
        if error.code in _NO_OBJECT:
            return None
        raise
    try:
        release = release_json.decode(content)
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    return ReleaseRecord(
        one.began_at.isoformat(timespec="seconds"), one.recorded_at.isoformat(timespec="seconds"), release
    )


def _read_all(
    s3: S3Client, bucket: str, items: Sequence[Listed], account_id: str
) -> Iterable[ReleaseRecord | None]:
    """Each record, in their order, a few read at a time."""
    if len(items) < 2:
        return [read(s3, bucket, one, account_id=account_id) for one in items]
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(min(_READS_AT_ONCE, len(items))) as pool:
        return list(pool.map(lambda one: read(s3, bucket, one, account_id=account_id), items))


def _items(s3: S3Client, request: Any) -> Iterator[Any]:
    """The objects of a listing as S3 sorts them, page by page as they are asked for."""
    while True:
        with translated("s3:ListBucket"):
            page = s3.list_objects_v2(**request)
        yield from page.get("Contents", ())
        if not page.get("IsTruncated"):
            return
        request = {**request, "ContinuationToken": page["NextContinuationToken"]}


def _listed(environment: str, item: Any) -> Listed:
    key, recorded_at = item["Key"], item["LastModified"].astimezone(UTC)
    match = _KEY.fullmatch(key.rpartition("/")[2])
    if match is None:
        return Listed(key, recorded_at, recorded_at, "", "", None)
    began_at = _EPOCH + timedelta(milliseconds=_KEY_SPAN_MS - int(match["countdown"]))
    service, release_id = match["service"] or "", match["id"]
    # A verdict of a newer orch is read, and then left out, with the record.
    is_told = service and match["verdict"] in Verdict.__members__
    brief = (
        ReleaseBrief(
            environment,
            service,
            release_id,
            began_at,
            recorded_at,
            Verdict(match["verdict"]),
            is_rollback=match["way"] == "back",
            commit=match["commit"].rstrip(_UNKNOWN),
            committed_at=None
            if match["committed"] == _UNKNOWN
            else _EPOCH + timedelta(seconds=int(match["committed"])),
        )
        if is_told
        else None
    )
    return Listed(key, began_at, recorded_at, service, release_id, brief)


def _brief(environment: str, one: Listed, release: Release) -> ReleaseBrief:
    commit = _COMMIT.match(release.commit)
    return ReleaseBrief(
        environment,
        release.service,
        release.id,
        one.began_at,
        one.recorded_at,
        release.verdict,
        is_rollback=release.is_rollback,
        commit=commit[0] if commit else "",
        committed_at=_moment(release.committed_at),
    )


def _countdown(at: datetime) -> int:
    return _KEY_SPAN_MS - int(at.astimezone(UTC).timestamp() * 1000)


def _in_ms(at: datetime) -> datetime:
    """A time as exact as keys are."""
    return _EPOCH + timedelta(milliseconds=int(at.astimezone(UTC).timestamp() * 1000))


def _moment(at: str) -> datetime | None:
    """An ISO 8601 time with its zone; None for what is none."""
    try:
        moment = datetime.fromisoformat(at)
    except ValueError:
        return None
    return moment.astimezone(UTC) if moment.tzinfo is not None else None
