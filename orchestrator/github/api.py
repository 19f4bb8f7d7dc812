"""The REST API of GitHub or of a GitHub Enterprise Server, for one repository: the only user of PyGithub.

Hides the connection, paging, retries, and everything that can come in place of an answer: each failure is a `GitHubError`
that says which call, what GitHub said, and what to do; whatever the server sends, none is a traceback, and none holds the
token. Touches: the network.

PyGithub is used for its connection alone (credentials, API version, connection pool, time-outs), and answers are decoded
here. Its own objects would not do: `Environment` lacks deployment branch policies; `create_environment` always sends all
settings, which GitHub refuses where the plan or the server does not know one of them (PyGithub 2.10; backstage
issue #28977, terraform-provider-github issue #2457); `Variable.edit` does not tell why it failed; its paging trips over an
answer of another shape, and its retries may wait for an hour where we prefer to say until when.

A call fails at once where waiting would help only after long, as at a rate limit. A caller that has the time hands in a
`Patience`: then what may pass (a rate limit, 409, 5xx, no answer) is waited for as GitHub asks, within one bound for all calls
that share it. A POST that may have been done is never simply repeated then, since that would make a second comment: see
`create`.

Sources: docs.github.com/rest, "Troubleshooting the REST API" (rate limits, `X-Accepted-GitHub-Permissions`, 404 in place of
403), "Best practices for using the REST API" (how long to wait), "Using pagination", "API versions".
"""

from __future__ import annotations

import json
import re
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from orchestrator.errors import GitHubError, SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

    from github.Requester import Requester
    from urllib3.util import Retry

API_URL = "https://api.github.com"
_API_VERSION = "2022-11-28"
# GitHub itself gives up after 10 seconds ("Troubleshooting the REST API", Timeouts).
_TIMEOUT_S = 15
_RETRIES = 3
_BACKOFF_S = 0.5
_PAGE_SIZE = 100
_SHOWN_CHARACTERS = 300
_PATIENCE_S = 60.0
# "Best practices for using the REST API": without a header that says more, "wait for at least one minute".
_UNSAID_RATE_LIMIT_S = 60.0
# The paths that are not a repository's.
_USER = "/user"
_GRAPHQL = "/graphql"
_MAY_NOT_ASK = frozenset({403, 404})
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
_REPOSITORY = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*/(?!\.{1,2}$)[A-Za-z0-9._-]+")
# What GitHub issues has no other characters, and what is not a header's value must not get into one.
_TOKEN = re.compile(r"[\x21-\x7e]+")


class PassingError(GitHubError):
    """A failure that may be over soon. `wait_s` is how long GitHub asks to wait, 0 where it does not say; `is_undone`: it
    refused the call, so that nothing was done; otherwise nobody knows.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int = 0,
        endpoint: str = "",
        hint: str = "",
        details: tuple[str, ...] = (),
        wait_s: float = 0,
        is_undone: bool = False,
    ) -> None:
        super().__init__(message, status=status, endpoint=endpoint, hint=hint, details=details)
        self.wait_s = wait_s
        self.is_undone = is_undone


class BodyTooLongError(GitHubError):
    """What was to be written is longer than GitHub takes: to be written shorter, and tried again."""


class Patience:
    """How long the calls that share it may go on trying, from the first failure on. Holds when that was, and how many."""

    def __init__(
        self,
        limit_s: float = _PATIENCE_S,
        *,
        sleep: Callable[[float], object] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.limit_s = limit_s
        self.pause = sleep
        self._clock = clock
        self._first_failure_s: float | None = None
        self._failures = 0

    def wait(self, error: PassingError) -> None:
        """Waits as long as GitHub asks, and longer from failure to failure. Raises the error where that would be too long."""
        now_s = self._clock()
        if self._first_failure_s is None:
            self._first_failure_s = now_s
        wait_s = max(error.wait_s, 2.0**self._failures)
        self._failures += 1
        passed_s = now_s - self._first_failure_s
        if passed_s + wait_s > self.limit_s:
            told = f"tried for {passed_s:.0f} seconds; the next try is due in {wait_s:.0f} seconds, and orch waits"
            error.details = (*error.details, f"{told} {self.limit_s:.0f} seconds in all")
            raise error
        self.pause(wait_s)


@dataclass(frozen=True)
class Viewer:
    """Whose the token is. `id` is the account's in the REST API, None where GitHub does not tell it."""

    login: str
    id: int | None


