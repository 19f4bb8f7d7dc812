"""What differs between two task definitions, told as the plan of one would be (terraform/semantic.py). Pure.

Comes in: two definitions as ECS gives them. Goes out: Details in which the value of an environment variable never stands, and
nothing that a name or a shape gives away as a secret. There is a Detail exactly when `is_equal` finds them different.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from orchestrator.ecs import task_definition
from orchestrator.model import Detail, Masked
from orchestrator.terraform import masking, semantic

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.ecs.task_definition import TaskDefinition

_KIND = "aws_ecs_task_definition"
# ECS's own names of the container list and its text form in Terraform; all others may stay as ECS spells them.
_CONTAINERS = ("containerDefinitions", "container_definitions")
_UNTOLD = "an empty value in place of none"


def details_between(
    before: TaskDefinition, after: TaskDefinition, environ: Mapping[str, str]
) -> tuple[Detail, ...]:
    """Everything that differs. `environ` may hold secrets that must not be shown."""
    if task_definition.is_equal(before, after):
        return ()
    old, new = _attributes(before), _attributes(after)
    nets = masking.Nets(masking.secrets_in(environ)).beside(masking.covered({"before": old, "after": new}))
    found = tuple(
        Detail(
            nets.text(difference.label or semantic.label_of(difference.path)),
            nets.mask(difference.before, difference.path),
            nets.mask(difference.after, difference.path),
        )
        for difference in semantic.differences(_KIND, old, new)
    )
    return found or (Detail(_UNTOLD, Masked.ABSENT, Masked.ABSENT),)


def _attributes(definition: TaskDefinition) -> dict[str, Any]:
    """The definition without what means nothing: the defaults that ECS fills in, and the order of what has none."""
    values: dict[str, Any] = json.loads(task_definition.canonical(definition))
    here, there = _CONTAINERS
    return {there if name == here else name: value for name, value in values.items()}
