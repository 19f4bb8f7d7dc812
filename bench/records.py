"""What it costs to show a history and to measure it: orch beside reading every record, on the sandbox's S3.

    python bench/records.py [COUNT…]

Fills prod with 2,000 release records (or COUNT), one an hour, and prints for each of what orch answers: seconds as a process from
start to end, S3 requests, and the same for one that reads all records to answer it, as a store without an order would have to. The
sandbox answers one request at a time on this machine, in milliseconds; against S3 itself the requests weigh more than here.
Touches: a temporary folder, 127.0.0.1.
"""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

from orchestrator import store
from orchestrator.aws import Aws
from orchestrator.model import Image, Release, Verdict
from orchestrator.sandbox import control
from orchestrator.store import release_json

ACCOUNT, REGION, BUCKET = "111111111111", "eu-central-1", "orch-state-111111111111-eu-central-1"
NOW = datetime.now(UTC).replace(microsecond=0)
SERVICES = ("api", "mail", "web", "web-admin", "worker")
COUNTS = (2000,)
SETTINGS = """
project = "demo"
region = "eu-central-1"

[environments.prod]
account_id = "111111111111"

[services.web]
context = "web"
"""
# An environment that was applied, and whose service is gone from ECS: `orch board` reads it as any other.
ROOT = """
terraform {
  backend "s3" {
    key          = "prod/terraform.tfstate"
    use_lockfile = true
  }
}
"""
SERVICE = {
    **dict.fromkeys(("repository_url", "cluster", "service", "container", "task_family"), "web"),
    **dict.fromkeys(("log_group", "execution_role_arn", "task_role_arn", "skeleton_arn"), "web"),
    "desired_count": 1,
}
CONTRACT = {"contract": 1, "account_id": ACCOUNT, "region": REGION, "services": {"web": SERVICE}}
TYPES = {name: "number" if name == "desired_count" else "string" for name in SERVICE}
STATE = {
    "version": 4,
    "terraform_version": "1.11.0",
    "serial": 1,
    "lineage": "5d0b2c2e-8d52-4d0e-9c55-0d1f5f6b3a11",
    "outputs": {
        "orch": {
            "value": CONTRACT,
            "type": [
                "object",
                {
                    "contract": "number",
                    "account_id": "string",
                    "region": "string",
                    "services": ["object", {"web": ["object", TYPES]}],
                },
            ],
        }
    },
    "resources": [],
}
RELEASE = Release(
    id="",
    environment="prod",
    service="web",
    account_id=ACCOUNT,
    region=REGION,
    image=Image("r.example/web", "sha256:" + "1" * 64),
    commit="",
    revision_arn="arn:aws:ecs:eu-central-1:111111111111:task-definition/demo-prod-web:7",
    verdict=Verdict.SUCCEEDED,
    reason="",
    running_count=2,
    desired_count=2,
    actor="arn:aws:iam::111111111111:user/alice",
    started_at="2026-01-01T00:00:00+00:00",
    durations_s={"image": 0.4, "register": 0.3, "rollout": 61.5},
)


def numbered(number: int, count: int) -> dict[str, str]:
    at = NOW - timedelta(hours=count - number)
    done = dataclasses.replace(
        RELEASE,
        id=f"{at:%Y%m%dT%H%M%SZ}-{number:06x}",
        service=SERVICES[number % len(SERVICES)],
        verdict=Verdict.ROLLED_BACK if number % 9 == 0 else Verdict.SUCCEEDED,
        commit=f"{number:08x}" + "0" * 32,
        committed_at=(at - timedelta(hours=2)).isoformat(),
    )
    return {
        "key": store.release_key(done, at),
        "body": release_json.encode(done).decode(),
        "at": (at + timedelta(minutes=2)).isoformat(),
    }


READ_ALL = f"""
import os
from orchestrator import store
from orchestrator.aws import Aws
session = Aws({REGION!r}, dict(os.environ))
print(sum(1 for _ in store.releases(session.s3, {BUCKET!r}, environment="prod", account_id={ACCOUNT!r})))
"""


def measure(
    sandbox: control.Sandbox, argv: list[str], environ: dict[str, str], cwd: Path
) -> tuple[float, str]:
    """The median of three runs in seconds, and what one costs, in words."""
    before = len(control.control(sandbox, "GET", "calls")["calls"])
    took_s = []
    for _ in range(3):
        started = time.perf_counter()
        done = subprocess.run(argv, cwd=cwd, env=environ, capture_output=True, text=True, check=False)
        took_s.append(time.perf_counter() - started)
        if done.returncode:
            raise SystemExit(done.stderr)
    asked = control.control(sandbox, "GET", "calls")["calls"][before:]
    calls = Counter(call["operation"] for call in asked if call.get("service") == "s3")
    middle_s, lists, gets = sorted(took_s)[1], calls["ListObjectsV2"] // 3, calls["GetObject"] // 3
    return middle_s, f"{middle_s:8.2f} s  {lists:4d} lists  {gets:6d} gets"


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "orch.toml").write_text(SETTINGS)
        sandbox = control.start(folder / "sandbox", port=0, task_seconds=1.0)
        try:
            for count in map(int, sys.argv[1:] or COUNTS):
                run(sandbox, folder, count)
        finally:
            control.stop(folder / "sandbox")


def run(sandbox: control.Sandbox, folder: Path, count: int) -> None:
    control.control(sandbox, "POST", "reset")
    environ = {
        **{name: os.environ[name] for name in ("PATH", "HOME", "PYTHONPATH") if name in os.environ},
        **control.aws_environment(sandbox, account_id=ACCOUNT, region=REGION),
    }
    session = Aws(REGION, environ)
    session.ecs.create_cluster(clusterName="web")
    s3 = session.s3
    store.create_bucket(s3, BUCKET, region=REGION, account_id=ACCOUNT)
    s3.put_object(Bucket=BUCKET, Key="prod/terraform.tfstate", Body=json.dumps(STATE).encode())
    root = folder / "terraform/envs/prod"
    root.mkdir(parents=True, exist_ok=True)
    (root / "main.tf").write_text(ROOT)
    control.control(
        sandbox, "POST", f"buckets/{BUCKET}", [numbered(number, count) for number in range(count)]
    )
    orch = [sys.executable, "-c", "from orchestrator.cli import main; main()"]
    oldest = numbered(0, count)["key"].split(".")[0][-23:]
    print(f"{count} records")
    whole_s, told = measure(sandbox, [sys.executable, "-c", READ_ALL], environ, folder)
    print(f"  {'every record read, one by one':59}{told}")
    for what in (
        ("history", "--env", "prod"),
        ("history", "--env", "prod", "--service", "web"),
        ("history",),
        ("metrics", "--env", "prod"),
        ("metrics", "--env", "prod", "--since", "365d", "--by", "week"),
        ("release", "show", oldest),
        ("board", "--file", "-"),
    ):
        took_s, told = measure(sandbox, [*orch, *what], environ, folder)
        print(f"  orch {' '.join(what):54}{told}  {whole_s / took_s:5.1f} times as fast")


if __name__ == "__main__":
    main()
