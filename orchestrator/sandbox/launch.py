"""What a task meets when it starts: whether its image, log group and role are there; and what it writes to its log.

Reads moto's IAM and CloudWatch Logs and the sandbox's own registry. An image of this sandbox's registry must exist; one of
any other host counts as pullable. The stoppedReason texts are those of "Stopped tasks error messages" in the ECS guide.
Simplified: repository policies are not asked (any account may pull), nor whether the execution role allows what it must.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from moto.iam.models import iam_backends
from moto.logs.models import logs_backends

from orchestrator.sandbox import ecr, programs, reasons, tasks

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from orchestrator.sandbox.programs import Moment
    from orchestrator.sandbox.runtime import Runtime
    from orchestrator.sandbox.tasks import TaskLife

_IMAGE = re.compile(
    r"(?P<account>\d{12})\.(?P<region>[a-z0-9-]+)/(?P<name>[a-z0-9._/-]+?)(?::(?P<tag>[\w.-]+))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?"
)
_ROLE_ARN = re.compile(r"arn:(?P<partition>[\w-]+):iam::(?P<account>\d{12}):role/.+")


@dataclass(frozen=True)
class Place:
    """The account and region that a task runs in."""

    account_id: str
    region: str


def resolve_digest(image: str, runtime: Runtime) -> str | None:
    """The digest that a container's image stands for; None when only another registry could say it."""
    pinned = re.search(r"@(sha256:[0-9a-f]{64})$", image)
    if pinned:
        return pinned[1]
    found = _look_up(image, runtime)
    return found.image_digest if found is not None and found is not _ELSEWHERE else None


def decide_fate(
    definition: Any,
    *,
    place: Place,
    runtime: Runtime,
    overrides: Mapping[str, Any],
    one_off: bool,
    settings: Mapping[str, Any] | None = None,
    behaviour: str | None = None,
) -> tasks.Fate:
    """What becomes of a task of this task definition that is started now; `settings` are its service's, `behaviour` stands in
    for what the task definition scripts.
    """
    containers = definition.container_definitions
    problem = _problem(definition, containers, place, runtime)
    if problem:
        return tasks.Fate(runtime.timing.task_seconds, start_failure=tasks.start_failure(problem))
    fate = tasks.one_off_fate if one_off else tasks.service_fate
    names = _names(definition, settings or {})
    if behaviour is None:
        behaviour = _variable(tasks.BEHAVIOUR_VARIABLE, containers, overrides)
    return fate(behaviour, names.image, runtime.timing, names)


def write_log(definition: Any, life: TaskLife, *, place: Place, text: str, at: float) -> None:
    """Writes one line to the stream `<prefix>/<container>/<task id>` of every container that logs to CloudWatch."""
    for container in definition.container_definitions:
        _write(container, life, place, [f"[orch sandbox] {container['name']}: {text}"], at)


def write_program_log(
    definition: Any,
    life: TaskLife,
    *,
    place: Place,
    overrides: Mapping[str, Any],
    moment: Moment,
    at: float,
    behaviour: str | None = None,
) -> None:
    """Writes what the program of the first container says at that moment to that container's stream."""
    containers = definition.container_definitions
    if behaviour is None:
        behaviour = _variable(tasks.BEHAVIOUR_VARIABLE, containers, overrides)
    scripted = _variable(programs.LOGS_VARIABLE, containers, overrides)
    _write(containers[0], life, place, list(programs.lines(behaviour, moment, scripted)), at)


def write_line(
    definition: Any, life: TaskLife, *, place: Place, container: str, text: str, at: float
) -> None:
    """Writes one line to one container's stream."""
    for item in definition.container_definitions:
        if item["name"] == container:
            _write(item, life, place, [text], at)


def _write(
    container: Mapping[str, Any], life: TaskLife, place: Place, messages: list[str], at: float
) -> None:
    options = _awslogs(container)
    prefix = options.get("awslogs-stream-prefix")
    group = _log_groups(place, options).get(options.get("awslogs-group", ""))
    if prefix is None or group is None or not messages:
        return
    stream = f"{prefix}/{container['name']}/{life.task_id}"
    if stream not in group.streams:
        group.create_log_stream(stream)
    group.put_log_events(stream, [{"timestamp": int(at * 1000), "message": message} for message in messages])


