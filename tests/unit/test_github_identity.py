"""github.identity: where GitHub does not say how it writes a repository's OIDC subject, the date of creation decides."""

from __future__ import annotations

import pytest

from orchestrator.github.identity import identity_of


@pytest.mark.parametrize(
    ("created_at", "is_github_com", "expected"),
    [
        ("2026-07-14T23:59:59Z", True, "acme/shop"),
        ("2026-07-15T00:00:00Z", True, "acme@1/shop@2"),
        # Immutable subjects do not exist on a GitHub Enterprise Server.
        ("2026-08-01T00:00:00Z", False, "acme/shop"),
        ("yesterday", True, "acme/shop"),
        (None, True, "acme/shop"),
    ],
)
def test_without_githubs_word_the_date_decides(created_at, is_github_com, expected):
    answer = {"id": 2, "full_name": "acme/shop", "owner": {"id": 1}, "created_at": created_at}
    found = identity_of(answer, {}, is_github_com=is_github_com)
    assert (found.subject_repository, found.is_confirmed) == (expected, False)


def test_githubs_word_counts_more_than_the_date():
    answer = {"id": 2, "full_name": "acme/shop", "owner": {"id": 1}, "created_at": "2026-08-01T00:00:00Z"}
    found = identity_of(answer, {"use_immutable_subject": False}, is_github_com=True)
    assert (found.subject_repository, found.is_confirmed) == ("acme/shop", True)
