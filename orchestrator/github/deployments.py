"""GitHub's deployments: one for each environment and commit that orch ships, and its statuses, which a repository's page shows.

Hides which deployments are orch's, and what GitHub does not do by itself. Touches: the deployments of one environment that orch
made (their payload has a key `orch`), through `api`. Others, such as those that GitHub Actions makes for each job with an
`environment:`, are left alone. GitHub creates an environment that does not exist, without protection: see `repository`.

Sources: docs.github.com/rest, "Deployments" and "Deployment statuses":

- `auto_merge` is on by default and would merge the default branch into what is shipped; `required_contexts` would refuse a
  commit with a check that has not passed, such as the very run that deploys. What may be shipped is decided elsewhere.
- `auto_inactive` retires "all prior non-transient, non-production" deployments that had succeeded. So of a production
  environment, and where a rollback made an older deployment the current one, the others are retired here.
- A description has at most 140 characters.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orchestrator.github.api import Patience

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from orchestrator.github.api import Api

_TASK = "deploy"
_DESCRIPTION_CHARACTERS = 140
# Others than the last ones were retired when their successors succeeded.
_LOOKED_BACK = 10
# docs.github.com, "Permissions required for fine-grained personal access tokens".
_READ = "Deployments: read"
_WRITE = "Deployments: write (in a workflow, `permissions: deployments: write`)"


class State(enum.StrEnum):
    """The states of a deployment that orch sets, as GitHub calls them."""

    IN_PROGRESS = "in_progress"
    SUCCESS = "success"
    FAILURE = "failure"
    INACTIVE = "inactive"


@dataclass(frozen=True)
class Deployment:
    """`release` is the id of the release of orch that made it; a later release of the same commit finds it."""

    id: int
    environment: str
    commit: str
    release: str
    is_production: bool


def start(
    connection: Api,
    environment: str,
    commit: str,
    *,
    release: str,
    is_production: bool,
    is_transient: bool = False,
    log_url: str = "",
    description: str = "",
    patience: Patience | None = None,
) -> Deployment:
    """The deployment of the commit, created where orch has made none yet, and in progress now. May be repeated.

    `commit` is the whole SHA; `log_url` leads to the run. Raises GitHubError.
    """
    patience = patience or Patience()
    found = find(connection, environment, commit, patience=patience)
    if found is None:
        body = {
            "ref": commit,
            "task": _TASK,
            "environment": environment,
            "description": _shortened(description),
            "auto_merge": False,
            "required_contexts": [],
            "production_environment": is_production,
            "transient_environment": is_transient,
            "payload": {"orch": {"release": release}},
        }
        answer = connection.create(
            "/deployments",
            body,
            lambda: next(_answers(connection, environment, commit, patience), None),
            permission=_WRITE,
            patience=patience,
        )
        found = _deployment(answer)
        if found is None:
            raise connection.unexpected("POST /deployments", 201, "this is not the deployment that was sent")
    report(connection, found, State.IN_PROGRESS, log_url=log_url, description=description, patience=patience)
    return found


def find(
    connection: Api, environment: str, commit: str, *, patience: Patience | None = None
) -> Deployment | None:
    """The newest deployment of the commit to the environment that orch made. Raises GitHubError."""
    for answer in _answers(connection, environment, commit, patience or Patience()):
        return _deployment(answer)
    return None


def report(
    connection: Api,
    deployment: Deployment,
    state: State,
    *,
    log_url: str = "",
    environment_url: str = "",
    description: str = "",
    patience: Patience | None = None,
) -> bool:
    """Sets the state, and retires the environment's other deployments once this one succeeded. False when it was set
    before, in the same words. Raises GitHubError.
    """
    patience = patience or Patience()
    body = {
        "state": state.value,
        "log_url": log_url,
        "environment_url": environment_url,
        "description": _shortened(description),
        "auto_inactive": state is State.SUCCESS,
    }
    last = _last_status(connection, deployment.id, patience)
    told = ("state", "log_url", "environment_url", "description")
    is_new = last is None or any((last.get(key) or "") != body[key] for key in told)
    if is_new:
        path = f"/deployments/{deployment.id}/statuses"
        connection.write("POST", path, body, permission=_WRITE, patience=patience)
    if state is State.SUCCESS:
        _retire_others(connection, deployment, patience)
    return is_new


def _retire_others(connection: Api, current: Deployment, patience: Patience) -> None:
    listed = _answers(connection, current.environment, "", patience)
    for _, answer in zip(range(_LOOKED_BACK), listed, strict=False):
        other = _deployment(answer)
        if other is None or other.id == current.id:
            continue
        is_older = other.id < current.id
        if is_older and not other.is_production:
            # `auto_inactive` does it.
            return
        state = (_last_status(connection, other.id, patience) or {}).get("state")
        if state == State.SUCCESS:
            body = {"state": State.INACTIVE.value}
            connection.write(
                "POST",
                f"/deployments/{other.id}/statuses",
                body,
                permission=_WRITE,
                patience=patience,
            )
        elif is_older and state == State.INACTIVE:
            return


def _answers(connection: Api, environment: str, commit: str, patience: Patience) -> Iterator[dict[str, Any]]:
    """The environment's deployments that orch made, of one commit or of all. GitHub lists the newest first, without saying so."""
    query = {"environment": environment, "task": _TASK, **({"sha": commit} if commit else {})}
    for answer in connection.listed("/deployments", query=query, permission=_READ, patience=patience):
        found = _deployment(answer)
        if found is not None and found.environment == environment and commit in {"", found.commit}:
            yield answer


def _deployment(answer: Mapping[str, Any]) -> Deployment | None:
    """None for one that orch did not make."""
    match answer:
        case {
            "id": int(number),
            "environment": str(environment),
            "sha": str(commit),
            "payload": {"orch": {"release": str(release)}},
        }:
            is_production = answer.get("production_environment") is True
            return Deployment(number, environment, commit, release, is_production)
        case _:
            return None


def _last_status(connection: Api, number: int, patience: Patience) -> dict[str, Any] | None:
    path = f"/deployments/{number}/statuses"
    statuses = list(connection.listed(path, permission=_READ, patience=patience))
    for status in statuses:
        if not isinstance(status.get("id"), int):
            raise connection.unexpected(f"GET {path}", 200, "a status has no id")
    return max(statuses, key=lambda status: int(status["id"]), default=None)


def _shortened(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _DESCRIPTION_CHARACTERS else f"{line[: _DESCRIPTION_CHARACTERS - 1]}…"
