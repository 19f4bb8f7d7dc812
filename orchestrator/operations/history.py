"""`orch history`: the releases on record, of one environment or of all, the newest first.

Comes in: environments, a service or none, how many. Goes out: that many ReleaseRecords. May touch: reads of the store alone, no
state and no ECS. The keys of records count down, so what it costs does not grow with what there is: for each environment one
listing, and one read for each record that is shown, side by side.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from orchestrator import aws, store
from orchestrator.errors import AwsError, OrchError, PreconditionError
from orchestrator.events import Warned
from orchestrator.permissions import Role

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from mypy_boto3_s3 import S3Client

    from orchestrator.aws import Aws
    from orchestrator.events import Steps
    from orchestrator.model import ReleaseRecord
    from orchestrator.operations.plan_all import Ready
    from orchestrator.settings import Environment

_ENVIRONMENTS_AT_ONCE = 8
_Found = TypeVar("_Found")


@dataclass(frozen=True)
class Answers(Generic[_Found]):
    """What each environment answered, in their order, and the errors of those that did not."""

    found: tuple[_Found, ...]
    errors: tuple[OrchError, ...]


def history(
    environment: Environment, *, service: str, limit: int, session: Aws, steps: Steps
) -> tuple[ReleaseRecord, ...]:
    """The newest `limit` records of the environment, or of one of its services. Raises PreconditionError for credentials of
    another account and without a state bucket, AwsError.
    """
    unread: list[str] = []
    with reading(environment, session) as s3:
        found = store.newest(
            s3,
            environment.state_bucket,
            environment=environment.name,
            account_id=environment.account_id,
            limit=limit,
            service=service,
            skipped=unread.append,
        )
    tell_unread(unread, environment, steps)
    return found


def history_of_all(ready: Sequence[Ready], *, service: str, limit: int) -> Answers[ReleaseRecord]:
    """The newest `limit` records of all these environments together; one that cannot be read hides no other."""
    answers = ask_all(
        ready,
        lambda one: history(
            one.environment, service=service, limit=limit, session=one.session, steps=one.steps
        ),
    )
    merged = sorted(
        (record for records in answers.found for record in records),
        key=lambda record: record.began_at,
        reverse=True,
    )
    return Answers(tuple(merged[:limit]), answers.errors)


@contextmanager
def reading(environment: Environment, session: Aws) -> Iterator[S3Client]:
    """The client to read an environment's records with. Raises PreconditionError for credentials of another account, and, from
    inside, without a state bucket.
    """
    session = session.acting_as(Role.DEPLOY)
    aws.require_account(session.identity(), account_id=environment.account_id, environment=environment.name)
    try:
        yield session.s3
    except AwsError as error:
        if error.code != "NoSuchBucket":
            raise
        raise PreconditionError(
            f"there is no state bucket {environment.state_bucket}, and so no history",
            hint=f"`orch bootstrap --env {environment.name}` creates it",
        ) from error


def tell_unread(keys: Sequence[str], environment: Environment, steps: Steps) -> None:
    """Warns of what is no record that this orch can read."""
    if keys:
        steps.emit(
            Warned(
                f"{len(keys)} of the records cannot be read by this orch and are left out",
                f"the first is s3://{environment.state_bucket}/{keys[0]}",
            )
        )


def ask_all(ready: Sequence[Ready], ask: Callable[[Ready], _Found]) -> Answers[_Found]:
    """Asks environments side by side."""
    found: list[_Found] = []
    errors: list[OrchError] = []
    with ThreadPoolExecutor(min(_ENVIRONMENTS_AT_ONCE, len(ready)) or 1) as pool:
        for future in [pool.submit(ask, one) for one in ready]:
            try:
                found.append(future.result())
            except OrchError as error:
                errors.append(error)
    return Answers(tuple(found), tuple(errors))
