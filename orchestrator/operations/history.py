"""`orch history --env NAME`: the releases on record, the newest first.

Comes in: an environment, a service or none, how many. Goes out: that many ReleaseRecords. May touch: reads of the store alone, no
state and no ECS. The keys of records count down, so what it costs does not grow with what there is: one listing for the newest
1,000, and one read for each record that is shown.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from orchestrator import aws, store
from orchestrator.errors import AwsError, PreconditionError
from orchestrator.events import Warned
from orchestrator.permissions import Role

if TYPE_CHECKING:
    from orchestrator.aws import Aws
    from orchestrator.events import Steps
    from orchestrator.model import ReleaseRecord
    from orchestrator.settings import Environment


def history(
    environment: Environment, *, service: str, limit: int, session: Aws, steps: Steps
) -> tuple[ReleaseRecord, ...]:
    """The newest `limit` records of the environment, or of one of its services. Raises PreconditionError for credentials of
    another account and without a state bucket, AwsError.
    """
    aws.require_account(session.identity(), account_id=environment.account_id, environment=environment.name)
    unread: list[str] = []
    try:
        found = tuple(
            itertools.islice(
                store.releases(
                    session.acting_as(Role.DEPLOY).s3,
                    environment.state_bucket,
                    environment=environment.name,
                    account_id=environment.account_id,
                    service=service,
                    skipped=unread.append,
                ),
                limit,
            )
        )
    except AwsError as error:
        if error.code != "NoSuchBucket":
            raise
        raise PreconditionError(
            f"there is no state bucket {environment.state_bucket}, and so no history",
            hint=f"`orch bootstrap --env {environment.name}` creates it",
        ) from error
    if unread:
        steps.emit(
            Warned(
                f"{len(unread)} of the records cannot be read by this orch and are left out",
                f"the first is s3://{environment.state_bucket}/{unread[0]}",
            )
        )
    return found
