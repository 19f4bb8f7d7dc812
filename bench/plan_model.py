"""How long orch takes for a large plan, and how much memory: JSON → masked Plan → lines, in this one process.

    python bench/plan_model.py [CHANGES]

Makes the JSON of a plan of 5,000 resource changes (some 60 MB: task definitions, policies, security groups and others, created,
updated, replaced and deleted, with sensitive variables and masks among them) in a temporary folder, and then in a fresh process
reads, decodes and renders it. Prints seconds of each step and the peak of resident memory, and that no secret came out.
Touches: a temporary folder.
"""

from __future__ import annotations

import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

SECRETS = [f"bench-secret-{number:02}-canary" for number in range(40)]
PADDING = [
    "lorem",
    "ipsum",
    "dolor",
    "sit",
    "amet",
    "consetetur",
    "sadipscing",
    "elitr",
    "sed",
    "diam",
    "nonumy",
    "eirmod",
    "tempor",
    "invidunt",
]


def main(changes: int) -> None:
    with tempfile.TemporaryDirectory(prefix="orch-bench-") as folder:
        file = Path(folder) / "plan.json"
        write(file, changes)
        print(f"{changes} changes, {file.stat().st_size / 1e6:.0f} MB of JSON", flush=True)
        subprocess.run([sys.executable, __file__, "--measure", str(file)], check=True)


def measure(file: Path) -> None:
    from orchestrator.events import PlanReady
    from orchestrator.report import json_lines, text
    from orchestrator.terraform import plan_json

    began = time.perf_counter()
    data = json.loads(file.read_text(encoding="utf-8"))
    read = time.perf_counter()
    plan = plan_json.decode(data)
    decoded = time.perf_counter()
    lines = text.plan_lines("dev", plan)
    rendered = time.perf_counter()
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"read     {read - began:6.2f} s")
    print(f"decode   {decoded - read:6.2f} s")
    print(f"render   {rendered - decoded:6.2f} s  {len(lines)} lines")
    print(
        f"together {rendered - began:6.2f} s  (goal: below 5 s), of which {time.process_time():.2f} s on a processor"
    )
    print(f"peak     {peak_mb:6.0f} MB (goal: below 600 MB)")
    details = sum(len(change.details) for change in plan.changes)
    print(f"{plan.summary}; {details} details, {len(plan.widenings)} widenings")
    leaked = "canary" in json_lines.line(PlanReady("dev", plan)) or "canary" in "\n".join(lines)
    print("A SECRET CAME OUT" if leaked else "no secret came out")


def write(file: Path, changes: int) -> None:
    chance = random.Random(5)
    items = []
    for number in range(changes):
        make = (task_definition, role_policy, security_group, bucket, task_definition)[number % 5]
        kind, before, after, sensitive = make(number, chance)
        actions = (["update"], ["create"], ["delete", "create"], ["update"], ["delete"])[(number // 5) % 5]
        items.append(
            {
                "address": f'module.environment.module.part["{number}"].{kind}.this',
                "mode": "managed",
                "type": kind,
                "change": {
                    "actions": actions,
                    "before": None if actions == ["create"] else before,
                    "after": None if actions == ["delete"] else after,
                    "after_unknown": {"id": True, "arn": True, "tags_all": {}},
                    "before_sensitive": sensitive,
                    "after_sensitive": sensitive,
                    "replace_paths": [["container_definitions"]] if "create" in actions else [],
                },
            }
        )
    variables = {f"v{number}": {"value": secret} for number, secret in enumerate(SECRETS)}
    declared = {name: {"sensitive": True} for name in variables}
    plan = {
        "terraform_version": "1.11.4",
        "applyable": True,
        "variables": variables,
        "configuration": {"root_module": {"variables": declared}},
        "resource_changes": items,
    }
    file.write_text(json.dumps(plan), encoding="utf-8")


def padding(chance: random.Random, words: int) -> str:
    return " ".join(chance.choices(PADDING, k=words))


def task_definition(number: int, chance: random.Random) -> tuple[str, dict, dict, dict]:
    def side(image: str, level: str) -> dict[str, Any]:
        containers = [
            {
                "name": name,
                "image": f"111111111111.dkr.ecr.eu-central-1.amazonaws.com/{name}@sha256:{image * 64}",
                "cpu": 256,
                "portMappings": [{"containerPort": 8080}],
                "environment": [{"name": f"SETTING_{at}", "value": f"{level if at % 3 == 0 else number} {SECRETS[at]}"} for at in range(30)],
                "secrets": [{"name": f"SECRET_{at}", "valueFrom": f"arn:aws:ssm:r:1:parameter/{at}"} for at in range(10)],
                "dockerLabels": {"about": padding(chance, 30)},
            }
            for name in ("web", "worker", "proxy")
        ]  # fmt: skip
        return {
            "family": f"family-{number}",
            "cpu": 512,
            "memory": 1024,
            "container_definitions": json.dumps(containers),
        }

    return "aws_ecs_task_definition", side("a", "debug"), side("b", "info"), {}


def role_policy(number: int, chance: random.Random) -> tuple[str, dict, dict, dict]:
    def side(more: int) -> dict[str, Any]:
        statements = [
            {
                "Sid": f"Part{at}",
                "Effect": "Allow",
                "Action": [f"service{at}:{verb}Thing" for verb in ("Get", "List", "Put", "Delete")][
                    : 3 + more
                ],
                "Resource": [
                    f"arn:aws:service:eu-central-1:111111111111:thing/{number}/{place}/*"
                    for place in range(8)
                ],
                "Condition": {"StringEquals": {"aws:ResourceTag/about": padding(chance, 5)}},
            }
            for at in range(8)
        ]
        return {
            "name": f"policy-{number}",
            "role": f"role-{number}",
            "policy": json.dumps({"Statement": statements}),
        }

    return "aws_iam_role_policy", side(0), side(1), {}


def security_group(number: int, chance: random.Random) -> tuple[str, dict, dict, dict]:
    def side(first: int) -> dict[str, Any]:
        ingress = [
            {
                "from_port": port,
                "to_port": port,
                "protocol": "tcp",
                "cidr_blocks": ["10.0.0.0/8"],
                "description": padding(chance, 12),
            }
            for port in range(first, first + 20)
        ]
        return {"name": f"group-{number}", "ingress": ingress}

    return "aws_security_group", side(8000), side(8001), {"ingress": [{}] * 20}


def bucket(number: int, chance: random.Random) -> tuple[str, dict, dict, dict]:
    def side(value: str) -> dict[str, Any]:
        return {
            "bucket": f"bucket-{number}",
            "tags": {f"tag{at}": f"{value} {padding(chance, 10)}" for at in range(20)},
            "password": chance.choice(SECRETS),
            "url": f"https://ana:{chance.choice(SECRETS)}@example.com/{padding(chance, 1)}",
            "large": padding(chance, 400),
            "inner": {"deep": [{"key": f"canary-{number}-{value}", "open": value}]},
        }

    return "aws_s3_bucket", side("a"), side("b"), {"inner": {"deep": [{"key": True}]}}


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        measure(Path(sys.argv[2]))
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 5_000)
