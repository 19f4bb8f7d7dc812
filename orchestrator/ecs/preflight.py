"""What must be so before a service is rolled out, judged from facts (facts.py). Pure.

    needs_of   TaskDefinition    → Needs       what its tasks need in order to start
    judge      Wish, Facts       → Findings    one for each check, in the order in which people read them

A FAIL is what would make the rollout fail, or leave it without its safety net. What could not be asked is a SKIP with the reason.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orchestrator.ecs import traffic
from orchestrator.ecs.check import Check, trust_problem
from orchestrator.ecs.facts import Unread
from orchestrator.ecs.strategy import ROLLING, Strategy

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from orchestrator.ecs.facts import Facts, Service
    from orchestrator.ecs.services import ServiceState
    from orchestrator.ecs.task_definition import TaskDefinition
    from orchestrator.model import Finding, ServiceContract

_TASKS_PRINCIPAL = "ecs-tasks.amazonaws.com"
_CURRENT = "AWSCURRENT"
_ARCHITECTURES = {"X86_64": "amd64", "ARM64": "arm64"}


@dataclass(frozen=True)
class Place:
    """Where the service runs."""

    account_id: str
    region: str


@dataclass(frozen=True)
class Wish:
    """One service as it is to be rolled out.

    `has_image` is false while no image is known: `definition` is then the skeleton; `origin` says in words where it comes from.
    `desired_count` is what the first rollout of all sets, None afterwards. `is_settled` tells that the service is on a revision that
    was released with success, or on none of orch's, and `is_followed` that a rollout under way would be this very one. `strategy` is
    that of releases; the first one of all rolls.
    """

    contract: ServiceContract
    definition: TaskDefinition
    has_image: bool = True
    origin: str = ""
    desired_count: int | None = None
    is_settled: bool = True
    is_followed: bool = False
    strategy: Strategy = ROLLING


@dataclass(frozen=True)
class Reference:
    """Where a container's secret comes from. `store` is `secretsmanager`, `ssm`, or what else an ARN names; `key` an ARN without its
    suffix, or a parameter's name. Region and account are empty for the service's own.
    """

    name: str
    value_from: str
    store: str
    key: str
    region: str = ""
    account_id: str = ""
    json_key: str = ""
    stage: str = ""
    version: str = ""

    def is_in(self, place: Place) -> bool:
        return self.region in {"", place.region} and self.account_id in {"", place.account_id}


@dataclass(frozen=True)
class LogGroup:
    """A log group that a container writes to; `region` is empty for the service's own."""

    name: str
    region: str
    is_made_by_ecs: bool

    def is_in(self, place: Place) -> bool:
        return self.region in {"", place.region}


@dataclass(frozen=True)
class Needs:
    """What the tasks of a definition need in order to start; `images` by container, `roles` by `execution` and `task`."""

    images: Mapping[str, str]
    platform: str
    roles: Mapping[str, str]
    references: tuple[Reference, ...]
    log_groups: tuple[LogGroup, ...]


# --- what a task definition needs


def needs_of(definition: TaskDefinition) -> Needs:
    """Reads a task definition. Pure."""
    request = definition.request
    containers = request["containerDefinitions"]
    platform = request.get("runtimePlatform", {})
    architecture = platform.get("cpuArchitecture") or "X86_64"
    system = str(platform.get("operatingSystemFamily") or "LINUX").partition("_")[0].lower()
    roles = {"execution": request.get("executionRoleArn"), "task": request.get("taskRoleArn")}
    return Needs(
        images={item["name"]: str(item.get("image", "")) for item in containers},
        platform=f"{system}/{_ARCHITECTURES.get(architecture, architecture.lower())}",
        roles={kind: arn for kind, arn in roles.items() if arn},
        references=tuple(dict.fromkeys(ref for item in containers for ref in _references(item))),
        log_groups=tuple(dict.fromkeys(group for item in containers for group in _log_groups(item))),
    )


def _references(container: Mapping[str, Any]) -> Iterator[Reference]:
    logging = container.get("logConfiguration") or {}
    for item in (*container.get("secrets", ()), *logging.get("secretOptions", ())):
        yield reference(item["name"], item["valueFrom"])
    private = container.get("repositoryCredentials") or {}
    if private.get("credentialsParameter"):
        yield reference("the registry's login", private["credentialsParameter"])


def reference(name: str, value_from: str) -> Reference:
    """`valueFrom` taken apart: an ARN with `:json-key:version-stage:version-id` behind it or without, or a parameter's name.

    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/secrets-envvar-secrets-manager.html
    https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_Secret.html
    """
    parts = value_from.split(":")
    if parts[0] != "arn" or len(parts) < 6:
        return Reference(name, value_from, "ssm", parts[0])
    _, _, store, region, account_id, resource, *_ = parts
    if store == "secretsmanager":
        suffix = (*parts[7:10], "", "", "")[:3]
        return Reference(name, value_from, store, ":".join(parts[:7]), region, account_id, *suffix)
    return Reference(name, value_from, store, resource.removeprefix("parameter"), region, account_id)