def is_viewer(user: object, viewer: Viewer | None) -> bool:
    """Whether a `user` of the REST API is the token's. The number counts, since a person's login may be given up and taken; a
    bot's ends in `[bot]`, which no person's may, so it counts as well.

    Of a token that may not be asked, which is then a GitHub App's, no more can be said than that its account is a bot.
    """
    match user, viewer:
        case {"type": str(kind)}, None:
            return kind == "Bot"
        case {"id": int(number), "type": str(kind)}, Viewer(id=int(wanted)) if kind != "Bot":
            return number == wanted
        case {"login": str(login)}, Viewer(login=wanted_login):
            return login.casefold() == wanted_login.casefold()
        case _:
            return False


@dataclass(frozen=True)
class Api:
    """One repository's part of the API. Paths are relative to `/repos/OWNER/NAME`; `permission` is what GitHub documents
    for the endpoint, for a fine-grained token, such as `Administration: write`.
    """

    repository: str
    api_url: str
    _requester: Requester = field(repr=False)
    _patient_requester: Requester = field(repr=False)
    _token: str = field(repr=False)

    def get(self, path: str, *, permission: str, patience: Patience | None = None) -> dict[str, Any]:
        """The JSON object at the path."""
        return self._object(f"GET {path}", *self._call("GET", path, permission=permission, patience=patience))

    def listed(
        self,
        path: str,
        *,
        permission: str,
        query: Mapping[str, Any] | None = None,
        patience: Patience | None = None,
    ) -> Iterator[dict[str, Any]]:
        """The items of a list that is the whole answer; each page is asked for when its first item is wanted."""
        page = 1
        while True:
            asked = {**(query or {}), "per_page": _PAGE_SIZE, "page": page}
            status, text = self._call("GET", path, permission=permission, query=asked, patience=patience)
            batch = self._json(f"GET {path}", status, text)
            if not (isinstance(batch, list) and all(isinstance(item, dict) for item in batch)):
                raise self.unexpected(f"GET {path}", status, "this is not a list of objects")
            yield from batch
            if len(batch) < _PAGE_SIZE:
                return
            page += 1

    def items(self, path: str, key: str, *, permission: str) -> list[dict[str, Any]]:
        """All items of a list, from all its pages. `key` is where the items stand in the answer, beside `total_count`."""
        found: list[dict[str, Any]] = []
        page = 1
        while True:
            # Pages are asked for by number: a Link header may lead to a host that we did not ask.
            query = {"per_page": _PAGE_SIZE, "page": page}
            status, text = self._call("GET", path, permission=permission, query=query)
            answer = self._object(f"GET {path}", status, text)
            batch, total = answer.get(key), answer.get("total_count")
            if not (isinstance(batch, list) and all(isinstance(item, dict) for item in batch)):
                raise self.unexpected(f"GET {path}", status, f"`{key}` is not a list of objects")
            if not isinstance(total, int):
                raise self.unexpected(f"GET {path}", status, "`total_count` is not a number")
            found += batch
            if not batch or len(found) >= total:
                return found
            page += 1

    def send(
        self,
        verb: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        permission: str,
        accepted: Collection[int] = (),
        patience: Patience | None = None,
    ) -> int:
        """Writes, and returns the HTTP status: one of 2xx, or of `accepted`."""
        return self._call(verb, path, permission=permission, body=body, accepted=accepted, patience=patience)[
            0
        ]

    def write(
        self,
        verb: str,
        path: str,
        body: Mapping[str, Any],
        *,
        permission: str,
        patience: Patience,
        is_repeatable: bool = True,
    ) -> dict[str, Any]:
        """Writes, and returns the object that GitHub answers. What is not repeatable raises PassingError at once."""
        status, text = self._call(
            verb, path, permission=permission, body=body, patience=patience, is_repeatable=is_repeatable
        )
        return self._object(f"{verb} {path}", status, text)

    def create(
        self,
        path: str,
        body: Mapping[str, Any],
        look: Callable[[], dict[str, Any] | None],
        *,
        permission: str,
        patience: Patience,
    ) -> dict[str, Any]:
        """POSTs. Where that failed and may yet have been done, `look` tells what is there before it is tried again."""
        while True:
            try:
                return self.write(
                    "POST", path, body, permission=permission, patience=patience, is_repeatable=False
                )
            except PassingError as error:
                patience.wait(error)
            found = look()
            if found is not None:
                return found

    def viewer(self, *, patience: Patience | None = None) -> Viewer | None:
        """Whose the token is; None where it may not be asked.

        GitHub Apps, as which the token of a workflow counts, may not ask GET /user; GraphQL's `viewer` names them too, with the
        login and the number that their comments have (docs.github.com/graphql, "Queries", viewer).
        """
        query = {"query": "query { viewer { login databaseId } }"}
        try:
            answer = self._call("POST", _GRAPHQL, permission="Metadata: read", body=query, patience=patience)
            match self._object(f"POST {_GRAPHQL}", *answer):
                case {"data": {"viewer": {"login": str(login), "databaseId": int() | None as number}}}:
                    return Viewer(login, number)
                case _:
                    pass  # an error of GraphQL, which comes with 200
        except GitHubError as error:
            if error.status not in _MAY_NOT_ASK:
                raise
        try:
            user = self.get(_USER, permission="Metadata: read", patience=patience)
        except GitHubError as error:
            if error.status not in _MAY_NOT_ASK:
                raise
            return None
        match user:
            case {"login": str(login), "id": int(number)}:
                return Viewer(login, number)
            case _:
                raise self.unexpected(f"GET {_USER}", 200, "the user has no login or no id")

    def unexpected(self, call: str, status: int, what: str) -> GitHubError:
        """An answer that is not what GitHub documents."""
        return GitHubError(
            f"{self._endpoint(call)} of {self.api_url} did not answer as GitHub does: {what}",
            status=status,
            endpoint=self._endpoint(call),
            hint="check that the API URL is GitHub's (GITHUB_API_URL), and that no proxy answers in its place",
        )

    def _call(
        self,
        verb: str,
        path: str,
        *,
        permission: str,
        query: Mapping[str, Any] | None = None,
        body: Mapping[str, Any] | None = None,
        accepted: Collection[int] = (),
        patience: Patience | None = None,
        is_repeatable: bool = True,
    ) -> tuple[int, str]:
        call = f"{verb} {path}"
        requester = self._requester if patience is None else self._patient_requester
        url = requester.graphql_url if path == _GRAPHQL else self._path(path)
        while True:
            try:
                with self._translated(call):
                    status, headers, text = requester.requestJson(verb, url, dict(query or {}), input=body)
                if 200 <= status < 300 or status in accepted:
                    return status, text
                raise self._refusal(call, (status, headers, text), permission, is_single=patience is not None)
            except PassingError as error:
                if patience is None or not is_repeatable:
                    raise
                patience.wait(error)

    @contextmanager
    def _translated(self, call: str) -> Iterator[None]:
        import requests

        endpoint = self._endpoint(call)
        try:
            yield
        except requests.RequestException as error:
            raise PassingError(
                f"{endpoint} got no answer from {self.api_url}: {self._clean(_cause(error))}",
                endpoint=endpoint,
                hint="check the network, a proxy (HTTPS_PROXY), and GITHUB_API_URL when it is set; then run it again",
            ) from error
        except RuntimeError as error:
            # PyGithub's word for a redirect to another host or scheme, or in a circle.
            raise self.unexpected(call, 301, self._clean(str(error))) from error
        except (ValueError, OverflowError) as error:
            # PyGithub reads the rate limit's headers as numbers.
            raise self.unexpected(call, 0, "its rate-limit headers are not numbers") from error

    def _json(self, call: str, status: int, text: str) -> Any:
        try:
            return json.loads(text)
        except ValueError:
            shown = self._clean(text) or "nothing"
            raise self.unexpected(call, status, f"this is not JSON: {shown}") from None

    def _object(self, call: str, status: int, text: str) -> dict[str, Any]:
        decoded = self._json(call, status, text)
        if not isinstance(decoded, dict):
            raise self.unexpected(call, status, f"this is not an object: {self._clean(text)}")
        return decoded

    def _refusal(
        self, call: str, answer: tuple[int, Mapping[str, Any], str], permission: str, *, is_single: bool
    ) -> GitHubError:
        status, headers, text = answer
        said, details = self._message(text)
        hint = _hint(status, headers, said, permission, is_single=is_single)
        where = "" if status == 401 or call.endswith((_USER, _GRAPHQL)) else f" for {self.repository}"
        message = f"{self._endpoint(call)} failed{where}: {status} {said}".rstrip()
        endpoint = self._endpoint(call)
        is_rate_limit = _is_rate_limit(status, headers, said)
        if is_rate_limit or status == 409 or status >= 500:
            wait_s = _wait_s(headers, is_rate_limit=is_rate_limit)
            return PassingError(
                message,
                status=status,
                endpoint=endpoint,
                hint=hint,
                details=details,
                wait_s=wait_s,
                is_undone=status < 500,
            )
        # GitHub's text for a comment, an issue and a description: "… is too long (maximum is 65536 characters)".
        if status == 422 and any("body is too long" in line.lower() for line in (said, *details)):
            return BodyTooLongError(message, status=status, endpoint=endpoint, hint=hint, details=details)
        return GitHubError(message, status=status, endpoint=endpoint, hint=hint, details=details)

    def _message(self, text: str) -> tuple[str, tuple[str, ...]]:
        """What GitHub said, and its list `errors` as lines."""
        try:
            answer = json.loads(text)
        except ValueError:
            return self._clean(text), ()
        if not isinstance(answer, dict):
            return self._clean(text), ()
        errors = answer.get("errors")
        lines = errors if isinstance(errors, list) else [errors] if errors else []
        shown = (line if isinstance(line, str) else json.dumps(line, ensure_ascii=False) for line in lines)
        return self._clean(str(answer.get("message", ""))), tuple(self._clean(line) for line in shown)

    def _clean(self, text: str) -> str:
        """Text from outside on one short line. A proxy may send back the request, with the token in it."""
        line = " ".join(text.replace(self._token, "***").split())
        shown = "".join(character for character in line if character.isprintable())
        return shown if len(shown) <= _SHOWN_CHARACTERS else f"{shown[:_SHOWN_CHARACTERS]} …"

    def _endpoint(self, call: str) -> str:
        verb, _, path = call.partition(" ")
        return f"{verb} {self._path(path)}"

    def _path(self, path: str) -> str:
        return path if path in {_USER, _GRAPHQL} else f"/repos/{self.repository}{path}"


