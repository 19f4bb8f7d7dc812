"""Trims GitHub's OpenAPI description to what orch calls, for the fake GitHub of the tests.

    npm pack @octokit/openapi@23.0.2 && tar xzf octokit-openapi-23.0.2.tgz package/generated/api.github.com.json
    .venv/bin/python scripts/github_openapi.py package/generated/api.github.com.json

Writes tests/contract/github_openapi.json: the operations below and every schema, parameter and response that they refer to.
Prose and examples are left out: they make up most of the 13 MB, and validate nothing.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

TARGET = Path(__file__).parent.parent / "tests/contract/github_openapi.json"
_REPOSITORY = "/repos/{owner}/{repo}"
_ENVIRONMENT = f"{_REPOSITORY}/environments/{{environment_name}}"
OPERATIONS = {
    "/user": ("get",),
    _REPOSITORY: ("get",),
    f"{_REPOSITORY}/actions/oidc/customization/sub": ("get",),
    f"{_REPOSITORY}/actions/variables": ("get", "post"),
    f"{_REPOSITORY}/actions/variables/{{name}}": ("patch",),
    f"{_REPOSITORY}/deployments": ("get", "post"),
    f"{_REPOSITORY}/deployments/{{deployment_id}}/statuses": ("get", "post"),
    f"{_REPOSITORY}/environments": ("get",),
    _ENVIRONMENT: ("get", "put"),
    f"{_ENVIRONMENT}/deployment-branch-policies": ("get", "post"),
    f"{_ENVIRONMENT}/variables": ("get", "post"),
    f"{_ENVIRONMENT}/variables/{{name}}": ("patch",),
    f"{_REPOSITORY}/issues": ("get", "post"),
    f"{_REPOSITORY}/issues/comments/{{comment_id}}": ("get", "patch", "delete"),
    f"{_REPOSITORY}/issues/{{issue_number}}": ("patch",),
    f"{_REPOSITORY}/issues/{{issue_number}}/comments": ("get", "post"),
    f"{_REPOSITORY}/labels": ("post",),
    f"{_REPOSITORY}/labels/{{name}}": ("get",),
    f"{_REPOSITORY}/pulls/{{pull_number}}": ("get",),
}
_PROSE = frozenset({"description", "summary", "example", "examples", "externalDocs", "tags", "title"})
# Below these keys stand names of things, which may be spelled like prose: a schema may have a property `description`.
_NAMES = frozenset(
    {"properties", "schemas", "parameters", "responses", "headers", "content", "paths", "patternProperties"}
)


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    trimmed = trim(json.loads(Path(arguments[0]).read_text()))
    TARGET.write_text(json.dumps(trimmed, indent=1, sort_keys=True) + "\n")
    print(f"{TARGET.name}: {TARGET.stat().st_size // 1000} kB")
    return 0


def trim(description: dict[str, Any]) -> dict[str, Any]:
    """The description with OPERATIONS alone, and the components that those need, directly or through others."""
    paths = {
        path: {method: _without_prose(description["paths"][path][method]) for method in methods}
        for path, methods in OPERATIONS.items()
    }
    components: dict[str, dict[str, Any]] = {}
    wanted = _references(paths)
    while wanted:
        kind, name = wanted.pop()
        if name in components.get(kind, {}):
            continue
        component = _without_prose(description["components"][kind][name])
        components.setdefault(kind, {})[name] = component
        wanted |= _references(component)
    return {
        "openapi": description["openapi"],
        "info": {"title": "Excerpt of @octokit/openapi", "version": description["info"]["version"]},
        "paths": paths,
        "components": components,
    }


def _without_prose(node: Any, *, names: bool = False) -> Any:
    if isinstance(node, list):
        return [_without_prose(item) for item in node]
    if not isinstance(node, dict):
        return node
    return {
        key: _without_prose(value, names=not names and key in _NAMES)
        for key, value in node.items()
        if names or not (key in _PROSE or key.startswith("x-"))
    }


def _references(node: Any) -> set[tuple[str, str]]:
    if isinstance(node, list):
        return {found for item in node for found in _references(item)}
    if not isinstance(node, dict):
        return set()
    found = {reference for value in node.values() for reference in _references(value)}
    if isinstance(node.get("$ref"), str):
        _, _, kind, name = node["$ref"].split("/")
        found.add((kind, name))
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
