"""One issue for each environment that has drifted: opened, kept up to date, closed, and opened again. May be repeated.

Hides how the issue is found again. Touches: the issues with the label that the token's own account wrote and whose body
starts with the environment's hidden marker, and that label, through `api`. A title is for people, who may change it; a
marker alone can be copied by anyone into an issue of their own, whose text they could then change afterwards: see `comment`.
Whoever takes the label off an issue takes it from orch, which then opens another.

Sources: docs.github.com/rest, "Issues" (lists hold pull requests too; 410 where issues are switched off; labels of those who may
not push are dropped silently) and "Labels".
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from orchestrator.errors import GitHubError, SettingsError
from orchestrator.github.api import Patience, is_viewer
from orchestrator.github.comment import is_same

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from orchestrator.github.api import Api, Viewer

LABEL = "orch-drift"
_LABEL_COLOR = "d93f0b"
_LABEL_DESCRIPTION = "What Terraform describes and what is there differ"
_READ = "Issues: read"
_WRITE = "Issues: write (in a workflow, `permissions: issues: write`)"
_SWITCHED_OFF = "switch issues on in the repository's settings (General, Features), or run without --issue"


class Outcome(enum.StrEnum):
    """What a call did to the issue."""

    OPENED = "opened"
    REOPENED = "reopened"
    UPDATED = "updated"
    CLOSED = "closed"
    UNCHANGED = "unchanged"


@dataclass(frozen=True)
class Issue:
    number: int
    title: str
    body: str
    url: str
    is_open: bool


@dataclass(frozen=True)
class Written:
    issue: Issue
    outcome: Outcome


def find(
    connection: Api, environment: str, *, label: str = LABEL, patience: Patience | None = None
) -> Issue | None:
    """The environment's issue: one that is open before one that is closed, and of these the oldest. Raises GitHubError."""
    patience = patience or Patience()
    viewer = connection.viewer(patience=patience)
    answer = _answer(connection, environment, label, viewer, patience)
    return None if answer is None else _issue(connection, "GET /issues", answer)


def keep_open(
    connection: Api,
    environment: str,
    *,
    title: str,
    body: str,
    label: str = LABEL,
    patience: Patience | None = None,
) -> Written:
    """Opens the environment's issue, or brings it up to date and opens it again; an equal one is not written.

    Raises BodyTooLongError, for a caller to say it shorter, and GitHubError.
    """
    patience = patience or Patience()
    viewer = connection.viewer(patience=patience)
    body = f"{_marker(environment)}\n{body}"
    answer = _answer(connection, environment, label, viewer, patience)
    if answer is None:
        _require_label(connection, label, patience)
        asked = {"title": title, "body": body, "labels": [label]}
        answer = _created(
            connection,
            asked,
            lambda: _answer(connection, environment, label, viewer, patience),
            patience,
        )
        return Written(_issue(connection, "POST /issues", answer), Outcome.OPENED)
    now = _issue(connection, "GET /issues", answer)
    changes: dict[str, Any] = {}
    if not is_same(now.body, body):
        changes["body"] = body
    if now.title.strip() != title.strip():
        changes["title"] = title
    if not now.is_open:
        changes["state"] = "open"
    return _edited(connection, now, changes, Outcome.UPDATED if now.is_open else Outcome.REOPENED, patience)


def close(
    connection: Api,
    environment: str,
    *,
    body: str = "",
    label: str = LABEL,
    patience: Patience | None = None,
) -> Written | None:
    """Closes the environment's issue, with a last body where one is given. None where it has none. Raises GitHubError."""
    patience = patience or Patience()
    now = find(connection, environment, label=label, patience=patience)
    if now is None:
        return None
    if not now.is_open:
        return Written(now, Outcome.UNCHANGED)
    changes: dict[str, Any] = {"state": "closed", "state_reason": "completed"}
    if body:
        changes["body"] = f"{_marker(environment)}\n{body}"
    return _edited(connection, now, changes, Outcome.CLOSED, patience)


def _marker(environment: str) -> str:
    # Quoted, so that no name ends the comment.
    return f"<!-- orch:drift {quote(environment, safe='')} -->"


def _answer(
    connection: Api, environment: str, label: str, viewer: Viewer | None, patience: Patience
) -> dict[str, Any] | None:
    # `labels` is a list with commas between, and has no way to quote one.
    if "," in label:
        raise SettingsError(
            f"`{label}` cannot be the label of an issue: GitHub cannot look for one with a comma"
        )
    query = {"labels": label, "state": "all", "sort": "created", "direction": "asc"}
    marker = _marker(environment)
    closed = None
    for answer in connection.listed("/issues", query=query, permission=_READ, patience=patience):
        body = answer.get("body")
        is_ours = isinstance(body, str) and body.startswith(marker) and is_viewer(answer.get("user"), viewer)
        if not is_ours or "pull_request" in answer:
            continue
        if answer.get("state") == "open":
            return answer
        closed = closed or answer
    return closed


def _require_label(connection: Api, label: str, patience: Patience) -> None:
    """Creates the label where it is missing; 422 says that someone did so meanwhile."""
    try:
        connection.get(f"/labels/{quote(label, safe='')}", permission=_READ, patience=patience)
    except GitHubError as error:
        if error.status != 404:
            raise
        body = {"name": label, "color": _LABEL_COLOR, "description": _LABEL_DESCRIPTION}
        connection.send("POST", "/labels", body, permission=_WRITE, accepted={422}, patience=patience)


def _created(
    connection: Api,
    asked: Mapping[str, Any],
    look: Callable[[], dict[str, Any] | None],
    patience: Patience,
) -> dict[str, Any]:
    try:
        return connection.create("/issues", asked, look, permission=_WRITE, patience=patience)
    except GitHubError as error:
        if error.status != 410:
            raise
        raise GitHubError(
            error.message, status=410, endpoint=error.endpoint, hint=_SWITCHED_OFF, details=error.details
        ) from error


def _edited(
    connection: Api, now: Issue, changes: Mapping[str, Any], outcome: Outcome, patience: Patience
) -> Written:
    if not changes:
        return Written(now, Outcome.UNCHANGED)
    path = f"/issues/{now.number}"
    answer = connection.write("PATCH", path, changes, permission=_WRITE, patience=patience)
    return Written(_issue(connection, f"PATCH {path}", answer), outcome)


def _issue(connection: Api, call: str, answer: Mapping[str, Any]) -> Issue:
    match answer:
        case {
            "number": int(number),
            "title": str(title),
            "body": str(body),
            "html_url": str(url),
            "state": str(state),
        }:
            return Issue(number, title, body, url, state == "open")
        case _:
            raise connection.unexpected(call, 200, "an issue has no number, title, body, URL or state")
