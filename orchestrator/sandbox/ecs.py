"""moto's ECS backend with services that start tasks and roll out over time.

Clusters, task definitions and task objects stay moto's; what moto lacks is added beside them: a `ServiceRollouts` for each
service and a `TaskLife` for each task (as its attribute `life`). `tick` brings everything to the present and is called
before every request, so nothing runs in the background.

Simplified: tasks are always placeable (no container instances, no capacity providers); stopped tasks stay visible for one
hour of the sandbox's clock; DeleteService drains, then the service is INACTIVE.
"""

from __future__ import annotations

import copy
import secrets
import uuid
from datetime import UTC
from typing import TYPE_CHECKING, Any, ClassVar, cast

import moto.ecs.urls
from moto.cloudwatch.models import cloudwatch_backends
from moto.core.exceptions import ServiceException
from moto.ec2.models import ec2_backends
from moto.ecs.exceptions import (
    EcsClientException,
    ECSException,
    InvalidParameterException,
    ServiceNotFoundException,
    TaskDefinitionNotFoundException,
)
from moto.ecs.models import EC2ContainerServiceBackend, Service, Task, ecs_backends

from orchestrator.sandbox import ecs_settings, launch, scenario, targets
from orchestrator.sandbox.clock import timestamp
from orchestrator.sandbox.deployments import (
    Configuration,
    Deployment,
    Revision,
    ServiceDeployment,
    new_number,
)
from orchestrator.sandbox.launch import Place
from orchestrator.sandbox.one_off import Launches, Play, decide_command, log_command, require_containers
from orchestrator.sandbox.rollout import ServiceRollouts
from orchestrator.sandbox.tasks import Fate, TaskLife, start_failure

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from orchestrator.sandbox.programs import Moment
    from orchestrator.sandbox.runtime import Runtime

_STOPPED_TASKS_KEPT_S = 3600.0
_STOPPABLE = ("PENDING", "IN_PROGRESS")
_ALREADY_STOPPING = ("STOP_REQUESTED", "ROLLBACK_REQUESTED", "ROLLBACK_IN_PROGRESS")


class SandboxTask(Task):
    """moto's task with a life. `told` remembers which of its log lines are written."""

    life: TaskLife
    definition: Any
    images: list[dict[str, str]]
    told: set[str]
    load_balancers: list[dict[str, Any]]
    play: Play | None
    has_exec: bool
    behaviour: str | None