def _names(definition: Any, settings: Mapping[str, Any]) -> reasons.Names:
    """What stands in the task definition and the service, else the names that the sandbox invents."""
    container = definition.container_definitions[0]
    platform = getattr(definition, "runtime_platform", None) or {}
    network = (settings.get("networkConfiguration") or {}).get("awsvpcConfiguration") or {}
    balancer: Mapping[str, Any] = next(iter(settings.get("loadBalancers") or ()), {})
    known = {
        "image": container["image"],
        "execution_role_arn": getattr(definition, "execution_role_arn", None),
        "secret_arn": next((item["valueFrom"] for item in container.get("secrets") or ()), None),
        "log_group": _awslogs(container).get("awslogs-group"),
        "platform": "linux/arm64" if platform.get("cpuArchitecture") == "ARM64" else None,
        "subnet": next(iter(network.get("subnets") or ()), None),
        "target_group_arn": balancer.get("targetGroupArn"),
        "port": balancer.get("containerPort"),
    }
    return reasons.Names(**{name: value for name, value in known.items() if value})


_ELSEWHERE = object()


def _look_up(image: str, runtime: Runtime) -> Any:
    """The ECR image, None when this sandbox should have it and has not, _ELSEWHERE for another registry's."""
    host, _, rest = image.partition("/")
    if host not in (runtime.registry_host, runtime.registry_host.replace("127.0.0.1", "localhost")):
        return _ELSEWHERE
    match = _IMAGE.fullmatch(rest)
    found = match and ecr.find_repository(match["account"], match["region"], match["name"])
    if not match or not found:
        return None
    return ecr.find_image(found[1], match["digest"] or match["tag"] or "latest")


def _problem(
    definition: Any, containers: Sequence[Mapping[str, Any]], place: Place, runtime: Runtime
) -> str | None:
    role_arn = getattr(definition, "execution_role_arn", None)
    if role_arn and not _role_exists(role_arn, place):
        return (
            "ResourceInitializationError: unable to pull secrets or registry auth: ECS was unable to assume the role"
            f" '{role_arn}' that was provided for this task. Please verify that the role being passed has the proper"
            " trust relationship and permissions and that your IAM user has permissions to pass this role."
        )
    for container in containers:
        options = _awslogs(container)
        group = options.get("awslogs-group", "")
        creates = options.get("awslogs-create-group") == "true"
        if options and not creates and group not in _log_groups(place, options):
            return reasons.log_group_missing(reasons.Names(log_group=group))
    missing = next((c["image"] for c in containers if _look_up(c["image"], runtime) is None), None)
    return None if missing is None else reasons.cannot_pull(missing)


def _role_exists(role_arn: str, place: Place) -> bool:
    match = _ROLE_ARN.fullmatch(role_arn)
    account_id = match["account"] if match else place.account_id
    partition = match["partition"] if match else "aws"
    roles = iam_backends[account_id][partition].roles.values()
    return any(role_arn in (role.arn, role.name) for role in roles)


def _awslogs(container: Mapping[str, Any]) -> dict[str, str]:
    configuration = container.get("logConfiguration") or {}
    return dict(configuration.get("options") or {}) if configuration.get("logDriver") == "awslogs" else {}


def _log_groups(place: Place, options: Mapping[str, str]) -> dict[str, Any]:
    region = options.get("awslogs-region") or place.region
    groups: dict[str, Any] = logs_backends[place.account_id][region].groups
    return groups


def _variable(name: str, containers: Sequence[Mapping[str, Any]], overrides: Mapping[str, Any]) -> str:
    """The value of the first container that has the variable; RunTask's overrides win."""
    overridden = overrides.get("containerOverrides") or []
    for container in (*overridden, *containers):
        for pair in container.get("environment") or []:
            if pair.get("name") == name:
                return str(pair.get("value", ""))
    return ""
