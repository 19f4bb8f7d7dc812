"""Sets scenarios in the running sandbox: finds the service that is meant, makes happen what happens at once, puts metrics.

Every answer is plain JSON for the control API; what cannot be done is an `error` with a message and a hint.
"""

from __future__ import annotations

import difflib
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

from moto.cloudwatch.models import CloudWatchBackend, cloudwatch_backends
from moto.core.exceptions import ServiceException
from moto.ecs.models import ecs_backends

from orchestrator.sandbox import scenario
from orchestrator.sandbox.scenario import Place, UnknownBehaviourError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from orchestrator.sandbox.ecs import SandboxEcsBackend
    from orchestrator.sandbox.runtime import Runtime


class _RefusedError(Exception):
    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.message, self.hint = message, hint


def put(runtime: Runtime, wish: Mapping[str, Any]) -> dict[str, Any]:
    """Sets one behaviour for one service; `wish` has service, behaviour, and maybe account_id, region, times."""
    try:
        behaviour, argument = scenario.find(wish["behaviour"])
        place = _find_service(wish["service"], wish.get("account_id"), wish.get("region"))
        said = _put(runtime, place, behaviour, argument, wish.get("times"))
    except (_RefusedError, UnknownBehaviourError) as error:
        return {"error": {"message": error.message, "hint": error.hint}}
    except ServiceException as error:
        return {"error": {"message": f"ECS refuses: {error.message}", "hint": ""}}
    cluster, _, service = place.key.partition(":")
    name = f"{behaviour.name}:{argument}" if argument else behaviour.name
    done = scenario.ScenarioSet(service, cluster, place.account_id, place.region, name, said)
    return {"set": asdict(done)}


def clear(runtime: Runtime, wish: Mapping[str, Any]) -> dict[str, Any]:
    """Takes back what is set, of one service or of all: its alarms are OK again. What has happened stays happened."""
    try:
        place = None
        if wish.get("service"):
            place = _find_service(wish["service"], wish.get("account_id"), wish.get("region"))
    except _RefusedError as error:
        return {"error": {"message": error.message, "hint": error.hint}}
    before = len(list(runtime.scenarios.shown()))
    for owner, names in runtime.scenarios.clear(place).items():
        _set_alarms(owner, names, "OK")
    return {"cleared": before - len(list(runtime.scenarios.shown()))}


def put_metric(runtime: Runtime, wish: Mapping[str, Any]) -> dict[str, Any]:
    """Puts a series of values, one every `every_s` from now on; they appear as the clock comes to them."""
    now = runtime.clock.now()
    dimensions = [{"Name": name, "Value": value} for name, value in wish["dimensions"].items()]
    data = [
        {
            "MetricName": wish["name"],
            "Dimensions": dimensions,
            "Value": value,
            "Timestamp": datetime.fromtimestamp(now + number * wish["every_s"], UTC),
        }
        for number, value in enumerate(wish["values"])
    ]
    # moto's own, which takes a series longer than the two hours that CloudWatch takes ahead of time.
    CloudWatchBackend.put_metric_data(
        cloudwatch_backends[wish["account_id"]][wish["region"]], wish["namespace"], data
    )
    return {"until": now + len(data) * wish["every_s"]}


def show(runtime: Runtime) -> dict[str, Any]:
    return {"set": [asdict(one) for one in runtime.scenarios.shown()]}


