"""The ECS API where the sandbox answers instead of moto: services, deployments, service revisions, tasks.

Operations that moto lacks (ListServiceDeployments, DescribeServiceDeployments, DescribeServiceRevisions,
StopServiceDeployment, ContinueServiceDeployment) are added; those that it has are answered from the rollouts. Everything else stays moto's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import moto.ecs.urls
from moto.core.responses import ActionResult
from moto.ecs.exceptions import ECSException, InvalidParameterException
from moto.ecs.responses import EC2ContainerServiceResponse

from orchestrator.sandbox import ecs_views, one_off

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from orchestrator.sandbox.ecs import SandboxEcsBackend

_PAGE_SIZE = 100
_MOST_SERVICES = 10
_MOST_DEPLOYMENTS = 20
_DEFAULT_CLUSTER = "default"


class SandboxEcsResponse(EC2ContainerServiceResponse):
    """One request. Method names are moto's way of naming operations."""

    def __init__(self) -> None:
        super().__init__()
        # moto keeps which fields to leave out in a dictionary of the class, shared by all requests.
        self.RESPONSE_KEY_PATH_TO_TRANSFORMER = dict(self.RESPONSE_KEY_PATH_TO_TRANSFORMER)

    @property
    def _backend(self) -> SandboxEcsBackend:
        return cast("SandboxEcsBackend", self.ecs_backend)

    @property
    def _now(self) -> float:
        return self._backend.runtime.clock.now()

    # --- services

    def create_service(self) -> ActionResult:
        return self._service(self._backend.open_service(dict(self._get_params())))

    def update_service(self) -> ActionResult:
        return self._service(self._backend.change_service(dict(self._get_params())))

    def delete_service(self) -> ActionResult:
        cluster = self._get_param("cluster", _DEFAULT_CLUSTER)
        force = bool(self._get_param("force", False))
        return self._service(self._backend.close_service(cluster, self._get_param("service"), force=force))

    def describe_services(self) -> ActionResult:
        cluster = self._get_param("cluster", _DEFAULT_CLUSTER)
        names = self._get_param("services", [])
        if len(names) > _MOST_SERVICES:
            raise InvalidParameterException("Too many services specified. The maximum is 10.")
        found, failures = self._backend.describe_services(cluster, names)
        with_tags = "TAGS" in self._get_param("include", [])
        keys = [f"{service.cluster_name}:{service.name}" for service in found]
        views = [ecs_views.service(self._backend, key, self._now) for key in keys]
        return ActionResult({"services": [_tagged(v, with_tags) for v in views], "failures": failures})

    def list_services(self) -> ActionResult:
        arns = [
            service.arn
            for service in self._backend.services.values()
            if service.cluster_name == self._cluster().name
            and service.status != "INACTIVE"
            and self._get_param("launchType") in (None, service.launch_type)
            and self._get_param("schedulingStrategy") in (None, service.scheduling_strategy)
        ]
        return self._page("serviceArns", sorted(arns), default=10)

    def list_service_deployments(self) -> ActionResult:
        backend = self._backend
        cluster = self._get_param("cluster", _DEFAULT_CLUSTER)
        key = backend.service_key(cluster, self._get_param("service"))
        wanted = self._get_param("status") or []
        between = self._get_param("createdAt") or {}
        briefs = [
            ecs_views.service_deployment_brief(backend, key, one)
            for one in backend.rollouts[key].service_deployments
            if (not wanted or one.status in wanted) and _is_between(one.created_at, between)
        ]
        return self._page("serviceDeployments", briefs, default=20)

    def describe_service_deployments(self) -> ActionResult:
        backend, now = self._backend, self._now
        return self._describe(
            "serviceDeploymentArns",
            "serviceDeployments",
            backend.find_service_deployment,
            lambda key, one: ecs_views.service_deployment(backend, key, one, now),
        )

    def describe_service_revisions(self) -> ActionResult:
        backend = self._backend
        return self._describe(
            "serviceRevisionArns",
            "serviceRevisions",
            backend.find_service_revision,
            lambda key, one: ecs_views.service_revision(backend, key, one),
        )

    def stop_service_deployment(self) -> ActionResult:
        arn = self._get_param("serviceDeploymentArn")
        self._backend.stop_service_deployment(arn, self._get_param("stopType", "ROLLBACK"))
        return ActionResult({"serviceDeploymentArn": arn})

    def continue_service_deployment(self) -> ActionResult:
        arn = self._get_param("serviceDeploymentArn")
        self._backend.continue_service_deployment(
            arn, self._get_param("hookId"), self._get_param("action", "CONTINUE")
        )
        return ActionResult({"serviceDeploymentArn": arn})

    # --- clusters

    def describe_clusters(self) -> ActionResult:
        now = self._now
        for cluster in self._backend.clusters.values():
            lives = [task.life for task in self._backend.own_tasks(cluster.name)]
            cluster.running_tasks_count = sum(life.is_running(now) for life in lives)
            cluster.pending_tasks_count = sum(
                life.is_active(now) and not life.is_running(now) for life in lives
            )
            cluster.active_services_count = sum(
                service.cluster_name == cluster.name and service.status == "ACTIVE"
                for service in self._backend.services.values()
            )
        return super().describe_clusters()

    def delete_cluster(self) -> ActionResult:
        name = self._cluster().name
        if any(s.cluster_name == name and s.status != "INACTIVE" for s in self._backend.services.values()):
            said = "The Cluster cannot be deleted while Services are active."
            raise ECSException("ClusterContainsServicesException", said)
        if any(task.life.status(self._now) != "STOPPED" for task in self._backend.own_tasks(name)):
            said = "The Cluster cannot be deleted while Tasks are active."
            raise ECSException("ClusterContainsTasksException", said)
        return super().delete_cluster()

    # --- task definitions

    def list_task_definitions(self) -> ActionResult:
        prefix = self._get_param("familyPrefix")
        status = self._get_param("status", "ACTIVE")
        arns = self._backend.list_task_definitions(prefix, status)
        ordered = sorted(arns, key=_family_and_revision, reverse=self._get_param("sort") == "DESC")
        return self._page("taskDefinitionArns", ordered)

    # --- tasks

    def run_task(self) -> ActionResult:
        return self._tasks(self._backend.launch_one_offs(dict(self._get_params())), [])

    def start_task(self) -> ActionResult:
        return self.run_task()

    def describe_tasks(self) -> ActionResult:
        cluster, wanted = self._get_param("cluster", _DEFAULT_CLUSTER), self._get_param("tasks", [])
        if not wanted:
            raise InvalidParameterException("Tasks cannot be empty.")
        found, missing = self._backend.find_tasks(cluster, wanted)
        return self._tasks(found, missing)

    def list_tasks(self) -> ActionResult:
        backend, now = self._backend, self._now
        service = self._get_param("serviceName")
        group = f"service:{service.split('/')[-1]}" if service else None
        if service:
            backend.service_key(self._get_param("cluster", _DEFAULT_CLUSTER), service)
        desired = self._get_param("desiredStatus") or "RUNNING"
        family, started_by = self._get_param("family"), self._get_param("startedBy")
        if started_by and (service or family or self._get_param("desiredStatus")):
            raise InvalidParameterException("startedBy must be the only filter.")
        tasks = [
            task
            for task in backend.own_tasks(self._cluster().name)
            if task.life.desired_status(now) == desired
            and group in (None, task.group)
            and started_by in (None, task.started_by)
            and family in (None, task.definition.family)
            and self._get_param("launchType") in (None, task.launch_type)
        ]
        newest_first = sorted(tasks, key=lambda task: task.life.created_at, reverse=True)
        return self._page("taskArns", ecs_views.arns(newest_first))

    def stop_task(self) -> ActionResult:
        found, _ = self._backend.find_tasks(
            self._get_param("cluster", _DEFAULT_CLUSTER), [self._get_param("task")]
        )
        if not found:
            raise InvalidParameterException("The referenced task was not found.")
        reason = self._get_param("reason") or "Task stopped by user"
        found[0].life.stop(self._now, stop_code="UserInitiated", reason=reason)
        return ActionResult({"task": ecs_views.task(found[0], self._now)})

    def execute_command(self) -> ActionResult:
        found, _ = self._backend.find_tasks(
            self._get_param("cluster", _DEFAULT_CLUSTER), [self._get_param("task")]
        )
        if not found:
            raise InvalidParameterException("The task provided in the request was not found.")
        return ActionResult(one_off.open_session(found[0], self._get_param("container") or "", self._now))

    # --- shapes

    def _cluster(self) -> Any:
        return self._backend._get_cluster(self._get_param("cluster", _DEFAULT_CLUSTER))  # noqa: SLF001  # moto's own lookup

    def _service(self, key: str) -> ActionResult:
        return ActionResult({"service": ecs_views.service(self._backend, key, self._now)})

    def _tasks(self, found: list[Any], missing: list[str]) -> ActionResult:
        with_tags = "TAGS" in self._get_param("include", [])
        failures = [{"arn": arn, "reason": "MISSING"} for arn in missing]
        views = [_tagged(ecs_views.task(task, self._now), with_tags) for task in found]
        return ActionResult({"tasks": views, "failures": failures})

    def _describe(
        self,
        parameter: str,
        result: str,
        find: Callable[[str], tuple[str, Any] | None],
        view: Callable[[str, Any], dict[str, Any]],
    ) -> ActionResult:
        wanted = self._get_param(parameter, [])
        if not 0 < len(wanted) <= _MOST_DEPLOYMENTS:
            raise InvalidParameterException(f"{parameter} must hold between 1 and {_MOST_DEPLOYMENTS} ARNs.")
        found = {arn: find(arn) for arn in wanted}
        failures = [{"arn": arn, "reason": "MISSING"} for arn, one in found.items() if one is None]
        views = [view(*one) for one in found.values() if one is not None]
        return ActionResult({result: views, "failures": failures})

    def _page(self, name: str, items: list[Any], *, default: int = _PAGE_SIZE) -> ActionResult:
        token = self._get_param("nextToken") or "0"
        if not token.isdigit():
            raise InvalidParameterException("Invalid token.")
        start, size = int(token), int(self._get_param("maxResults") or default)
        page: dict[str, Any] = {name: items[start : start + size]}
        if start + size < len(items):
            page["nextToken"] = str(start + size)
        return ActionResult(page)


def install() -> None:
    """Puts these answers in the place of moto's; before the first request."""
    moto.ecs.urls.url_paths = {"{0}/$": SandboxEcsResponse.dispatch}


def _tagged(view: dict[str, Any], with_tags: bool) -> dict[str, Any]:
    return view if with_tags else {name: value for name, value in view.items() if name != "tags"}


def _is_between(created_at: float, between: Mapping[str, Any]) -> bool:
    after, before = between.get("after"), between.get("before")
    return (after is None or created_at >= _seconds(after)) and (
        before is None or created_at <= _seconds(before)
    )


def _seconds(moment: Any) -> float:
    return float(moment.timestamp() if hasattr(moment, "timestamp") else moment)


def _family_and_revision(arn: str) -> tuple[str, int]:
    family, _, revision = arn.rsplit("/", 1)[-1].rpartition(":")
    return family, int(revision)
