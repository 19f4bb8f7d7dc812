"""Where a run happens: the repository, pull request, commit and run, from GitHub Actions' variables or from flags.

Hides which of its sources holds which fact for which event. Touches: the event file, which is read; `completed` asks GitHub
for one pull request. What follows of the facts is for the callers.

- Variables: docs.github.com, "Variables reference" (Default environment variables). The job's environment is not among them.
- GITHUB_SHA and GITHUB_REF for each event: "Events that trigger workflows". For `pull_request` GITHUB_SHA is a merge commit that
  is in no branch, for `pull_request_target` one of the base repository, for `issue_comment` and `workflow_run` the default
  branch's last: of these, the event file alone tells the commit, or nothing does, as for `issue_comment`.
- The event file: "Webhook events and payloads". The head of a pull request has `repo: null` once its fork is deleted. A merge
  group may hold several pull requests and names none. A `workflow_run` lists its pull requests, but none from forks: that is
  what GitHub does, without saying so.
- What forks may: "Events that trigger workflows", Workflows in forked repositories, and "Use GITHUB_TOKEN in workflows".
- Where the API is: "Getting started with the REST API for GitHub Enterprise Server" (`/api/v3`) and "GitHub Enterprise Cloud
  with data residency" (`api.SUBDOMAIN.ghe.com`).
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from orchestrator.errors import GitHubError
from orchestrator.github import api
from orchestrator.github.api import API_URL, Api

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.github.api import Patience

SERVER_URL = "https://github.com"
_OF_PULL_REQUESTS = frozenset(
    {"pull_request", "pull_request_target", "pull_request_review", "pull_request_review_comment"}
)
# Of those, `pull_request_target` alone runs with the base repository's rights.
_OF_FORKS_WITHOUT_RIGHTS = _OF_PULL_REQUESTS - {"pull_request_target"}
# Without the event file the commit of these would be a wrong one, not a missing one.
_NEED_THE_FILE = _OF_PULL_REQUESTS | {"issue_comment", "workflow_run"}
_PULL_REQUEST_REF = re.compile(r"refs/pull/([0-9]+)/(?:merge|head)")
# What a push of a new branch has as the commit before it.
_NO_COMMIT = re.compile(r"0+")


@dataclass(frozen=True)
class Context:
    """What is known of the run; "" or None where it is not. `base_commit` is what a pull request, a merge group or a push comes
    on top of; `environment` is the one of a `deployment` event; `run_id` and `run_url` are empty outside of Actions.
    """

    repository: str
    pull_request: int | None
    commit: str
    base_commit: str
    head_repository: str
    is_fork: bool
    event: str
    environment: str
    actor: str
    run_id: str
    run_attempt: int
    run_url: str
    api_url: str
    server_url: str
    is_actions: bool
    summary_path: Path | None
    token: str = field(repr=False)

    @property
    def is_fork_without_rights(self) -> bool:
        """Whether GitHub gives the run a token that cannot write, no secrets and no OIDC token, since a fork asked for it.

        A private repository may be set to give forks more ("Send write tokens"); then writing works all the same.
        """
        return self.is_fork and self.event in _OF_FORKS_WITHOUT_RIGHTS


@dataclass(frozen=True)
class _Told:
    """What the event file tells."""

    pull_request: int | None = None
    commit: str = ""
    base_commit: str = ""
    head_repository: str = ""
    is_fork: bool = False
    environment: str = ""


def from_environment(
    environ: Mapping[str, str],
    *,
    repository: str = "",
    pull_request: int | None = None,
    commit: str = "",
) -> Context:
    """The context of this run; flags come first. Raises GitHubError for an event file that is missing or broken, where only it
    could tell the commit or the pull request.
    """
    event = environ.get("GITHUB_EVENT_NAME", "")
    run_repository = environ.get("GITHUB_REPOSITORY", "")
    try:
        told = _told(event, _event_file(environ), run_repository)
    except GitHubError:
        is_known = bool(commit) and (pull_request is not None or _of_ref(environ) is not None)
        if event in _NEED_THE_FILE and not is_known:
            raise
        told = _Told()
    server_url = environ.get("GITHUB_SERVER_URL", "").rstrip("/") or SERVER_URL
    summary = environ.get("GITHUB_STEP_SUMMARY", "")
    attempt = environ.get("GITHUB_RUN_ATTEMPT", "")
    run_attempt = int(attempt) if attempt.isdecimal() else 1
    run_id = environ.get("GITHUB_RUN_ID", "")
    number = told.pull_request if told.pull_request is not None else _of_ref(environ)
    return Context(
        repository=repository or run_repository,
        pull_request=pull_request if pull_request is not None else number,
        commit=commit or told.commit or _sha(environ, event, number),
        base_commit=told.base_commit,
        head_repository=told.head_repository,
        is_fork=told.is_fork,
        event=event,
        environment=told.environment,
        actor=environ.get("GITHUB_ACTOR", ""),
        run_id=run_id,
        run_attempt=run_attempt,
        run_url=f"{server_url}/{run_repository}/actions/runs/{run_id}/attempts/{run_attempt}"
        if run_id
        else "",
        api_url=environ.get("GITHUB_API_URL", "").rstrip("/") or _api_url(server_url),
        server_url=server_url,
        is_actions=environ.get("GITHUB_ACTIONS") == "true",
        summary_path=Path(summary) if summary else None,
        token=environ.get("GITHUB_TOKEN") or environ.get("GH_TOKEN") or "",
    )


def connect(context: Context) -> Api:
    """The connection to the context's repository; sends nothing. Raises GitHubError, SettingsError, saying what is missing."""
    if not context.repository:
        raise GitHubError(
            "nothing tells which GitHub repository this is about",
            hint="name it as OWNER/NAME; in GitHub Actions, GITHUB_REPOSITORY does",
        )
    if not context.token:
        hint = "set GITHUB_TOKEN or GH_TOKEN, e.g. to the output of `gh auth token`"
        if context.is_actions:
            hint = "a workflow has to hand it on: `env: GITHUB_TOKEN: ${{ github.token }}`"
        if context.is_fork_without_rights:
            hint = "the pull request comes from a fork: GitHub gives its workflows no secrets and no token that can write"
        raise GitHubError(f"there is no token for GitHub's repository {context.repository}", hint=hint)
    return api.connect(context.token, context.repository, context.api_url)