def connect(token: str, repository: str, api_url: str) -> Api:
    """Checks the arguments and prepares the connection; sends nothing. Raises SettingsError, GitHubError."""
    url = _checked_url(api_url)
    if not _REPOSITORY.fullmatch(repository):
        raise SettingsError(f"`{repository}` is not a GitHub repository", hint="write it as OWNER/NAME")
    if not _TOKEN.fullmatch(token):
        raise GitHubError(
            "the GitHub token is empty, or holds a space or another character that no token has",
            hint="set GITHUB_TOKEN to the token alone, e.g. to the output of `gh auth token`",
        )
    from urllib3.util import Retry

    # A full rate limit is not waited for: that may take an hour, and GitHub's answer says until when. Writes are repeated as
    # reads are: each call that orch makes without a Patience may be, and what an earlier attempt did shows as 303 or 409.
    retries = Retry(
        total=_RETRIES,
        backoff_factor=_BACKOFF_S,
        status_forcelist=range(500, 600),
        allowed_methods=None,
        raise_on_status=False,
        respect_retry_after_header=False,
    )
    # With a Patience, `_call` repeats; here, only what cannot have reached GitHub.
    connecting = Retry(
        total=_RETRIES,
        connect=_RETRIES,
        read=0,
        status=0,
        other=0,
        backoff_factor=_BACKOFF_S,
        raise_on_status=False,
        respect_retry_after_header=False,
    )
    return Api(
        repository, url, _requester_of(url, token, retries), _requester_of(url, token, connecting), token
    )


