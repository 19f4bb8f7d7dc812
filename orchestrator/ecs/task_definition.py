"""Renders the task definition to run: Terraform's skeleton + image (+ overlay), and compares two of them. Pure.

Comes in: the skeleton as DescribeTaskDefinition gives it, an Image, the text of an overlay. Goes out: TaskDefinition, ready for
RegisterTaskDefinition. The container that the contract names always gets repository@digest, whatever an overlay says.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orchestrator.errors import ContractError, SettingsError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.model import Image

# The members of RegisterTaskDefinition's request, tags aside; all others of a description are read-only.
# https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_RegisterTaskDefinition.html
_REQUEST_MEMBERS = frozenset(
    {
        "family",
        "taskRoleArn",
        "executionRoleArn",
        "networkMode",
        "containerDefinitions",
        "volumes",
        "placementConstraints",
        "requiresCompatibilities",
        "cpu",
        "memory",
        "pidMode",
        "ipcMode",
        "proxyConfiguration",
        "inferenceAccelerators",
        "ephemeralStorage",
        "runtimePlatform",
        "enableFaultInjection",
    }
)
# What ECS fills in when a member is left out; equal to leaving it out.
# https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ContainerDefinition.html
_CONTAINER_DEFAULTS = {
    "cpu": 0,
    "essential": True,
    "readonlyRootFilesystem": False,
    "privileged": False,
    "interactive": False,
    "pseudoTerminal": False,
    "disableNetworking": False,
    "versionConsistency": "enabled",
}
# Lists in which the order means nothing, by the member that tells their items apart.
_UNORDERED = {
    "environment": "name",
    "secrets": "name",
    "secretOptions": "name",
    "containerDefinitions": "name",
    "volumes": "name",
    "portMappings": "containerPort",
    "mountPoints": "containerPath",
    "ulimits": "name",
    "systemControls": "namespace",
}
# Maps whose keys are the user's own: nothing inside them has a meaning to normalise.
_FREE_MAPS = frozenset({"dockerLabels", "options", "driverOpts", "labels"})
# Lists of an overlay that are merged item by item, by that member, instead of being replaced.
_MERGED = {"containerDefinitions": "name", "environment": "name", "secrets": "name", "volumes": "name"}


@dataclass(frozen=True)
class TaskDefinition:
    """A request of RegisterTaskDefinition, without tags."""

    request: Mapping[str, Any]

    @property
    def family(self) -> str:
        return str(self.request["family"])

    def image_of(self, container: str) -> str:
        """The image that a container runs, or an empty string when there is no such container."""
        for definition in self.request["containerDefinitions"]:
            if definition["name"] == container:
                return str(definition.get("image", ""))
        return ""


def from_description(description: Mapping[str, Any]) -> TaskDefinition:
    """The part of a DescribeTaskDefinition answer's `taskDefinition` that can be registered again."""
    return TaskDefinition({key: value for key, value in description.items() if key in _REQUEST_MEMBERS})


def render(
    skeleton: TaskDefinition, *, container: str, image: Image, overlay: Mapping[str, Any]
) -> TaskDefinition:
    """Skeleton + overlay + image. Raises ContractError when the skeleton lacks the container."""
    merged = _merge(skeleton.request, {key: value for key, value in overlay.items() if key != "family"})
    names = [definition["name"] for definition in merged["containerDefinitions"]]
    if container not in names:
        raise ContractError(
            f"the task definition {skeleton.family} has no container `{container}`, only: {', '.join(names)}",
            hint="mend `container` in the output `orch`; an overlay must not remove it",
        )
    definitions = [
        definition | {"image": str(image)} if definition["name"] == container else definition
        for definition in merged["containerDefinitions"]
    ]
    return TaskDefinition(merged | {"containerDefinitions": definitions})


