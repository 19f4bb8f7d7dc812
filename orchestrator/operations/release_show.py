"""`orch release show ID`: everything on record of one release.

Comes in: environments, and an id, or how it or its last part begins. Goes out: one ReleaseRecord. May touch: reads of the store alone:
a listing for 1,000 releases of each environment, whose keys hold the ids, and one read.
"""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING

from orchestrator import store
from orchestrator.errors import PreconditionError
from orchestrator.events import Warned
from orchestrator.operations.history import ask_all, reading

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestrator.model import ReleaseRecord
    from orchestrator.operations.plan_all import Ready
    from orchestrator.store import Listed

_WHOLE = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{6}")
_NEAR = 5
# Below this, ids have no more in common than their form.
_LIKENESS = 0.75


def show(ready: Sequence[Ready], wanted: str) -> ReleaseRecord:
    """The record of the one release whose id begins like that, or the part of it behind the hyphen. Raises PreconditionError when
    there is none or several, or when it cannot be read, and AwsError. An environment that cannot be asked is told, and hides no
    other.
    """
    answers = ask_all(ready, lambda one: (one, _listed(one, wanted)))
    for error in answers.errors:
        ready[0].steps.emit(Warned(f"not looked for everywhere: {error.message}", error.hint))
    if not answers.found:
        raise answers.errors[0]
    found = [(one, item) for one, items in answers.found for item in items if matches(item.id, wanted)]
    ids = {item.id for _one, item in found}
    if len(ids) > 1:
        raise PreconditionError(
            f"{len(ids)} releases have an id that begins with {wanted}",
            details=tuple(_line(one, item) for one, item in found[:_NEAR]),
            hint="give more of the id",
        )
    if not found:
        raise _unknown(wanted, [(one, item) for one, items in answers.found for item in items])
    # Of several records of one release, the newest comes first.
    one, item = found[0]
    with reading(one.environment, one.session) as s3:
        record = store.read(s3, one.environment.state_bucket, item, account_id=one.environment.account_id)
    if record is None:
        raise PreconditionError(
            f"the record of release {item.id} cannot be read by this orch",
            hint=f"it is s3://{one.environment.state_bucket}/{item.key}",
        )
    return record


def matches(release_id: str, wanted: str) -> bool:
    """Whether a release is meant by the beginning of its id, or of the part behind the hyphen. Pure."""
    return release_id.startswith(wanted) or release_id.rpartition("-")[2].startswith(wanted)


def _listed(one: Ready, wanted: str) -> tuple[Listed, ...]:
    """The environment's releases, the newest first; none older than the one that is wanted, where its whole id was given."""
    items = []
    with reading(one.environment, one.session) as s3:
        for item in store.listed(
            s3,
            one.environment.state_bucket,
            environment=one.environment.name,
            account_id=one.environment.account_id,
        ):
            if item.id:
                items.append(item)
            if item.id == wanted and _WHOLE.fullmatch(wanted):
                break
    return tuple(items)


def _unknown(wanted: str, every: Sequence[tuple[Ready, Listed]]) -> PreconditionError:
    # By whole ids where a whole one was meant, else by what stands behind the hyphen.
    by_id = {
        item.id if "-" in wanted else item.id.rpartition("-")[2]: (one, item) for one, item in reversed(every)
    }
    near = difflib.get_close_matches(wanted, by_id, n=_NEAR, cutoff=_LIKENESS)
    return PreconditionError(
        f"no release {wanted} is on record",
        details=tuple(f"there is {_line(*by_id[one])}" for one in near),
        hint="`orch history` shows the newest",
    )


def _line(one: Ready, item: Listed) -> str:
    return f"{item.id} of {item.service or 'a service'} in {one.environment.name}"
