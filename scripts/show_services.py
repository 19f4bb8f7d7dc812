"""Shows what the sandbox's ECS and ECR say about an environment's services: show_services.py ENVIRONMENT.

Plain boto3 with the variables that `orch sandbox env` prints, and nothing of orch's: a second opinion.
Exit code 1 when a service does not run what it should, so that the demo cannot end well on a broken rollout.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import boto3


def main(environment: str) -> int:
    # Credentials of a real account, e.g. a profile, must not be used here by accident.
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    os.environ.update(_sandbox_variables(environment))
    ecs = boto3.client("ecs")
    ecr = boto3.client("ecr")
    is_well = True
    for cluster in ecs.list_clusters()["clusterArns"]:
        names = ecs.list_services(cluster=cluster)["serviceArns"]
        for service in ecs.describe_services(cluster=cluster, services=names)["services"] if names else []:
            definition = ecs.describe_task_definition(taskDefinition=service["taskDefinition"])
            is_well &= service["runningCount"] == service["desiredCount"] > 0
            print(f"service          {service['serviceName']}")
            print(f"task definition  {service['taskDefinition'].rpartition('/')[2]}")
            print(f"tasks            {service['runningCount']} of {service['desiredCount']} running")
            for container in definition["taskDefinition"]["containerDefinitions"]:
                repository, _, digest = container["image"].partition("@")
                is_well &= digest.startswith("sha256:")
                tags = _tags(ecr, repository.partition("/")[2], digest)
                print(f"image            {repository}\n                 @{digest}")
                print(f"                 in ECR with the tag {tags}")
    return 0 if is_well else 1


def _tags(ecr: Any, repository: str, digest: str) -> str:
    found = ecr.describe_images(repositoryName=repository, imageIds=[{"imageDigest": digest}])
    return ", ".join(found["imageDetails"][0].get("imageTags", ["(none)"]))


def _sandbox_variables(environment: str) -> dict[str, str]:
    orch = Path(sys.executable).with_name("orch")
    printed = subprocess.run(
        [orch, "sandbox", "env", "--env", environment], check=True, capture_output=True, text=True
    ).stdout
    assignments = (shlex.split(line)[1].partition("=") for line in printed.splitlines())
    return {name: value for name, _, value in assignments}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