def render_overlay(template: str, *, name: str, context: Mapping[str, Any]) -> dict[str, Any]:
    """A Jinja2 template of a JSON object → that object. Raises SettingsError that names the template and the line."""
    text = _render_template(template, name, context)
    try:
        overlay = json.loads(text)
    except json.JSONDecodeError as error:
        lines = text.splitlines()
        shown = lines[error.lineno - 1].strip() if error.lineno <= len(lines) else ""
        raise SettingsError(
            f"{name} does not render to JSON: {error.msg} in line {error.lineno} of the rendered text",
            hint="write values as {{ value | tojson }}",
            details=(shown,) if shown else (),
        ) from error
    if not isinstance(overlay, dict):
        raise SettingsError(f"{name} must render to a JSON object, not to a {type(overlay).__name__}")
    if unknown := sorted(set(overlay) - _REQUEST_MEMBERS):
        raise SettingsError(
            f"{name} sets what no task definition has: {', '.join(unknown)}",
            hint=f"it may set: {', '.join(sorted(_REQUEST_MEMBERS - {'family'}))}",
        )
    return overlay


def is_equal(one: TaskDefinition, other: TaskDefinition) -> bool:
    """Whether two definitions would run the same: defaults, empty members and the order of sets do not count."""
    return canonical(one) == canonical(other)


def canonical(definition: TaskDefinition) -> str:
    """One text per meaning: equal exactly when two definitions would run the same."""
    return json.dumps(_canonical(definition.request, ""), sort_keys=True)


def _render_template(template: str, name: str, context: Mapping[str, Any]) -> str:
    import jinja2
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    # The output is JSON, not HTML: `tojson` is the escaping that fits.
    environment = ImmutableSandboxedEnvironment(undefined=jinja2.StrictUndefined, autoescape=False)
    # `tojson` of an undefined name must say which: only turning it into text does.
    environment.policies["json.dumps_kwargs"] = {"sort_keys": True, "default": str}
    try:
        return environment.from_string(template).render(context)
    except jinja2.TemplateSyntaxError as error:
        raise SettingsError(f"{name}, line {error.lineno}: {error.message}") from error
    except jinja2.UndefinedError as error:
        raise SettingsError(
            f"{name}: {error.message}", hint=f"names it may use: {', '.join(sorted(context))}"
        ) from error
    except (jinja2.TemplateError, TypeError, ValueError) as error:
        raise SettingsError(f"{name}: {error}") from error


def _merge(base: Mapping[str, Any], overlay: Mapping[str, Any]) -> dict[str, Any]:
    """Objects merge member by member, lists of `_MERGED` item by item, all else is replaced; null removes."""
    merged = dict(base)
    for key, value in overlay.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, dict) and isinstance(merged.get(key), dict):
            merged[key] = _merge(merged[key], value)
        elif key in _MERGED and isinstance(value, list):
            merged[key] = _merge_items(merged.get(key, []), value, _MERGED[key])
        else:
            merged[key] = value
    return merged


def _merge_items(base: list[Any], overlay: list[Any], identity: str) -> list[Any]:
    items = {item[identity]: item for item in base}
    for item in overlay:
        if not isinstance(item, dict) or identity not in item:
            raise SettingsError(
                f"each item of a list in a task definition overlay needs `{identity}`: {item!r}"
            )
        items[item[identity]] = _merge(items.get(item[identity], {}), item)
    return list(items.values())


def _canonical(value: Any, key: str) -> Any:
    if key in _FREE_MAPS:
        return value
    if isinstance(value, dict):
        members = {name: _canonical(member, name) for name, member in value.items()}
        return {name: member for name, member in members.items() if member not in (None, [], {})}
    if not isinstance(value, list | tuple):
        return value
    items = [_canonical(_without_defaults(item, key), key) for item in value]
    if key == "requiresCompatibilities":
        return sorted(items)
    if key in _UNORDERED:
        return sorted(
            items, key=lambda item: (str(item.get(_UNORDERED[key])), json.dumps(item, sort_keys=True))
        )
    return items


def _without_defaults(item: Any, key: str) -> Any:
    if key == "containerDefinitions":
        return {
            name: value
            for name, value in item.items()
            if name not in _CONTAINER_DEFAULTS or value != _CONTAINER_DEFAULTS[name]
        }
    if key == "portMappings":
        # With awsvpc the host port equals the container port or is left out; TCP is the default.
        defaults = {"hostPort": item.get("containerPort"), "protocol": "tcp"}
        return {name: value for name, value in item.items() if defaults.get(name) != value}
    return item