class SandboxEcsBackend(EC2ContainerServiceBackend):
    """ECS of one account and region."""

    runtime: ClassVar[Runtime]

    def __init__(self, region_name: str, account_id: str) -> None:
        super().__init__(region_name, account_id)
        self.place = Place(account_id, region_name)
        self.rollouts: dict[str, ServiceRollouts] = {}  # by moto's key CLUSTER:SERVICE
        self.settings: dict[
            str, dict[str, Any]
        ] = {}  # a service's fields as the API gave them, by the same key
        self.created_at: dict[str, float] = {}
        self.launches = Launches({})

    @property
    def _url_module(self) -> Any:
        return moto.ecs.urls

    def tick(self) -> None:
        """Brings every service and task of this account and region to the present."""
        now = self.runtime.clock.now()
        for key, rollouts in self.rollouts.items():
            rollouts.advance(now)
            targets.shift(rollouts, place=self.place)
            self._copy_state(key)
        for cluster in self.tasks:
            for task in self.own_tasks(cluster):
                self._follow(task, now)
                stopped_at = task.life.stopped_at
                if stopped_at is not None and stopped_at + _STOPPED_TASKS_KEPT_S < now:
                    del self.tasks[cluster][task.task_arn]

    # --- task definitions

    def register_task_definition(self, *arguments: Any, **named: Any) -> Any:
        definition = super().register_task_definition(*arguments, **named)
        vars(definition)["registered_at"] = timestamp(self.runtime.clock.now())
        return definition

    def describe_task_definition(self, task_definition_str: str) -> Any:
        """A family without a revision means its newest ACTIVE one (API_DescribeTaskDefinition)."""
        name = task_definition_str.rsplit("/", maxsplit=1)[-1]
        if ":" not in name:
            revisions = self.task_definitions.get(name, {})
            active = [revision for revision, d in revisions.items() if d.status == "ACTIVE"]
            if not active:
                raise TaskDefinitionNotFoundException
            return revisions[max(active)]
        return super().describe_task_definition(task_definition_str)

    def deregister_task_definition(self, task_definition_str: str) -> Any:
        definition = super().deregister_task_definition(task_definition_str)
        vars(definition)["deregistered_at"] = timestamp(self.runtime.clock.now())
        return definition

    # --- services

    def open_service(self, parameters: dict[str, Any]) -> str:
        """CreateService; returns the key of the new service. `parameters` are the API's, by their own names."""
        cluster = self._get_cluster(parameters.get("cluster", "default"))
        name = parameters["serviceName"]
        key = f"{cluster.name}:{name}"
        known = self.services.get(key)
        if known is not None and known.status != "INACTIVE":
            raise InvalidParameterException(
                "Creation of service was not idempotent."
                if known.status == "ACTIVE"
                else "Unable to Start a service that is still Draining."
            )
        definition = self._usable_definition(parameters.get("taskDefinition"))
        settings = ecs_settings.of_new_service(parameters)
        self._require_network(definition, settings)
        ecs_settings.require_valid_strategy(settings)
        service = Service(  # type: ignore[abstract]  # as moto does itself
            cluster=cluster,
            service_name=name,
            desired_count=parameters.get("desiredCount") or 0,
            backend=self,
            task_definition=definition,
            load_balancers=settings["loadBalancers"],
            scheduling_strategy=settings["schedulingStrategy"],
            tags=parameters.get("tags"),
            deployment_controller=settings["deploymentController"],
            launch_type=settings.get("launchType"),
            service_registries=settings["serviceRegistries"],
            platform_version=settings.get("platformVersion"),
            network_configuration=settings.get("networkConfiguration"),
            propagate_tags=settings["propagateTags"],
            role_arn=parameters.get("role"),
        )
        self.services[key] = service
        self.settings[key] = settings
        self.created_at[key] = self.runtime.clock.now()
        self.rollouts[key] = ServiceRollouts(
            name,
            desired_count=service.desired_count,
            timing=self.runtime.timing,
            launch=lambda deployment, at: self._launch_for_service(key, deployment, at),
            new_arn=lambda: self._arn("service-deployment", key, secrets.token_urlsafe(15)),
            firing=self._alarms_firing,
        )
        self._deploy(key, definition)
        return key

    def change_service(self, parameters: dict[str, Any]) -> str:
        """UpdateService; returns the key of the service."""
        key = self.service_key(parameters.get("cluster", "default"), parameters["service"])
        service, rollouts, settings = self.services[key], self.rollouts[key], self.settings[key]
        if service.status != "ACTIVE":
            raise ECSException("ServiceNotActiveException", "Service was not ACTIVE.")
        before = {name: settings.get(name) for name in ecs_settings.DEPLOYED}
        running = rollouts.primary.revision.task_definition
        wanted = parameters.get("taskDefinition")
        definition = self._usable_definition(wanted) if wanted else self.describe_task_definition(running)
        changed = settings | ecs_settings.changes(settings, parameters)
        self._require_network(definition, changed)
        ecs_settings.require_valid_strategy(changed)
        if parameters.get("networkConfiguration"):
            service._validate_network(changed["networkConfiguration"])  # noqa: SLF001  # as moto's CreateService does
        self.settings[key] = changed
        redeploys = {name: changed.get(name) for name in ecs_settings.DEPLOYED} != before
        if redeploys or definition.arn != running or parameters.get("forceNewDeployment"):
            self._deploy(key, definition)
        # After the deployment, so that a new desired count starts tasks of the new revision and none of the old one.
        if parameters.get("desiredCount") is not None:
            rollouts.set_desired_count(parameters["desiredCount"], now=self.runtime.clock.now())
        self._copy_state(key)
        return key

    def close_service(self, cluster: str, service: str, *, force: bool) -> str:
        """DeleteService; returns the key of the service."""
        key = self.service_key(cluster, service)
        rollouts = self.rollouts[key]
        if rollouts.desired_count > 0 and not force:
            raise InvalidParameterException("The service cannot be stopped while it is scaled above 0.")
        rollouts.drain(now=self.runtime.clock.now())
        self._copy_state(key)
        return key

    def service_key(self, cluster: str, service: str) -> str:
        """The key, as moto makes it, of a service given by name or ARN; raises ServiceNotFoundException."""
        key = f"{self._get_cluster(cluster).name}:{service.rsplit('/', maxsplit=1)[-1]}"
        if key not in self.services:
            raise ServiceNotFoundException
        return key

    def find_service_deployment(self, arn: str) -> tuple[str, ServiceDeployment] | None:
        for key, rollouts in self.rollouts.items():
            for service_deployment in rollouts.service_deployments:
                if service_deployment.arn == arn:
                    return key, service_deployment
        return None

    def find_service_revision(self, arn: str) -> tuple[str, Revision] | None:
        for key, rollouts in self.rollouts.items():
            for revision in rollouts.known_revisions:
                if revision.arn == arn:
                    return key, revision
        return None

    def stop_service_deployment(self, arn: str, stop_type: str) -> None:
        """StopServiceDeployment: ROLLBACK is the only type that AWS documents as valid."""
        found = self.find_service_deployment(arn)
        if found is None:
            raise ECSException("ServiceDeploymentNotFoundException", f"Service deployment not found: {arn}")
        key, service_deployment = found
        if stop_type != "ROLLBACK":
            raise InvalidParameterException("stopType must be ROLLBACK.")
        if service_deployment.status in _ALREADY_STOPPING:
            return
        if service_deployment.status not in _STOPPABLE:
            said = (
                f"The service deployment is in the state {service_deployment.status} and cannot be stopped."
            )
            raise ECSException("ConflictException", said)
        self.rollouts[key].request_rollback(service_deployment, now=self.runtime.clock.now())

    def continue_service_deployment(self, arn: str, hook_id: str, action: str) -> None:
        """ContinueServiceDeployment: CONTINUE or ROLLBACK for a pause hook that awaits an action."""
        found = self.find_service_deployment(arn)
        if found is None:
            raise ECSException("ServiceDeploymentNotFoundException", f"Service deployment not found: {arn}")
        key, service_deployment = found
        if action not in ("CONTINUE", "ROLLBACK"):
            raise InvalidParameterException(f"action must be CONTINUE or ROLLBACK. Got: {action}")
        hooks = service_deployment.stages.hooks if service_deployment.stages is not None else []
        hook = next((one for one in hooks if one.hook_id == hook_id), None)
        if hook is None:
            raise InvalidParameterException(
                f"The service deployment has no lifecycle hook with hookId {hook_id}."
            )
        if service_deployment.status != "IN_PROGRESS":
            raise InvalidParameterException(
                f"The service deployment must be IN_PROGRESS to be continued; it is {service_deployment.status}."
            )
        if hook.status != "AWAITING_ACTION":
            raise InvalidParameterException(
                f"The lifecycle hook {hook_id} must be AWAITING_ACTION; it is {hook.status}."
            )
        self.rollouts[key].answer_hook(service_deployment, hook, action, now=self.runtime.clock.now())

    def _alarms_firing(self, names: Sequence[str]) -> dict[str, float]:
        alarms = cloudwatch_backends[self.account_id][self.region_name].alarms
        # A datetime holds microseconds, and may have been rounded up to a moment that is still to come.
        return {
            name: alarms[name].state_updated_timestamp.replace(tzinfo=UTC).timestamp() - 1e-6
            for name in names
            if name in alarms and alarms[name].state_value == "ALARM"
        }

    def _copy_state(self, key: str) -> None:
        """Keeps moto's own object true for the parts of moto that read it (application auto scaling, tagging)."""
        service, rollouts = self.services[key], self.rollouts[key]
        service.desired_count = rollouts.desired_count
        service.task_definition = rollouts.primary.revision.task_definition
        if rollouts.draining:
            service.status = "INACTIVE" if rollouts.is_drained() else "DRAINING"

    def _deploy(self, key: str, definition: Any) -> None:
        now = self.runtime.clock.now()
        settings = self.settings[key]
        images = tuple(self._image(container) for container in definition.container_definitions)
        arn = self._arn("service-revision", key, str(new_number()))
        self.services[key].task_definition = definition.arn
        raw = settings["deploymentConfiguration"]
        self.rollouts[key].deploy(
            Revision(arn, definition.arn, now, dict(settings), images),
            now=now,
            configuration=Configuration.parse(raw),
            raw=raw,
        )

    def _image(self, container: Mapping[str, Any]) -> dict[str, str]:
        image = {"containerName": container["name"], "image": container["image"]}
        digest = launch.resolve_digest(container["image"], self.runtime)
        return image | ({"imageDigest": digest} if digest else {})

    def _arn(self, kind: str, key: str, last: str) -> str:
        path = key.replace(":", "/")
        return f"arn:{self.partition}:ecs:{self.region_name}:{self.account_id}:{kind}/{path}/{last}"

    def _usable_definition(self, name: str | None) -> Any:
        if not name:
            raise InvalidParameterException("TaskDefinition can not be blank.")
        definition = self.describe_task_definition(name)
        if definition.status != "ACTIVE":
            raise EcsClientException("TaskDefinition is inactive")
        return definition

    def _require_network(self, definition: Any, settings: Mapping[str, Any]) -> None:
        if definition.network_mode == "awsvpc" and not settings.get("networkConfiguration"):
            raise InvalidParameterException(
                "Network Configuration must be provided when networkMode 'awsvpc' is specified."
            )

    # --- tasks

    def launch_one_offs(self, parameters: dict[str, Any]) -> list[SandboxTask]:
        """RunTask: tasks that pass through the same life as a service's and exit with code 0 unless scripted."""
        cluster = self._get_cluster(parameters.get("cluster", "default"))
        known = self.launches.find(cluster.name, parameters)
        if known is not None:
            return known
        definition = self._usable_definition(parameters.get("taskDefinition"))
        settings = {"networkConfiguration": ecs_settings.network(parameters.get("networkConfiguration"))}
        self._require_network(definition, settings)
        overrides = parameters.get("overrides") or {}
        require_containers(definition, overrides)
        now = self.runtime.clock.now()
        started = [
            self._start(
                cluster,
                definition,
                now,
                one_off=True,
                overrides=overrides,
                group=parameters.get("group") or f"family:{definition.family}",
                started_by=parameters.get("startedBy") or "",
                launch_type=parameters.get("launchType") or "EC2",
                tags=parameters.get("tags"),
                networking_configuration=settings["networkConfiguration"],
                platform_version=parameters.get("platformVersion"),
                has_exec=bool(parameters.get("enableExecuteCommand")),
            )
            for _ in range(int(parameters.get("count") or 1))
        ]
        self.launches.keep(cluster.name, parameters, started)
        return started

    def own_tasks(self, cluster: str) -> list[SandboxTask]:
        return [task for task in self.tasks.get(cluster, {}).values() if isinstance(task, SandboxTask)]

    def find_tasks(self, cluster: str, wanted: list[str]) -> tuple[list[SandboxTask], list[str]]:
        """The tasks given by id or ARN, and the ARNs of those that are not there."""
        known = {task.id: task for task in self.own_tasks(self._get_cluster(cluster).name)}
        found = [known[name.split("/")[-1]] for name in wanted if name.split("/")[-1] in known]
        return found, [name for name in wanted if name.split("/")[-1] not in known]

    def _launch_for_service(self, key: str, deployment: Deployment, at: float) -> TaskLife:
        service, revision = self.services[key], deployment.revision
        settings = {**revision.settings, "loadBalancers": revision.load_balancers}
        definition = self.describe_task_definition(deployment.revision.task_definition)
        where = scenario.Place(self.account_id, self.region_name, key)
        behaviour = self.runtime.scenarios.next_start(where, deployment.deployment_id)
        fate = launch.decide_fate(
            definition,
            place=self.place,
            runtime=self.runtime,
            overrides={},
            one_off=False,
            settings=settings,
            behaviour=behaviour,
        )
        if fate.is_unplaced:
            return TaskLife(uuid.uuid4().hex, at, fate, self.runtime.timing)
        task = self._start(
            self.clusters[service.cluster_name],
            definition,
            at,
            one_off=False,
            overrides={},
            settings=settings,
            behaviour=behaviour,
            group=f"service:{service.name}",
            started_by=deployment.deployment_id,
            launch_type=settings.get("launchType") or "",
            tags=self._task_tags(service, settings, definition),
            networking_configuration=settings.get("networkConfiguration"),
            platform_version=settings.get("platformVersion"),
            # As it is now, not as the deployment began: turning it on starts none (API_UpdateService).
            has_exec=bool(self.settings[key].get("enableExecuteCommand")),
        )
        return task.life

    def _start(
        self,
        cluster: Any,
        definition: Any,
        at: float,
        *,
        one_off: bool,
        overrides: dict[str, Any],
        settings: Mapping[str, Any] | None = None,
        behaviour: str | None = None,
        has_exec: bool,
        **named: Any,
    ) -> SandboxTask:
        fate = launch.decide_fate(
            definition,
            place=self.place,
            runtime=self.runtime,
            overrides=overrides,
            one_off=one_off,
            settings=settings,
            behaviour=behaviour,
        )
        fate, play = decide_command(fate, overrides, self.runtime.timing)
        named |= {"cluster": cluster, "backend": self, "overrides": overrides}
        named |= {"container_instance_arn": None, "resource_requirements": None}
        try:
            task = SandboxTask(task_definition=definition, **named)
        except ServiceException as error:
            # A subnet or security group is gone: the service goes on, its task cannot start.
            offline = copy.copy(definition)
            offline.network_mode = None
            task = SandboxTask(task_definition=offline, **named)
            said = f"ResourceInitializationError: failed to configure the network interface: {error.message}"
            fate = Fate(fate.start_s, start_failure=start_failure(said))
        task.id = uuid.uuid4().hex
        task.life = TaskLife(task.id, at, fate, self.runtime.timing)
        task.definition = definition
        task.images = [self._image(container) for container in definition.container_definitions]
        task.told = set()
        task.play, task.has_exec, task.behaviour = play, has_exec, behaviour
        task.load_balancers = list((settings or {}).get("loadBalancers") or ())
        self.tasks.setdefault(cluster.name, {})[task.task_arn] = task
        return task

    def _follow(self, task: SandboxTask, now: float) -> None:
        """Writes the task's log lines and gives its network interface back, each once, when the time has come."""
        life = task.life
        if life.running_at is not None and life.running_at <= now and "start" not in task.told:
            task.told.add("start")
            self._log(task, f"started {task.images[0]['image']}", life.running_at)
            self._log_program(task, "start", life.running_at)
        log_command(task, now, place=self.place)
        targets.follow(task, now, place=self.place)
        if life.stopping_at is None or life.stopping_at > now or "stop" in task.told:
            return
        task.told.add("stop")
        ending = life.ending
        if life.running_at is not None and ending is not None:
            self._log_program(task, "stop", life.stopping_at)
            cause = ending.container_reason or ending.stopped_reason
            self._log(task, f"exiting with code {ending.exit_code}: {cause}", life.stopping_at)
        attachments: list[dict[str, Any]] = task.attachments
        for attachment in attachments:
            interface = next(d["value"] for d in attachment["details"] if d["name"] == "networkInterfaceId")
            ec2_backends[self.account_id][self.region_name].enis.pop(interface, None)
            attachment["status"] = "DELETED"

    def _log(self, task: SandboxTask, text: str, at: float) -> None:
        if task.play is not None:
            # The log is its command's alone.
            return
        launch.write_log(task.definition, task.life, place=self.place, text=text, at=at)

    def _log_program(self, task: SandboxTask, moment: Moment, at: float) -> None:
        if task.play is not None:
            # Its command took the place of the program.
            return
        launch.write_program_log(
            task.definition,
            task.life,
            place=self.place,
            overrides=task.overrides,
            moment=moment,
            at=at,
            behaviour=task.behaviour,
        )

    def _task_tags(self, service: Any, settings: Mapping[str, Any], definition: Any) -> list[dict[str, str]]:
        source = {"SERVICE": service.tags, "TASK_DEFINITION": definition.tags}.get(
            settings["propagateTags"], []
        )
        managed = [
            {"key": "aws:ecs:clusterName", "value": service.cluster_name},
            {"key": "aws:ecs:serviceName", "value": service.name},
        ]
        return [*source, *(managed if settings.get("enableECSManagedTags") else [])]


def install(runtime: Runtime) -> None:
    """Puts this backend in the place of moto's; before the first request."""
    SandboxEcsBackend.runtime = runtime
    ecs_backends.backend = SandboxEcsBackend
    targets.install()


def tick_all() -> None:
    """Brings every account and region to the present."""
    for account in list(ecs_backends.values()):
        for backend in list(account.values()):
            cast("SandboxEcsBackend", backend).tick()