def _requester_of(url: str, token: str, retry: Retry) -> Requester:
    from github import Auth
    from github.Requester import Requester

    return Requester(
        Auth.Token(token),
        url,
        timeout=_TIMEOUT_S,
        user_agent="orch",
        per_page=_PAGE_SIZE,
        verify=True,
        retry=retry,
        pool_size=None,
        api_version=_API_VERSION,
    )


def _checked_url(api_url: str) -> str:
    problem = ""
    try:
        parts = urlsplit(api_url)
        parts.port  # noqa: B018  # raises for what is not a port
    except ValueError as error:
        raise SettingsError(f"`{api_url}` is not the URL of an API: {error}") from error
    if parts.username is not None or parts.query or parts.fragment:
        raise SettingsError("the URL of GitHub's API must hold neither credentials nor a query")
    if parts.scheme not in {"https", "http"} or not parts.hostname:
        problem = "it must be an absolute https URL"
    elif parts.scheme == "http" and parts.hostname not in _LOOPBACK:
        problem = "over http anyone on the way reads the token; use https"
    if problem:
        raise SettingsError(
            f"`{api_url}` cannot be the URL of GitHub's API: {problem}",
            hint=f"{API_URL}, or https://HOST/api/v3 for a GitHub Enterprise Server",
        )
    return api_url.rstrip("/")