def _put(
    runtime: Runtime, place: Place, behaviour: scenario.Behaviour, argument: str, times: int | None
) -> str:
    if times is not None and times < 1:
        raise _RefusedError(f"--times {times} is no count", "give 1 or more, or leave it out")
    if times is not None and not (behaviour.kind == "tasks" or behaviour.name == "task-dies"):
        raise _RefusedError(
            f"--times does not go with {behaviour.name}",
            "it counts task starts, or tasks that die: leave it out",
        )
    if behaviour.kind == "tasks":
        name = f"{behaviour.name}:{argument}" if argument else behaviour.name
        runtime.scenarios.script(place, name, times)
        return f"the next {times} task starts" if times else "every task of the next deployment"
    if behaviour.kind == "disturbance":
        runtime.scenarios.disturb(place, behaviour.name, argument)
        return "ECS calls of this account and region"
    if behaviour.name == "alarm":
        return _fire(runtime, place, argument)
    backend = _backend(place)
    cluster, _, service = place.key.partition(":")
    asked: dict[str, Any] = {"cluster": cluster, "service": service}
    if behaviour.name == "task-dies":
        own = [task for task in backend.own_tasks(cluster) if task.group == f"service:{service}"]
        # In the next moment of the clock: the rollouts have passed this one already.
        at = runtime.clock.now() + 0.001
        count = sum(
            task.life.die(at) for task in [task for task in own if task.life.is_running(at)][: times or 1]
        )
        if not count:
            raise _RefusedError(
                f"{service} has no running task", "wait for one, or `orch sandbox clock advance`"
            )
        return f"{count} running task{'s' if count > 1 else ''}"
    if behaviour.name == "superseded":
        backend.change_service(asked | {"forceNewDeployment": True})
        return "a new deployment of the same task definition"
    if behaviour.name == "scale":
        backend.change_service(asked | {"desiredCount": int(argument)})
        return f"desired count {argument}"
    backend.close_service(cluster, service, force=True)
    return "the service is draining"


def _fire(runtime: Runtime, place: Place, name: str) -> str:
    alarms = _backend(place).settings[place.key]["deploymentConfiguration"].get("alarms") or {}
    names = [name] if name else list(alarms.get("alarmNames") or ())
    service = place.key.partition(":")[2]
    if not names:
        raise _RefusedError(
            f"{service} names no deployment alarms", "name one (`alarm NAME`), or set `alarms` of the service"
        )
    known = cloudwatch_backends[place.account_id][place.region].alarms
    missing = [one for one in names if one not in known]
    if missing:
        raise _RefusedError(
            f"CloudWatch has no alarm {missing[0]} in {place.account_id} {place.region}",
            f"it has {', '.join(sorted(known))}" if known else "it has none there; Terraform makes them",
        )
    _set_alarms(place, names, "ALARM")
    runtime.scenarios.remember_alarms(place, names)
    return f"alarms in ALARM: {', '.join(names)}"


def _set_alarms(place: Place, names: list[str], state: str) -> None:
    backend = cloudwatch_backends[place.account_id][place.region]
    for name in names:
        if name in backend.alarms:
            backend.set_alarm_state(name, "orch sandbox scenario", "{}", state)


def _backend(place: Place) -> SandboxEcsBackend:
    return cast("SandboxEcsBackend", ecs_backends[place.account_id][place.region])


def _services() -> Iterator[Place]:
    for account_id, regions in list(ecs_backends.items()):
        for region, backend in list(regions.items()):
            for key, service in backend.services.items():
                if service.status != "INACTIVE":
                    yield Place(account_id, region, key)


def _find_service(wanted: str, account_id: str | None, region: str | None) -> Place:
    every = list(_services())
    there = [
        place for place in every if account_id in (None, place.account_id) and region in (None, place.region)
    ]
    # A name, CLUSTER/SERVICE, or an ARN.
    asked = wanted.rsplit(":service/", maxsplit=1)[-1].strip("/")
    found = [place for place in there if asked in (place.key.replace(":", "/"), place.key.partition(":")[2])]
    if len(found) == 1:
        return found[0]
    if found:
        ones = ", ".join(f"{p.key.replace(':', '/')} ({p.account_id} {p.region})" for p in found)
        raise _RefusedError(
            f"more than one service is called {wanted}: {ones}", "name it CLUSTER/SERVICE, or pass --env"
        )
    where = f" in {account_id} {region}" if account_id else ""
    names = sorted({place.key.partition(":")[2] for place in there})
    near = difflib.get_close_matches(asked, names, n=3, cutoff=0.5)
    if near:
        hint = f"did you mean {' or '.join(near)}?"
    elif names:
        hint = f"it has {', '.join(names[:10])}"
    else:
        hint = "ship one first: `orch apply --env … --sandbox`"
    raise _RefusedError(f"the sandbox has no ECS service {wanted}{where}", hint)
