"""Services, deployments, service revisions and tasks in the shapes of the ECS API. Reads only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orchestrator.sandbox import one_off, staged
from orchestrator.sandbox.clock import timestamp
from orchestrator.sandbox.tasks import SIGTERM_EXIT_CODE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from orchestrator.sandbox.deployments import Deployment, Revision, ServiceDeployment
    from orchestrator.sandbox.ecs import SandboxEcsBackend, SandboxTask
    from orchestrator.sandbox.rollout import ServiceRollouts
    from orchestrator.sandbox.strategies import Hook

_REVISION_SETTINGS = (
    "capacityProviderStrategy",
    "launchType",
    "platformVersion",
    "loadBalancers",
    "serviceRegistries",
    "networkConfiguration",
    "serviceConnectConfiguration",
    "volumeConfigurations",
    "vpcLatticeConfigurations",
)


def service(backend: SandboxEcsBackend, key: str, now: float) -> dict[str, Any]:
    known, rollouts, settings = backend.services[key], backend.rollouts[key], backend.settings[key]
    deployments = rollouts.deployments
    current = next((d for d in rollouts.service_deployments if d.status != "PENDING"), rollouts.current)
    drained = known.status == "INACTIVE"
    return _without_none(
        {
            **{name: value for name, value in settings.items() if name not in _DEPLOYMENT_ONLY},
            "serviceArn": known.arn,
            "serviceName": known.name,
            "clusterArn": known.cluster_arn,
            "status": known.status,
            "desiredCount": rollouts.desired_count,
            "runningCount": sum(d.running_count(now) for d in deployments),
            "pendingCount": sum(d.pending_count(now) for d in deployments),
            "platformFamily": _platform_family(settings),
            "taskDefinition": known.task_definition,
            "deployments": [] if drained else [deployment(d, rollouts, now) for d in deployments],
            "events": [
                {"id": e.event_id, "createdAt": timestamp(e.created_at), "message": e.message}
                for e in rollouts.events
            ],
            "createdAt": timestamp(backend.created_at[key]),
            "createdBy": f"arn:{backend.partition}:iam::{backend.account_id}:root",
            "roleArn": _role_arn(known, backend),
            "tags": known.tags,
            "currentServiceDeployment": current.arn,
            "currentServiceRevisions": [
                {
                    "arn": d.revision.arn,
                    "requestedTaskCount": _desired(d, rollouts, now),
                    "runningTaskCount": d.running_count(now),
                    "pendingTaskCount": d.pending_count(now),
                }
                for d in deployments
            ],
        }
    )


def deployment(one: Deployment, rollouts: ServiceRollouts, now: float) -> dict[str, Any]:
    settings = one.revision.settings
    return _without_none(
        {
            **{
                name: settings.get(name) for name in ("launchType", "platformVersion", "networkConfiguration")
            },
            "capacityProviderStrategy": settings.get("capacityProviderStrategy") or None,
            "platformFamily": _platform_family(settings),
            "serviceConnectConfiguration": settings.get("serviceConnectConfiguration"),
            "id": one.deployment_id,
            "status": one.status,
            "taskDefinition": one.revision.task_definition,
            "desiredCount": _desired(one, rollouts, now),
            "pendingCount": one.pending_count(now),
            "runningCount": one.running_count(now),
            "failedTasks": one.failed_tasks,
            "createdAt": timestamp(one.created_at),
            "updatedAt": timestamp(one.updated_at),
            "rolloutState": one.rollout_state,
            "rolloutStateReason": one.reason,
        }
    )


def service_deployment_brief(backend: SandboxEcsBackend, key: str, one: ServiceDeployment) -> dict[str, Any]:
    return _without_none(
        {
            "serviceDeploymentArn": one.arn,
            "serviceArn": backend.services[key].arn,
            "clusterArn": backend.services[key].cluster_arn,
            "createdAt": timestamp(one.created_at),
            "startedAt": _time(one.started_at),
            "finishedAt": _time(one.finished_at),
            "targetServiceRevisionArn": one.target.arn,
            "status": one.status,
            "statusReason": one.reason or None,
        }
    )


def service_deployment(
    backend: SandboxEcsBackend, key: str, one: ServiceDeployment, now: float
) -> dict[str, Any]:
    rollouts = backend.rollouts[key]
    brief = service_deployment_brief(backend, key, one)
    del brief["targetServiceRevisionArn"]
    rolling_back = one.rollback_started_at is not None
    target_wants: int | None = rollouts.desired_count if not one.is_over or one.status == "SUCCESSFUL" else 0
    if one.stages is not None and not one.is_over:
        target_wants = None  # it depends on the stage
    return _without_none(
        {
            **brief,
            "updatedAt": timestamp(one.updated_at),
            "stoppedAt": _time(one.stopped_at),
            "sourceServiceRevisions": [
                _counts(source, rollouts, now, None) | _weights(one, source) for source in one.sources
            ],
            "targetServiceRevision": _counts(one.target, rollouts, now, 0 if rolling_back else target_wants)
            | _weights(one, one.target),
            "lifecycleStage": one.stages.stage or None if one.stages is not None else None,
            "lifecycleHookDetails": [_hook(hook) for hook in one.stages.hooks]
            if one.stages is not None
            else None,
            "deploymentConfiguration": dict(one.raw_configuration),
            "deploymentCircuitBreaker": {
                "status": _breaker_status(one),
                "failureCount": one.failure_count,
                "threshold": one.configuration.threshold(rollouts.desired_count),
            },
            "alarms": {
                "status": _alarms_status(one),
                "alarmNames": list(one.configuration.alarm_names),
                "triggeredAlarmNames": list(one.triggered_alarms),
            },
            "rollback": {
                "reason": one.rollback_reason,
                "startedAt": _time(one.rollback_started_at),
                "serviceRevisionArn": one.rollback_revision_arn,
            }
            if rolling_back
            else None,
        }
    )


def service_revision(backend: SandboxEcsBackend, key: str, revision: Revision) -> dict[str, Any]:
    settings = revision.settings
    return _without_none(
        {
            **{name: settings.get(name) or None for name in _REVISION_SETTINGS},
            "serviceRevisionArn": revision.arn,
            "serviceArn": backend.services[key].arn,
            "clusterArn": backend.services[key].cluster_arn,
            "taskDefinition": revision.task_definition,
            "platformFamily": _platform_family(settings),
            "containerImages": list(revision.images),
            "resolvedConfiguration": {"loadBalancers": revision.resolved_load_balancers},
            "guardDutyEnabled": False,
            "createdAt": timestamp(revision.created_at),
        }
    )


def task(one: SandboxTask, now: float) -> dict[str, Any]:
    life, definition = one.life, one.definition
    status, ending = life.status(now), life.ending
    stopping = ending if life.desired_status(now) == "STOPPED" else None
    running_at = life.running_at if life.running_at is not None and life.running_at <= now else None
    return _without_none(
        {
            "taskArn": one.task_arn,
            "clusterArn": one.cluster_arn,
            "taskDefinitionArn": one.task_definition_arn,
            "containers": _containers(one, status, stopping),
            "attachments": one.attachments,
            "overrides": one.overrides,
            "group": one.group,
            "startedBy": one.started_by or None,
            "launchType": one.launch_type or None,
            "platformVersion": ("1.4.0" if one.launch_type == "FARGATE" else None),
            "platformFamily": _platform_family({"launchType": one.launch_type}),
            "cpu": one.overrides.get("cpu") or definition.cpu,
            "memory": one.overrides.get("memory") or definition.memory,
            "availabilityZone": f"{one.region_name}a",
            "connectivity": "CONNECTED" if running_at is not None else None,
            "lastStatus": status,
            "desiredStatus": life.desired_status(now),
            "healthStatus": _task_health(definition, life, now),
            "stopCode": stopping.stop_code if stopping else None,
            "stoppedReason": stopping.stopped_reason if stopping else None,
            "createdAt": timestamp(life.created_at),
            "startedAt": _time(running_at),
            "stoppingAt": _time(life.stopping_at) if stopping else None,
            "stoppedAt": _time(life.stopped_at) if status == "STOPPED" else None,
            "executionStoppedAt": _time(life.stopping_at) if status == "STOPPED" and running_at else None,
            "enableExecuteCommand": one.has_exec,
            "tags": one.tags,
            "version": 1,
        }
    )


_DEPLOYMENT_ONLY = ("serviceConnectConfiguration", "volumeConfigurations", "vpcLatticeConfigurations")


def _containers(one: SandboxTask, status: str, stopping: Any) -> list[dict[str, Any]]:
    """Every container ends with its task: the first one made it end, the others are told to stop."""
    described = []
    for index, (definition, image) in enumerate(
        zip(one.definition.container_definitions, one.images, strict=True)
    ):
        stopped = status == "STOPPED" and stopping is not None
        exit_code = stopping.exit_code if stopped else None
        described.append(
            _without_none(
                {
                    "containerArn": f"{one.task_arn.replace(':task/', ':container/')}/{definition['name']}",
                    "taskArn": one.task_arn,
                    "name": definition["name"],
                    "image": definition["image"],
                    "imageDigest": image.get("imageDigest"),
                    "lastStatus": {"PROVISIONING": "PENDING", "DEACTIVATING": "RUNNING"}.get(status, status),
                    "exitCode": exit_code
                    if exit_code is None or one_off.made_it_end(one, index)
                    else SIGTERM_EXIT_CODE,
                    "reason": (stopping.container_reason or None) if stopped and index == 0 else None,
                    "healthStatus": "UNHEALTHY" if stopping is not None and stopping.unhealthy else "UNKNOWN",
                    "cpu": str(definition.get("cpu", 0)),
                    "memory": str(definition["memory"]) if definition.get("memory") else None,
                    "networkInterfaces": [],
                    **one_off.exec_agents(one, status),
                }
            )
        )
    return described


def _task_health(definition: Any, life: Any, now: float) -> str:
    if life.ending is not None and life.ending.unhealthy and life.desired_status(now) == "STOPPED":
        return "UNHEALTHY"
    checked = any(container.get("healthCheck") for container in definition.container_definitions)
    return "HEALTHY" if checked and life.is_healthy(now) else "UNKNOWN"


def _desired(one: Deployment, rollouts: ServiceRollouts, now: float) -> int:
    return rollouts.desired_count if staged.is_kept(rollouts, one) else len(one.active(now))


def _counts(
    revision: Revision, rollouts: ServiceRollouts, now: float, requested: int | None
) -> dict[str, Any]:
    holding = [d for d in rollouts.deployments if d.revision.arn == revision.arn]
    wanted = sum(_desired(d, rollouts, now) for d in holding) if requested is None else requested
    return {
        "arn": revision.arn,
        "requestedTaskCount": wanted,
        "runningTaskCount": sum(d.running_count(now) for d in holding),
        "pendingTaskCount": sum(d.pending_count(now) for d in holding),
    }


def _weights(one: ServiceDeployment, revision: Revision) -> dict[str, float]:
    """Green is the target; what it does not get, blue does, and what was half rolled out before gets nothing."""
    if one.stages is None:
        return {}
    test, production = one.stages.weights
    if revision is not one.target:
        is_blue = revision.arn == one.blue_arn
        test, production = (100 - test, 100 - production) if is_blue else (0, 0)
    return {"requestedTestTrafficWeight": float(test), "requestedProductionTrafficWeight": float(production)}


def _hook(one: Hook) -> dict[str, Any]:
    return {
        "hookId": one.hook_id,
        "targetType": "PAUSE",
        "status": one.status,
        "expiresAt": timestamp(one.expires_at),
        "timeoutAction": one.timeout_action,
    }


def _alarms_status(one: ServiceDeployment) -> str:
    if not one.configuration.alarm_names:
        return "DISABLED"
    if one.triggered_alarms:
        return "TRIGGERED"
    return "MONITORING_COMPLETE" if one.is_over else "MONITORING"


def _breaker_status(one: ServiceDeployment) -> str:
    if not one.configuration.breaker_enabled:
        return "DISABLED"
    if one.triggered:
        return "TRIGGERED"
    return "MONITORING_COMPLETE" if one.is_over else "MONITORING"


def _platform_family(settings: Mapping[str, Any]) -> str | None:
    return "Linux" if settings.get("launchType") == "FARGATE" else None


def _role_arn(known: Any, backend: SandboxEcsBackend) -> str | None:
    name = "aws-service-role/ecs.amazonaws.com/AWSServiceRoleForECS"
    linked = f"arn:{backend.partition}:iam::{backend.account_id}:role/{name}"
    return known.role_arn or linked


def _time(seconds: float | None) -> Any:
    return None if seconds is None else timestamp(seconds)


def _without_none(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def arns(tasks: Iterable[SandboxTask]) -> list[str]:
    return [one.task_arn for one in tasks]