def completed(context: Context, connection: Api, *, patience: Patience | None = None) -> Context:
    """The context with the commit, base and head repository of its pull request, as GitHub has them now.

    For where nothing local tells them: an `issue_comment`, or a number given by hand. Otherwise it is returned as it is. Who
    plans the commit has to check out that one, not the branch, which may have moved since someone read it.
    """
    number = context.pull_request
    if number is None or context.commit:
        return context
    path = f"/pulls/{number}"
    answer = connection.get(path, permission="Pull requests: read", patience=patience)
    told = _of_pull_request(answer, context.repository)
    if told is None:
        raise connection.unexpected(f"GET {path}", 200, "the pull request has no number or no head")
    return replace(
        context,
        commit=told.commit,
        base_commit=told.base_commit,
        head_repository=told.head_repository,
        is_fork=told.is_fork,
    )


def _event_file(environ: Mapping[str, str]) -> dict[str, Any]:
    path = environ.get("GITHUB_EVENT_PATH", "")
    if not path:
        raise GitHubError(
            "GITHUB_EVENT_PATH is not set, so nothing tells the pull request and its commit",
            hint="hand the runner's variables on, e.g. into the container; or give the pull request and the commit by hand",
        )
    hint = "hand the file on too, e.g. into the container; or give the pull request and the commit by hand"
    try:
        event = json.loads(Path(path).read_bytes())
    except OSError as error:
        raise GitHubError(
            f"the event file {path} of GITHUB_EVENT_PATH cannot be read: {error.strerror}", hint=hint
        ) from error
    except ValueError as error:
        raise GitHubError(
            f"the event file {path} of GITHUB_EVENT_PATH is not JSON: {error}", hint=hint
        ) from error
    if not isinstance(event, dict):
        raise GitHubError(f"the event file {path} of GITHUB_EVENT_PATH holds no object", hint=hint)
    return event


def _told(event: str, file: Mapping[str, Any], repository: str) -> _Told:
    if event in _OF_PULL_REQUESTS:
        told = _of_pull_request(file.get("pull_request"), repository)
        if told is None:
            raise GitHubError(
                f"the event file of `{event}` does not hold the pull request's number and its head's commit",
                hint="give the pull request and the commit by hand",
            )
        return told
    match event, file:
        case "issue_comment", {"issue": {"number": int(number), "pull_request": dict()}}:
            return _Told(pull_request=number)
        case "merge_group", {"merge_group": {"head_sha": str(head), "base_sha": str(base)}}:
            return _Told(commit=head, base_commit=base)
        case "push", {"before": str(before)} if not _NO_COMMIT.fullmatch(before):
            return _Told(base_commit=before)
        case "deployment" | "deployment_status", {"deployment": {"environment": str(environment)}}:
            return _Told(environment=environment)
        case "workflow_run", {"workflow_run": dict(run)}:
            return _of_workflow_run(run, repository)
        case _:
            return _Told()


def _of_pull_request(answer: object, repository: str) -> _Told | None:
    """From a pull request as the API and the event file write it."""
    match answer:
        case {"number": int(number), "head": {"sha": str(commit)} as head}:
            pass
        case _:
            return None
    match answer:
        case {"base": {"sha": str(base_commit), "repo": {"full_name": str(base_repository)}}}:
            pass
        case _:
            base_commit, base_repository = "", repository
    head_repository, is_fork = _head(head.get("repo"), base_repository)
    return _Told(number, commit, base_commit, head_repository, is_fork)


def _of_workflow_run(run: Mapping[str, Any], repository: str) -> _Told:
    commit = run.get("head_sha")
    head_repository, is_fork = _head(run.get("head_repository"), repository)
    listed = run.get("pull_requests")
    match listed:
        case [{"number": int(only)}]:
            number: int | None = only
        case _:
            number = None
    return _Told(
        number,
        commit if isinstance(commit, str) else "",
        head_repository=head_repository,
        is_fork=is_fork,
    )


def _head(repository: object, base: str) -> tuple[str, bool]:
    """The head's repository, and whether it is a fork. One without a repository came from a fork that is gone: a branch of
    the base repository has that repository.
    """
    match repository:
        case {"full_name": str(name)}:
            return name, name.casefold() != base.casefold()
        case _:
            return "", True


def _of_ref(environ: Mapping[str, str]) -> int | None:
    found = _PULL_REQUEST_REF.fullmatch(environ.get("GITHUB_REF", ""))
    return int(found[1]) if found else None


def _sha(environ: Mapping[str, str], event: str, pull_request: int | None) -> str:
    """GITHUB_SHA, unless it is another commit than that of the pull request, which is then still to be asked for."""
    is_another = event in _NEED_THE_FILE and pull_request is not None
    return "" if is_another else environ.get("GITHUB_SHA", "")


def _api_url(server_url: str) -> str:
    if server_url == SERVER_URL:
        return API_URL
    parts = urlsplit(server_url)
    if (parts.hostname or "").endswith(".ghe.com"):
        return f"{parts.scheme}://api.{parts.netloc}"
    return f"{server_url}/api/v3"
