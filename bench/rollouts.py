"""How soon and how truthfully a rollout's end is told: orch beside PyPI's ecs-deploy and boto3's services_stable waiter.

    python bench/rollouts.py [--quick]

Needs `ecs-deploy` (pip install ecs-deploy); without it that column is left out. Each tool rolls out the same revision at the same
time, in an account of its own of one sandbox, so that all meet the same machine. Printed for rollouts of 3, 20 and 60 s, for one
whose container crashes and is rolled back, and for an image that cannot be pulled:

    late        seconds from the end of the service deployment, as ECS dates it, to the tool's last word
    calls       AWS API calls in the busiest 60 s of its waiting, from UpdateService on
    said        what the tool said, against what happened

Then 100 services rolled out at once by one process of orch: calls of DescribeServices a second at the most, memory, errors.
Touches: a temporary folder, 127.0.0.1.
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import WaiterError

from orchestrator.aws import Aws
from orchestrator.ecs import diagnosis, launch, revisions, rollout, services
from orchestrator.ecs.followed import Terms
from orchestrator.events import TaskFailed
from orchestrator.sandbox import control

REGION = "eu-central-1"
TASK_S = 1.0
BREAKER = {
    "deploymentCircuitBreaker": {"enable": True, "rollback": True},
    "maximumPercent": 200,
    "minimumHealthyPercent": 100,
}
ACCOUNTS = {"orch": "111111111111", "ecs-deploy": "222222222222", "waiter": "333333333333"}
STORIES = {
    "3 s": ("slow:1.5", 1),
    "20 s": ("slow:18.5", 1),
    "60 s": ("slow:58.5", 1),
    "crash": ("crash", 1),
    "no image": ("cannot-pull", 1),
}
SERVICES = 100


@dataclass
class Account:
    """One account of the sandbox."""

    sandbox: control.Sandbox
    id: str

    @property
    def environ(self) -> dict[str, str]:
        return {"HOME": os.environ["HOME"], "PATH": os.environ["PATH"]} | control.aws_environment(
            self.sandbox, account_id=self.id, region=REGION
        )

    @property
    def session(self) -> Aws:
        return Aws(REGION, self.environ)

    def client(self, name: str) -> Any:
        return boto3.client(
            name,
            region_name=REGION,
            endpoint_url=self.sandbox.endpoint_url,
            aws_access_key_id=self.id,
            aws_secret_access_key="any",
        )

    def register(self, behaviour: str, family: str = "web") -> str:
        container = {"name": "app", "image": "registry.example/app:1", "memory": 128, "essential": True}
        if behaviour:
            container["environment"] = [{"name": "ORCH_SANDBOX_BEHAVIOUR", "value": behaviour}]
        made = self.client("ecs").register_task_definition(family=family, containerDefinitions=[container])
        return made["taskDefinition"]["taskDefinitionArn"]

    def calls(self) -> list[dict[str, Any]]:
        listed = control.control(self.sandbox, "GET", "calls")["calls"]
        return [call for call in listed if call.get("account") == self.id and "operation" in call]

    def newest(self) -> dict[str, Any]:
        ecs = self.client("ecs")
        listed = ecs.list_service_deployments(cluster="main", service="web")["serviceDeployments"]
        return listed[0]


@dataclass
class Heard:
    """What one tool said, when, and how often it asked."""

    said: str
    at: float
    calls: int
    cause_at: float | None = None


def roll_out(tool: str, account: Account, behaviour: str) -> Heard:
    definition = account.register(behaviour)
    before = len(account.calls())
    heard = {"orch": by_orch, "ecs-deploy": by_ecs_deploy, "waiter": by_waiter}[tool](account, definition)
    heard.calls = most_in_a_minute(account.calls()[before:])
    return heard


def most_in_a_minute(calls: list[dict[str, Any]]) -> int:
    """How many calls the busiest 60 s held, of those after UpdateService."""
    names = [call["operation"] for call in calls]
    times = [call["at"] for call in calls[names.index("UpdateService") + 1 :]]
    return max((sum(start <= at < start + 60 for at in times) for start in times), default=0)


def by_orch(account: Account, definition: str) -> Heard:
    session, told = account.session, []
    state = services.describe(session.ecs, "main", "web")
    started = launch.start(
        session.ecs, state, cluster="main", service="web", task_definition=definition, desired_count=None
    )
    place = diagnosis.Place("main", "web", revisions.describe(session.ecs, definition).definition)
    readers = diagnosis.Readers(session.ecs, session.logs, session.elbv2)
    seen: set[str] = set()

    def emit(event: object) -> None:
        if isinstance(event, TaskFailed):
            told.append(time.time())

    ended = rollout.follow(
        session.ecs,
        started,
        emit,
        Terms(600, diagnose=lambda: diagnosis.failures(readers, place, started.deployment_id, seen)),
    )
    return Heard(str(ended.verdict), time.time(), 0, told[0] if told else None)


def by_ecs_deploy(account: Account, definition: str) -> Heard:
    argv = [
        str(Path(sys.executable).parent / "ecs"),
        "deploy",
        "main",
        "web",
        "--task",
        definition,
        "--timeout",
        "600",
    ]
    done = subprocess.run(argv, env=account.environ, capture_output=True, text=True, check=False)
    return Heard("success" if done.returncode == 0 else f"failure (exit {done.returncode})", time.time(), 0)


def by_waiter(account: Account, definition: str) -> Heard:
    ecs = account.client("ecs")
    ecs.update_service(cluster="main", service="web", taskDefinition=definition)
    try:
        ecs.get_waiter("services_stable").wait(cluster="main", services=["web"])
    except WaiterError as error:
        return Heard(f"failure ({error.kwargs['reason']})", time.time(), 0)
    return Heard("success", time.time(), 0)


def side_by_side(sandbox: control.Sandbox, quick: bool) -> None:
    tools = [
        tool for tool in ACCOUNTS if tool != "ecs-deploy" or (Path(sys.executable).parent / "ecs").exists()
    ]
    accounts = {tool: Account(sandbox, ACCOUNTS[tool]) for tool in tools}
    for account in accounts.values():
        ecs = account.client("ecs")
        ecs.create_cluster(clusterName="main")
        ecs.create_service(
            cluster="main",
            serviceName="web",
            taskDefinition=account.register(""),
            desiredCount=1,
            deploymentConfiguration=BREAKER,
        )
    time.sleep(5 * TASK_S)
    print(f"{'rollout':10} {'tool':11} {'late':>7} {'calls':>10}  said, and what happened")
    for story, (behaviour, _count) in STORIES.items():
        if quick and story == "60 s":
            continue
        heard: dict[str, Heard] = {}
        began = time.time()

        def work(tool: str, heard: dict[str, Heard] = heard, behaviour: str = behaviour) -> None:
            heard[tool] = roll_out(tool, accounts[tool], behaviour)

        threads = [threading.Thread(target=work, args=(tool,)) for tool in tools]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for tool in tools:
            newest = accounts[tool].newest()
            ended = newest["finishedAt"].timestamp() if "finishedAt" in newest else float("nan")
            one = heard[tool]
            late = f"{one.at - ended:+.1f} s"
            print(
                f"{story:10} {tool:11} {late:>7} {one.calls:>10}"
                f"  {one.said}; {newest['status']}"
                + (f"; cause told {one.cause_at - began:.1f} s after the start" if one.cause_at else "")
            )
        # The next story begins from a service that is steady again.
        for account in accounts.values():
            wait_steady(account)


def wait_steady(account: Account) -> None:
    ecs = account.client("ecs")
    for _attempt in range(600):
        found = ecs.describe_services(cluster="main", services=["web"])["services"][0]
        if len(found["deployments"]) == 1 and found["deployments"][0]["rolloutState"] == "COMPLETED":
            return
        time.sleep(0.5)


def many(sandbox: control.Sandbox) -> None:
    account = Account(sandbox, "444444444444")
    ecs, session = account.client("ecs"), account.session
    ecs.create_cluster(clusterName="main")
    names = [f"s{number}" for number in range(SERVICES)]
    for name in names:
        ecs.create_service(
            cluster="main",
            serviceName=name,
            taskDefinition=account.register("", name),
            desiredCount=1,
            deploymentConfiguration=BREAKER,
        )
    time.sleep(5 * TASK_S)
    definitions = {name: account.register("slow:20", name) for name in names}
    before, told = len(account.calls()), []
    began = time.monotonic()
    watch = rollout.Watch(session.ecs, told.append)
    states = services.describe_many(session.ecs, "main", names)
    for name in names:
        started = launch.start(
            session.ecs,
            states[name],
            cluster="main",
            service=name,
            task_definition=definitions[name],
            desired_count=None,
        )
        watch.add(started, Terms(600))
    verdicts: Counter[str] = Counter()
    while not watch.is_idle:
        verdicts.update(str(one.verdict) for one in watch.wait())
    seconds = time.monotonic() - began
    made = account.calls()[before:]
    by_second = Counter(int(call["at"]) for call in made if call["operation"] == "DescribeServices")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"\n{SERVICES} services at once: {dict(verdicts)} after {seconds:.0f} s, {len(made)} calls;")
    print(
        f"  DescribeServices at most {max(by_second.values())} a second, peak {peak:.0f} MB,"
        f" {sum(type(event).__name__ == 'Warned' for event in told)} warnings"
    )


def main(quick: bool) -> None:
    with tempfile.TemporaryDirectory(prefix="orch-bench-") as folder:
        state = Path(folder) / "sandbox"
        sandbox = control.start(state, port=0, task_seconds=TASK_S)
        try:
            side_by_side(sandbox, quick)
            many(sandbox)
        finally:
            control.stop(state)
            shutil.rmtree(state, ignore_errors=True)


if __name__ == "__main__":
    main("--quick" in sys.argv[1:])