def _log_groups(container: Mapping[str, Any]) -> Iterator[LogGroup]:
    logging = container.get("logConfiguration") or {}
    options = logging.get("options") or {}
    if logging.get("logDriver") == "awslogs" and options.get("awslogs-group"):
        creates = str(options.get("awslogs-create-group", "")).lower() == "true"
        yield LogGroup(options["awslogs-group"], options.get("awslogs-region", ""), creates)


# --- judgements


def is_in_flight(state: ServiceState, *, is_settled: bool) -> bool:
    """Whether a rollout is under way that brings in another revision.

    One of a settled revision, with no other beside it, is ECS's answer to a change of the service itself, such as the one Terraform
    has just made: to replace that loses nothing. So is one without tasks: Terraform makes services that way.
    """
    primary = state.primary
    if primary is None or primary.rollout_state != "IN_PROGRESS" or not state.desired:
        return False
    return not is_settled or any(
        item.task_definition != primary.task_definition for item in state.deployments
    )


def judge(wish: Wish, facts: Facts, place: Place, *, in_flight: str) -> tuple[Finding, ...]:
    """Every check of one service; `in_flight` is the setting of that name. Pure."""
    contract = wish.contract
    service = facts.services.get(contract.name)
    needs = needs_of(wish.definition)
    found: list[Finding] = [_judge_service(contract, service)]
    if service is not None:
        found.append(_judge_controller(service, contract))
        if service.controller == "ECS":
            found += traffic.judge(wish, service, facts, place.account_id)
        found.append(_judge_in_flight(service, wish, in_flight))
        found.append(_judge_breaker(service, wish))
        found.append(judge_capacity(service, wish))
        found += _judge_alarms(service, facts)
        found += _judge_scaling(wish, facts)
    found += _judge_images(wish, needs, facts)
    found += _judge_roles(wish, needs, facts, place)
    found += [_judge_reference(one, facts, place) for one in needs.references]
    found += [_judge_log_group(one, facts, place) for one in needs.log_groups]
    return tuple(found)


def _judge_service(contract: ServiceContract, service: Service | None) -> Finding:
    check = Check("service", "service", f"{contract.cluster}/{contract.service}")
    again = "`orch apply` lets Terraform make it again; was it deleted outside Terraform?"
    if service is None:
        return check.fail(f"cluster {contract.cluster} has no service {contract.service}", again)
    if service.state.status != "ACTIVE":
        return check.fail(f"it is {service.state.status}", again)
    return check.ok(f"ACTIVE, {service.state.running} of {service.state.desired} tasks running")


def _judge_controller(service: Service, contract: ServiceContract) -> Finding:
    check = Check("controller", "deployment controller", contract.service)
    if service.controller != "ECS":
        return check.fail(
            f"it is {service.controller}: what orch starts and follows are ECS's own deployments",
            'set type = "ECS" in the service\'s deployment_controller in Terraform',
        )
    return check.ok("ECS")


def _judge_in_flight(service: Service, wish: Wish, setting: str) -> Finding:
    check = Check("in-flight", "other rollout", wish.contract.service)
    primary = service.state.primary
    if primary is None or primary.rollout_state != "IN_PROGRESS" or not service.state.desired:
        return check.ok("none under way")
    revision = primary.task_definition.rsplit("/", 1)[-1]
    if wish.is_followed:
        return check.ok(f"that of {revision} under way is this one: it is followed")
    if not is_in_flight(service.state, is_settled=wish.is_settled):
        return check.ok(f"none: ECS replaces the tasks of {revision} by the same")
    said = f"{revision} is being rolled out, {primary.running} of {primary.desired} tasks running"
    if setting == "refuse":
        return check.fail(
            said, '`orch watch` follows it; or set in_flight = "wait" in [rollout] of orch.toml'
        )
    if setting == "supersede":
        return check.warn(f"{said}: it is replaced", "its own run will end as SUPERSEDED")
    return check.warn(f"{said}: its end is waited for", 'in_flight = "supersede" in [rollout] replaces it')


def _judge_breaker(service: Service, wish: Wish) -> Finding:
    check = Check("circuit-breaker", "circuit breaker", wish.contract.service)
    # https://docs.aws.amazon.com/AmazonECS/latest/developerguide/deployment-circuit-breaker.html
    if wish.strategy.is_staged:
        return check.skip(f"it may not watch over {wish.strategy.type}: orch itself ends what fails")
    if not service.has_breaker:
        return check.fail(
            "it is off: ECS would try a release that cannot start for ever",
            "set enable and rollback to true in the service's deployment_circuit_breaker in Terraform",
        )
    if not service.state.rolls_back:
        return check.warn(
            "it is on, but does not roll back: a failed release stays half rolled out",
            "set rollback = true in the service's deployment_circuit_breaker in Terraform",
        )
    return check.ok("on, rolls back")


