"""Who a repository is to AWS: the numbers and the name that its workflows' OIDC subjects start with.

GitHub sends `repo:OWNER/NAME:…`, or, immune to a name's reuse, `repo:OWNER@OWNER-ID/NAME@REPOSITORY-ID:…`: on github.com for
repositories that were created, renamed or transferred since 15 July 2026, and for those that opted in (docs.github.com,
"OpenID Connect reference", Immutable subject claims). GET /repos/{owner}/{repo}/actions/oidc/customization/sub tells which:
`sub_claim_prefix`, and `use_immutable_subject`, both documented in GitHub's OpenAPI description. Where the answer has neither
or the token may not ask, only the date of creation is left, and the result is marked as a guess.
Touches: that repository, through `api`, reading alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from orchestrator.errors import GitHubError
from orchestrator.github import api
from orchestrator.github.api import API_URL

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

_IMMUTABLE_SINCE = datetime(2026, 7, 15, tzinfo=UTC)


@dataclass(frozen=True)
class RepositoryIdentity:
    """`subject_repository` is what orch.toml calls `repository`: OWNER/NAME, or OWNER@OWNER-ID/NAME@REPOSITORY-ID.

    `is_confirmed`: GitHub said so itself. `uses_default_subject` is false where the repository or its organization has a
    template of its own for the subject, which a role's trust must then follow.
    """

    owner_id: int
    repository_id: int
    uses_immutable_subject: bool
    subject_repository: str
    is_confirmed: bool
    uses_default_subject: bool


def repository_identity(token: str, repository: str, *, api_url: str = API_URL) -> RepositoryIdentity:
    """Asks GitHub. Raises SettingsError, GitHubError when there is no such repository, or none for this token.

    A repository that was renamed is answered for under its new name, as its workflows identify themselves.
    """
    connection = api.connect(token, repository, api_url)
    answer = connection.get("", permission="Metadata: read")
    try:
        subject = connection.get("/actions/oidc/customization/sub", permission="Actions: read")
    except GitHubError as error:
        if error.status not in {403, 404}:
            raise
        subject = {}
    found = identity_of(answer, subject, is_github_com=connection.api_url == API_URL)
    if found is None:
        raise connection.unexpected("GET ", 200, "the repository has no id, name or owner")
    return found


def identity_of(
    answer: Mapping[str, Any], subject: Mapping[str, Any], *, is_github_com: bool
) -> RepositoryIdentity | None:
    """From the answers on the repository and on its subject; None when the first has no id, name or owner."""
    match answer:
        case {"id": int(repository_id), "full_name": str(name), "owner": {"id": int(owner_id)}}:
            pass
        case _:
            return None
    owner, _, short = name.partition("/")
    immutable = f"{owner}@{owner_id}/{short}@{repository_id}"
    is_confirmed = True
    match subject:
        case {"sub_claim_prefix": str(prefix)} if prefix.startswith("repo:"):
            told = prefix.removeprefix("repo:").rstrip(":")
        case {"use_immutable_subject": bool(is_immutable)}:
            told = immutable if is_immutable else name
        case _:
            told, is_confirmed = immutable if is_github_com and _is_new(answer) else name, False
    return RepositoryIdentity(
        owner_id,
        repository_id,
        told == immutable,
        told,
        is_confirmed,
        subject.get("use_default") is not False,
    )


def _is_new(answer: Mapping[str, Any]) -> bool:
    try:
        created = datetime.fromisoformat(str(answer.get("created_at")))
    except ValueError:
        return False
    return created.astimezone(UTC) >= _IMMUTABLE_SINCE
