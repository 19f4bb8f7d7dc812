"""The REST API of GitHub or of a GitHub Enterprise Server, for one repository: the only user of PyGithub.

Hides the connection, paging, retries, and everything that can come in place of an answer: each failure is a `GitHubError`
that says which call, what GitHub said, and what to do; whatever the server sends, none is a traceback, and none holds the
token. Touches: the network.

PyGithub is used for its connection alone (credentials, API version, connection pool, time-outs), and answers are decoded
here. Its own objects would not do: `Environment` lacks deployment branch policies; `create_environment` always sends all
settings, which GitHub refuses where the plan or the server does not know one of them (PyGithub 2.10; backstage
issue #28977, terraform-provider-github issue #2457); `Variable.edit` does not tell why it failed; its paging trips over an
answer of another shape, and its retries may wait for an hour where we prefer to say until when.

Sources: docs.github.com/rest, "Troubleshooting the REST API" (rate limits, `X-Accepted-GitHub-Permissions`, 404 in place of
403), "Using pagination", "API versions".
"""

from __future__ import annotations

import json
import re
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from orchestrator.errors import GitHubError, SettingsError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from github.Requester import Requester

API_URL = "https://api.github.com"
_API_VERSION = "2022-11-28"
# GitHub itself gives up after 10 seconds ("Troubleshooting the REST API", Timeouts).
_TIMEOUT_S = 15
_RETRIES = 3
_BACKOFF_S = 0.5
_PAGE_SIZE = 100
_SHOWN_CHARACTERS = 300
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
_REPOSITORY = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*/(?!\.{1,2}$)[A-Za-z0-9._-]+")
# What GitHub issues has no other characters, and what is not a header's value must not get into one.
_TOKEN = re.compile(r"[\x21-\x7e]+")


@dataclass(frozen=True)
class Api:
    """One repository's part of the API. Paths are relative to `/repos/OWNER/NAME`; `permission` is what GitHub documents
    for the endpoint, for a fine-grained token, such as `Administration: write`.
    """

    repository: str
    api_url: str
    _requester: Requester = field(repr=False)
    _token: str = field(repr=False)

    def get(self, path: str, *, permission: str) -> dict[str, Any]:
        """The JSON object at the path."""
        return self._object(f"GET {path}", *self._call("GET", path, permission=permission))

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
        body: Mapping[str, Any],
        *,
        permission: str,
        accepted: Collection[int] = (),
    ) -> int:
        """Writes, and returns the HTTP status: one of 2xx, or of `accepted`."""
        return self._call(verb, path, permission=permission, body=body, accepted=accepted)[0]

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
    ) -> tuple[int, str]:
        with self._translated(f"{verb} {path}"):
            status, headers, text = self._requester.requestJson(
                verb, f"/repos/{self.repository}{path}", dict(query or {}), input=body
            )
        if 200 <= status < 300 or status in accepted:
            return status, text
        raise self._refusal(f"{verb} {path}", status, headers, text, permission)

    @contextmanager
    def _translated(self, call: str) -> Iterator[None]:
        import requests

        endpoint = self._endpoint(call)
        try:
            yield
        except requests.RequestException as error:
            raise GitHubError(
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

    def _object(self, call: str, status: int, text: str) -> dict[str, Any]:
        try:
            decoded = json.loads(text)
        except ValueError:
            shown = self._clean(text) or "nothing"
            raise self.unexpected(call, status, f"this is not JSON: {shown}") from None
        if not isinstance(decoded, dict):
            raise self.unexpected(call, status, f"this is not an object: {self._clean(text)}")
        return decoded

    def _refusal(
        self, call: str, status: int, headers: Mapping[str, Any], text: str, permission: str
    ) -> GitHubError:
        said, details = self._message(text)
        hint = _hint(status, headers, said, permission)
        where = "" if status == 401 else f" for {self.repository}"
        return GitHubError(
            f"{self._endpoint(call)} failed{where}: {status} {said}".rstrip(),
            status=status,
            endpoint=self._endpoint(call),
            hint=hint,
            details=details,
        )

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
        return f"{verb} /repos/{self.repository}{path}"


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
    from github import Auth
    from github.Requester import Requester
    from urllib3.util import Retry

    # A full rate limit is not waited for: that may take an hour, and GitHub's answer says until when. Writes are repeated as
    # reads are: each call that orch makes may be, and what an earlier attempt did shows as 303 or 409.
    retry = Retry(
        total=_RETRIES,
        backoff_factor=_BACKOFF_S,
        status_forcelist=range(500, 600),
        allowed_methods=None,
        raise_on_status=False,
        respect_retry_after_header=False,
    )
    requester = Requester(
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
    return Api(repository, url, requester, token)


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


def _hint(status: int, headers: Mapping[str, Any], said: str, permission: str) -> str:
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
        return f"tried {_RETRIES + 1} times; see githubstatus.com, then run it again: it goes on where it stopped"
    return "mend what GitHub names, then run it again: it goes on where it stopped"


def _is_rate_limit(status: int, headers: Mapping[str, Any], said: str) -> bool:
    if status == 429:
        return True
    return status == 403 and (
        headers.get("x-ratelimit-remaining") == "0"
        or "retry-after" in headers
        or "rate limit" in said.lower()
    )


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