def judge_capacity(service: Service, wish: Wish) -> Finding:
    """Whether a rollout can move at all: one task more must fit in, or one less be enough.

    The minimum is rounded up, the maximum down.
    https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DeploymentConfiguration.html
    """
    check = Check("capacity", "room to roll", wish.contract.service)
    if wish.strategy.is_staged or service.scheduling != "REPLICA":
        how = wish.strategy.type if wish.strategy.is_staged else service.scheduling
        return check.skip(f"the percentages do not rule it: the service is {how}")
    replaces = wish.desired_count is None or service.state.running > 0
    desired = service.state.desired if wish.desired_count is None else wish.desired_count
    if not desired:
        return check.ok("the desired count is 0: there is nothing to replace")
    least = -(-desired * service.minimum_percent // 100)
    most = desired * service.maximum_percent // 100
    said = (
        f"desired {desired}: at least {least} ({service.minimum_percent}%),"
        f" at most {most} ({service.maximum_percent}%)"
    )
    more, less = -(-100 * (desired + 1) // desired), 100 * (desired - 1) // desired
    higher = f"set the service's maximum_percent to {more} or more"
    if most < desired:
        return check.fail(f"{said}: ECS could never start them all", higher)
    if replaces and most == desired and least >= desired:
        return check.fail(
            f"{said}: ECS could neither start a new task nor stop an old one",
            f"{higher}, or minimum_healthy_percent to {less}{' or less' if less else ''}",
        )
    return check.ok(said)


def _judge_alarms(service: Service, facts: Facts) -> Iterator[Finding]:
    for name in service.alarms:
        check, state = Check("alarm", f"alarm {name}", name), facts.alarms.get(name)
        if isinstance(state, Unread):
            yield check.skip(state.reason)
        elif state is None:
            yield check.fail(
                "CloudWatch has no such alarm", "make it, or take it out of the service's `alarms`"
            )
        elif state == "ALARM":
            # https://docs.aws.amazon.com/AmazonECS/latest/developerguide/deployment-alarm-failure.html
            yield check.fail(
                "it is in ALARM already, and could not tell a bad release",
                "mend what it warns of, or wait until it is over",
            )
        else:
            yield check.ok(state)


def _judge_scaling(wish: Wish, facts: Facts) -> Iterator[Finding]:
    """Only the first rollout sets a count; afterwards it is autoscaling's own."""
    count, target = wish.desired_count, facts.scaling.get(wish.contract.name)
    check = Check("autoscaling", "autoscaling", wish.contract.service)
    if count is None or target is None:
        return
    if isinstance(target, Unread):
        yield check.skip(target.reason)
        return
    bounds = f"between {target.min_count} and {target.max_count} tasks"
    if target.is_suspended or target.min_count <= count <= target.max_count:
        yield check.ok(bounds)
    else:
        yield check.warn(
            f"it keeps {bounds}, and will soon replace the desired count {count}",
            "make desired_count lie between min_tasks and max_tasks in Terraform",
        )


def _judge_images(wish: Wish, needs: Needs, facts: Facts) -> Iterator[Finding]:
    registry = wish.contract.repository_url.partition("/")[0]
    known = asked_images(wish, needs)
    for container, image in needs.images.items():
        is_own = container == wish.contract.container
        check = Check("image", "image" if is_own else f"image of {container}", image)
        if image in known:
            yield from _judge_image(check, needs, facts, wish, wish.origin if is_own else "")
        elif is_own and not wish.has_image:
            yield check.skip("this commit has none in ECR, and none runs: `orch apply` builds it")
        else:
            yield check.skip(f"only ECR at {registry} is asked")


def asked_images(wish: Wish, needs: Needs) -> tuple[str, ...]:
    """The images that the environment's own ECR can tell of. Pure."""
    registry = wish.contract.repository_url.partition("/")[0]
    return tuple(
        image
        for container, image in needs.images.items()
        if image.startswith(f"{registry}/") and (wish.has_image or container != wish.contract.container)
    )


def _judge_image(check: Check, needs: Needs, facts: Facts, wish: Wish, origin: str) -> Iterator[Finding]:
    found = facts.images.get(check.subject)
    if isinstance(found, Unread):
        yield check.skip(found.reason)
        return
    short = _short(check.subject)
    if found is None:
        yield check.fail(
            f"ECR has no {short}",
            "release another image, or push this one again; a lifecycle policy may have expired it",
        )
        return
    yield check.ok(f"{short} in ECR" + (f", {origin}" if origin else ""))
    check = Check("architecture", check.title.replace("image", "architecture", 1), check.subject)
    if isinstance(found.names, Unread):
        yield check.skip(found.names.reason)
    elif needs.platform not in found.names:
        yield check.fail(
            f"the image is for {', '.join(found.names) or 'no platform'}, the task definition for {needs.platform}",
            f'set platform = "{needs.platform}" in [services.{wish.contract.name}] of orch.toml, or another cpu_architecture in Terraform',
        )
    else:
        yield check.ok(needs.platform)


def _judge_roles(wish: Wish, needs: Needs, facts: Facts, place: Place) -> Iterator[Finding]:
    for kind, arn in needs.roles.items():
        check, trust = Check(f"{kind}-role", f"{kind} role", arn), facts.roles.get(arn)
        name = arn.rsplit("/", 1)[-1]
        if isinstance(trust, Unread):
            yield check.skip(trust.reason)
        elif trust is None:
            yield check.fail(
                f"IAM has no {arn}",
                "`orch apply` lets Terraform make it; IAM may take seconds to show a new one",
            )
        elif problem := trust_problem(trust, place.account_id, _TASKS_PRINCIPAL):
            yield check.fail(
                f"{name}: {problem}", f"allow sts:AssumeRole to {_TASKS_PRINCIPAL} in its trust policy"
            )
        else:
            yield check.ok(f"{name}, lets ECS tasks in")
    # https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task_execution_IAM_role.html
    if "execution" not in needs.roles and "FARGATE" in wish.definition.request.get(
        "requiresCompatibilities", ()
    ):
        check = Check("execution-role", "execution role", wish.definition.family)
        yield check.fail(
            "the task definition names none: on Fargate nothing could pull from ECR or write logs",
            "give it an executionRoleArn, as modules/iam does",
        )


def _judge_reference(one: Reference, facts: Facts, place: Place) -> Finding:
    kind = "parameter" if one.store == "ssm" else "secret"
    check = Check(kind, f"secret {one.name}", one.value_from)
    if one.store not in {"secretsmanager", "ssm"}:
        return check.fail(
            f"ECS reads no secrets from {one.store}",
            "give the ARN of a secret in Secrets Manager, or of an SSM parameter",
        )
    # ECS reads parameters of other regions too: https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_Secret.html
    if not one.is_in(place):
        where = f"{one.region or place.region} of account {one.account_id or place.account_id}"
        return check.skip(f"it lies in {where}, where nothing is asked")
    if one.store == "secretsmanager":
        return _judge_secret(check, one, facts)
    is_there = facts.parameters.get(one.key)
    if isinstance(is_there, Unread):
        return check.skip(is_there.reason)
    if not is_there:
        return check.fail(
            f"SSM has no parameter {one.key}",
            f"make it, or mend what {one.name} names in the service's `secrets`",
        )
    return check.ok(f"parameter {one.key}")


def _judge_secret(check: Check, one: Reference, facts: Facts) -> Finding:
    secret, name = facts.secrets.get(one.key), one.key.rsplit(":", 1)[-1]
    if isinstance(secret, Unread):
        return check.skip(secret.reason)
    if secret is None:
        return check.fail(
            f"Secrets Manager has no {name}",
            f"make it, or mend the ARN of {one.name} in the service's `secrets`",
        )
    if secret.deleted_at:
        return check.fail(
            f"{name} is to be deleted, since {secret.deleted_at}",
            f"aws secretsmanager restore-secret --secret-id {one.key}",
        )
    stage = one.stage or ("" if one.version else _CURRENT)
    versions = [found for version, found in secret.stages.items() if one.version in {"", version}]
    if not any(not stage or stage in found for found in versions):
        wanted = " ".join(part for part in (one.version, stage) if part)
        return check.fail(
            f"{name} has no version {wanted}",
            f"aws secretsmanager put-secret-value --secret-id {one.key} --secret-string file://…",
        )
    return check.ok(f"{name}, its key {one.json_key} not looked at" if one.json_key else name)


def _judge_log_group(one: LogGroup, facts: Facts, place: Place) -> Finding:
    check = Check("log-group", "log group", one.name)
    if one.is_made_by_ecs:
        return check.ok(f"{one.name}: ECS makes it when it is not there")
    if not one.is_in(place):
        return check.skip(f"{one.name} lies in {one.region}, where nothing is asked")
    is_there = facts.log_groups.get(one.name)
    if isinstance(is_there, Unread):
        return check.skip(is_there.reason)
    if not is_there:
        return check.fail(
            f"CloudWatch Logs has no {one.name}",
            "`orch apply` lets Terraform make it again; no task starts without",
        )
    return check.ok(one.name)


def _short(image: str) -> str:
    """The last part of a repository, and as much of a digest as tells it apart."""
    name = image.rsplit("/", 1)[-1]
    return name[: name.index("sha256:") + 19] if "sha256:" in name else name
