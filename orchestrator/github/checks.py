"""What GitHub says of the checks of a commit. Touches: that repository, through `api`, reading alone.

A name may be that of a check run, as Actions and GitHub Apps make them, or the context of a commit status, as older services do:
https://docs.github.com/en/rest/checks/runs (List check runs for a Git reference; the newest of each name and app) and
https://docs.github.com/en/rest/commits/statuses (Get the combined status for a specific reference).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from orchestrator.github.api import Api

SUCCESS = "success"
# Neither passes nor fails: branch protection takes them for passed.
# https://docs.github.com/en/pull-requests/collaborating-with-pull-requests/collaborating-on-repositories-with-code-quality-features/about-status-checks
_AS_GOOD_AS = frozenset({"neutral", "skipped"})


def conclusions(connection: Api, commit: str, names: Sequence[str]) -> dict[str, str]:
    """How each of these checks of the commit ended: `success`, another conclusion, the status of one that has not, such as
    `in_progress`, or empty where there is none. Where several have one name, the worst counts. Raises GitHubError.
    """
    runs = connection.items(f"/commits/{commit}/check-runs", "check_runs", permission="Checks: read")
    found = _by_name(runs, "name", _said_of_run)
    if any(name not in found for name in names):
        statuses = connection.items(
            f"/commits/{commit}/status", "statuses", permission="Commit statuses: read"
        )
        found = _by_name(statuses, "context", lambda status: str(status.get("state", ""))) | found
    return {name: found.get(name, "") for name in names}


def _by_name(items: Iterable[Mapping[str, Any]], key: str, said: Any) -> dict[str, str]:
    found: dict[str, str] = {}
    for item in items:
        name, word = str(item.get(key, "")), said(item)
        if found.get(name, SUCCESS) == SUCCESS:
            found[name] = word
    return found


def _said_of_run(run: Mapping[str, Any]) -> str:
    if run.get("status") != "completed":
        return str(run.get("status", ""))
    conclusion = str(run.get("conclusion") or "")
    return SUCCESS if conclusion in _AS_GOOD_AS else conclusion
