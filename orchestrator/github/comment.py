"""The one comment of orch on a pull request, found by a hidden marker at its start, written and edited in place.

Hides how it is found again, retries, and that several jobs may write into it at the same time. Touches: the comments of that
pull request that the token's own account wrote and that start with the marker, through `api`.

Whose comment it is. Anybody may write a comment that starts with the marker; if orch edited that one, its author could
change what orch said. So a comment counts only if the token's own account wrote it (`Api.viewer`). Where the token may not be
asked, it must be a GitHub App's, and then a bot has to have written it: that shuts out people, not other bots that repeat
what people say. Of several, the oldest counts. After a change of the token's account, orch writes a new comment.

Writing at the same time. GitHub has no conditional update: "Conditional requests for unsafe methods, such as POST, PUT, PATCH,
and DELETE are not supported unless otherwise noted" (docs.github.com/rest, "Best practices for using the REST API", Use
conditional requests if appropriate), and "Update an issue comment" notes nothing of the kind; an ETag helps reading alone.
Hence `update` reads, merges and writes at once, waits until whoever had read before it has written as well, and reads
again: what is missing is merged in again. A failed write also starts over with reading, since time has passed. Two jobs may
both find no comment and create one; "issue comments are ordered by ascending ID", so both take the first for the
comment, move theirs into it, and the other is deleted.

Limits: a body has at most 65,536 characters; for more GitHub answers 422, which is `BodyTooLongError` here. A write that GitHub
delays by more than `SETTLE_S` after its reader read can still be lost; nobody can tell from outside.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from random import SystemRandom
from typing import TYPE_CHECKING, Any

from orchestrator.errors import GitHubError
from orchestrator.github.api import BodyTooLongError, PassingError, Patience, is_viewer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from orchestrator.github.api import Api, Viewer

__all__ = [
    "BODY_LIMIT",
    "BodyTooLongError",
    "Comment",
    "Outcome",
    "Written",
    "find",
    "is_same",
    "update",
    "upsert",
]

BODY_LIMIT = 65_536
# Longer than a job needs from its last look at the comment to the end of its write.
SETTLE_S = 2.0
_ATTEMPTS = 10
# docs.github.com/rest, "Issue comments": either permission will do for a pull request.
_READ = "Pull requests: read, or Issues: read"
_WRITE = "Pull requests: write (in a workflow, `permissions: pull-requests: write`), or Issues: write"


class Outcome(enum.StrEnum):
    """What a call did to the comment."""

    CREATED = "created"
    EDITED = "edited"
    UNCHANGED = "unchanged"


@dataclass(frozen=True)
class Comment:
    id: int
    body: str
    url: str
    author: str


@dataclass(frozen=True)
class Written:
    comment: Comment
    outcome: Outcome


def find(
    connection: Api, pull_request: int, marker: str, *, patience: Patience | None = None
) -> Comment | None:
    """Our comment whose body starts with the marker. Raises GitHubError."""
    patience = patience or Patience()
    viewer = connection.viewer(patience=patience)
    return next(iter(_ours(connection, pull_request, marker, viewer, patience)), None)


def upsert(
    connection: Api, pull_request: int, marker: str, body: str, *, patience: Patience | None = None
) -> Written:
    """Creates our comment, or edits it in place; an equal one is not written. For a comment with one writer at a time.

    Raises BodyTooLongError, for a caller to say it shorter, and GitHubError.
    """
    return update(connection, pull_request, marker, lambda _: body, settle_s=0, patience=patience)


def update(
    connection: Api,
    pull_request: int,
    marker: str,
    change: Callable[[str], str],
    *,
    settle_s: float = SETTLE_S,
    patience: Patience | None = None,
) -> Written:
    """Brings our comment to what `change` makes of it, and sees to it that this stays although other jobs write too.

    `change` gets the body, "" where there is no comment, and returns one that starts with the marker. It is asked again
    whenever the comment was read again, and must leave alone what already holds its part. Raises BodyTooLongError, GitHubError.
    """
    patience = patience or Patience()
    viewer = connection.viewer(patience=patience)
    outcome = Outcome.UNCHANGED
    made: int | None = None
    writes = 0
    while True:
        found = _ours(connection, pull_request, marker, viewer, patience)
        if not found and made is not None:
            # GitHub may answer a list from before the comment; a second one must not come of that.
            found = _by_id(connection, made, patience)
        now = found[0] if found else None
        body = change(now.body if now else "")
        if not body.startswith(marker):
            raise ValueError(f"the comment would not be found again: it does not start with {marker!r}")
        if now is not None and is_same(now.body, body):
            _remove(connection, found[1:], viewer, patience)
            is_another = outcome is Outcome.CREATED and made not in {None, now.id}
            return Written(now, Outcome.EDITED if is_another else outcome)
        if writes == _ATTEMPTS:
            raise _contended(connection, pull_request, writes)
        if outcome is Outcome.UNCHANGED:
            outcome = Outcome.CREATED if now is None else Outcome.EDITED
        try:
            if now is None:
                made = _created(connection, pull_request, body, patience)
            else:
                _edit(connection, now, body, patience)
        except PassingError as error:
            patience.wait(error)
            continue
        writes += 1
        if settle_s:
            # Jobs that wait equally long would go on colliding.
            patience.pause(settle_s * SystemRandom().uniform(1, 1.5))


def _ours(
    connection: Api, pull_request: int, marker: str, viewer: Viewer | None, patience: Patience
) -> tuple[Comment, ...]:
    """Our comments with the marker, the oldest first."""
    path = f"/issues/{pull_request}/comments"
    found = []
    for item in connection.listed(path, permission=_READ, patience=patience):
        body = item.get("body")
        if isinstance(body, str) and body.startswith(marker) and is_viewer(item.get("user"), viewer):
            found.append(_comment(connection, f"GET {path}", item))
    return tuple(sorted(found, key=lambda comment: comment.id))


def _by_id(connection: Api, number: int, patience: Patience) -> tuple[Comment, ...]:
    path = f"/issues/comments/{number}"
    try:
        answer = connection.get(path, permission=_READ, patience=patience)
    except GitHubError as error:
        if error.status != 404:
            raise
        return ()
    return (_comment(connection, f"GET {path}", answer),)


def _created(connection: Api, pull_request: int, body: str, patience: Patience) -> int:
    path = f"/issues/{pull_request}/comments"
    answer = connection.write(
        "POST", path, {"body": body}, permission=_WRITE, patience=patience, is_repeatable=False
    )
    return _comment(connection, f"POST {path}", answer).id


def _edit(connection: Api, comment: Comment, body: str, patience: Patience) -> None:
    """Not repeated by itself: until then the comment may have changed. One that is gone is left for the next look."""
    try:
        connection.write(
            "PATCH",
            f"/issues/comments/{comment.id}",
            {"body": body},
            permission=_WRITE,
            patience=patience,
            is_repeatable=False,
        )
    except GitHubError as error:
        # 404 also stands for 403, where the comment is still there.
        if error.status != 404 or _by_id(connection, comment.id, patience):
            raise


def _remove(
    connection: Api, comments: tuple[Comment, ...], viewer: Viewer | None, patience: Patience
) -> None:
    """Deletes ours beside the first. Whoever wrote one moves it into the first, so nothing is lost. Where nobody tells whose
    they are, they stay.
    """
    if viewer is None:
        return
    for comment in comments:
        path = f"/issues/comments/{comment.id}"
        connection.send("DELETE", path, permission=_WRITE, accepted={404}, patience=patience)


def is_same(old: str, new: str) -> bool:
    """Without regard to what is not seen: someone's editor may have changed the ends of lines, and GitHub those of the text."""
    return old.replace("\r\n", "\n").strip() == new.replace("\r\n", "\n").strip()


def _comment(connection: Api, call: str, answer: Mapping[str, Any]) -> Comment:
    match answer:
        case {"id": int(number), "body": str(body), "html_url": str(url), "user": {"login": str(author)}}:
            return Comment(number, body, url, author)
        case _:
            raise connection.unexpected(call, 200, "a comment has no id, body, URL or author")


def _contended(connection: Api, pull_request: int, writes: int) -> GitHubError:
    return GitHubError(
        f"the comment on pull request {pull_request} of {connection.repository} was written {writes} times, and each time"
        " something else replaced it",
        endpoint=f"PATCH /repos/{connection.repository}/issues/comments",
        hint="look for another program that edits the comment with the same account; then run it again",
    )