def _hint(status: int, headers: Mapping[str, Any], said: str, permission: str, *, is_single: bool) -> str:
    if _is_rate_limit(status, headers, said):
        return f"wait {_until(headers)}, then run it again: it goes on where it stopped"
    if status == 401:
        return (
            "the token is not valid: it is mistyped, expired or revoked; make a new one and set GITHUB_TOKEN"
        )
    if status == 403 and str(headers.get("x-github-sso", "")).startswith("required"):
        return (
            "authorize the token for the organization's SAML single sign-on, in the settings of your tokens"
        )
    if status == 403 and "locked" in said.lower():
        return "unlock the conversation, or let orch write elsewhere"
    if status == 403 and "archived" in said.lower():
        return "an archived repository takes no changes: unarchive it in its settings"
    if status == 403:
        accepted = str(headers.get("x-accepted-github-permissions", ""))
        asked = f" (GitHub asks for {accepted})" if accepted else ""
        return (
            f"give the token the repository permission {permission}{asked}; a classic token needs the scope `repo`,"
            " and its owner a role in the repository that may do this"
        )
    if status == 404:
        return (
            "GitHub says so too when the token cannot see it: check the name, that the token has access to the"
            f" repository, and its permission {permission}"
        )
    if 300 <= status < 400:
        return "the address leads elsewhere: check the repository's name and GITHUB_API_URL"
    if status >= 500:
        tried = "" if is_single else f"tried {_RETRIES + 1} times; "
        return f"{tried}see githubstatus.com, then run it again: it goes on where it stopped"
    return "mend what GitHub names, then run it again: it goes on where it stopped"


def _is_rate_limit(status: int, headers: Mapping[str, Any], said: str) -> bool:
    if status == 429:
        return True
    return status == 403 and (
        headers.get("x-ratelimit-remaining") == "0"
        or "retry-after" in headers
        or "rate limit" in said.lower()
    )


def _wait_s(headers: Mapping[str, Any], *, is_rate_limit: bool) -> float:
    """How long to wait, in the order of "Best practices for using the REST API"; 0 where nothing says so."""
    retry_after = str(headers.get("retry-after", ""))
    if retry_after.isdecimal():
        return float(retry_after)
    reset = str(headers.get("x-ratelimit-reset", ""))
    if headers.get("x-ratelimit-remaining") == "0" and reset.isdecimal():
        # The clock of this machine may be ahead; a second more is asked for than needed.
        return max(float(reset) - time.time(), 0) + 1
    return _UNSAID_RATE_LIMIT_S if is_rate_limit else 0


def _until(headers: Mapping[str, Any]) -> str:
    """When to try again, as the documentation has it: Retry-After, else the reset of a used-up limit, else a minute."""
    retry_after = str(headers.get("retry-after", ""))
    if retry_after.isdecimal():
        return f"{int(retry_after)} seconds"
    reset = str(headers.get("x-ratelimit-reset", ""))
    if headers.get("x-ratelimit-remaining") == "0" and reset.isdecimal():
        try:
            return f"until {datetime.fromtimestamp(int(reset), UTC):%Y-%m-%d %H:%M:%S} UTC"
        except (ValueError, OverflowError, OSError):
            pass
    return "a minute"


def _cause(error: BaseException) -> str:
    """The innermost reason: what requests and urllib3 wrap around it names objects and memory addresses."""
    seen: set[int] = set()
    while id(error) not in seen:
        seen.add(id(error))
        inner = getattr(error, "reason", None) or next(
            (argument for argument in error.args if isinstance(argument, BaseException)), None
        )
        if not isinstance(inner, BaseException):
            break
        error = inner
    text = str(getattr(error, "strerror", None) or error)
    return re.sub(r"^<[^>]*>: |^\w+\([^)]*\): ", "", text) or type(error).__name__
