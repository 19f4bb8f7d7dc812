"""The table of known causes: a text of AWS or of a program for every row, and the names that its advice must have.

Texts are those of the pages that a row names as its source, of the ECS agent (github.com/aws/amazon-ecs-agent), or were seen in
public issues and documents; account numbers, names and request ids are made up.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.ecs import causes
from orchestrator.ecs.task_definition import TaskDefinition
from orchestrator.model import ContainerExit, TaskFailure

IMAGE = "111111111111.dkr.ecr.eu-central-1.amazonaws.com/demo-dev/web@sha256:" + "a" * 64
SECRET = "arn:aws:secretsmanager:eu-central-1:111111111111:secret:demo/dev/db-AbCdEf"
EXECUTION_ROLE = "arn:aws:iam::111111111111:role/demo/demo-dev-web-execution"
TASK_ROLE = "arn:aws:iam::111111111111:role/demo/demo-dev-web-task"
SESSION = "arn:aws:sts::111111111111:assumed-role/demo-dev-web-execution/a20b735e9bbc41598825b6f0269f6fef"
GROUP = "arn:aws:elasticloadbalancing:eu-central-1:111111111111:targetgroup/web-2026/6d0ecf831eec9f09"
SUBNET = "subnet-0a1b2c3d4e5f60718"
DEFINITION = TaskDefinition(
    {
        "family": "demo-dev-web",
        "cpu": "256",
        "memory": "512",
        "executionRoleArn": EXECUTION_ROLE,
        "taskRoleArn": TASK_ROLE,
        "runtimePlatform": {"cpuArchitecture": "ARM64"},
        "containerDefinitions": [
            {
                "name": "web",
                "image": IMAGE,
                "command": ["serve", "--workers", "2"],
                "portMappings": [{"containerPort": 8080}],
                "secrets": [{"name": "DATABASE", "valueFrom": f"{SECRET}:url::"}],
                "healthCheck": {"command": ["CMD-SHELL", "curl -f http://localhost:8080/health"]},
                "logConfiguration": {"logDriver": "awslogs", "options": {"awslogs-group": "/ecs/demo/web"}},
            },
            {"name": "router", "image": "public.ecr.aws/router:1", "essential": False},
        ],
    }
)
SECRETS = "ResourceInitializationError: unable to pull secrets or registry auth: execution resource retrieval failed: "
ASM = f"{SECRETS}unable to retrieve secret from asm: service call has been retried 1 time(s): "
SSM = f"{SECRETS}unable to retrieve secrets from ssm: service call has been retried 1 time(s): "
LOGGER = "ResourceInitializationError: failed to validate logger args: "
EFS = "ResourceInitializationError: failed to invoke EFS utils commands to set up EFS volumes: stderr: "
NETWORK = "Check your task network configuration."


def failure(stop_code: str, reason: str, *containers: ContainerExit, **more) -> TaskFailure:
    return TaskFailure("web", "0" * 32, "ecs-svc/1", stop_code, reason, "", containers, **more)


def not_started(reason: str) -> TaskFailure:
    return failure("TaskFailedToStart", reason, ContainerExit("web", None, ""))


def exited(code: int, *log: str, reason: str = "") -> TaskFailure:
    said = "Essential container in task exited"
    web = ContainerExit("web", code, reason)
    return failure("EssentialContainerExited", said, web, ContainerExit("router", 143, ""), log_lines=log)


def unhealthy(reason: str, *log: str) -> TaskFailure:
    event = f"ECS: (service web) (task {'0' * 32}) (port 8080) is unhealthy in (target-group {GROUP}) due to (reason {reason})."
    said = f"Task failed ELB health checks in (target-group {GROUP})"
    web = ContainerExit("web", 143, "")
    return failure("ServiceSchedulerInitiated", said, web, target_health=(event,), log_lines=log)


@dataclass(frozen=True)
class Case:
    """`names` are what the advice must tell, beside being a sentence."""

    cause: str
    failure: TaskFailure
    names: tuple[str, ...] = ()


CASES = (
    Case(
        "endpoint-policy",
        not_started(
            f"{SECRETS}unable to retrieve ecr registry auth: service call has been retried 1 time(s): AccessDeniedException:"
            f" User: {SESSION} is not authorized to perform: ecr:GetAuthorizationToken on resource: * because no VPC endpoint"
            " policy allows the ecr:GetAuthorizationToken action"
        ),
        ("ecr:GetAuthorizationToken", EXECUTION_ROLE, "VPC endpoint"),
    ),
    Case(
        "secret-denied",
        not_started(
            f"{ASM}failed to fetch secret {SECRET} from secrets manager: operation error Secrets Manager: GetSecretValue, https"
            " response error StatusCode: 400, RequestID: 2bf6cb29-04f9-43d0-b8a4-f1247cbe8c0b, api error AccessDeniedException:"
            f" User: {SESSION} is not authorized to perform: secretsmanager:GetSecretValue on resource: {SECRET} because no"
            " identity-based policy allows the secretsmanager:GetSecretValue action"
        ),
        ("secretsmanager:GetSecretValue", f"on {SECRET} to", EXECUTION_ROLE),
    ),
    Case(
        "parameter-denied",
        not_started(
            f"{SSM}AccessDeniedException: User: {SESSION} is not authorized to perform: ssm:GetParameters on resource:"
            " arn:aws:ssm:eu-central-1:111111111111:parameter/demo/url because no identity-based policy allows the"
            " ssm:GetParameters action"
        ),
        ("ssm:GetParameters", "arn:aws:ssm:eu-central-1:111111111111:parameter/demo/url", EXECUTION_ROLE),
    ),
    Case(
        "key-denied",
        not_started(
            f"{ASM}failed to fetch secret {SECRET} from secrets manager: AccessDeniedException: Access to KMS is not allowed"
        ),
        ("kms:Decrypt", SECRET, EXECUTION_ROLE),
    ),
    Case(
        "registry-denied",
        not_started(
            f"{SECRETS}unable to retrieve ecr registry auth: service call has been retried 1 time(s): AccessDeniedException:"
            f" User: {SESSION} is not authorized to perform: ecr:GetAuthorizationToken on resource: * because no identity-based"
            " policy allows the ecr:GetAuthorizationToken action"
        ),
        ("ecr:GetAuthorizationToken on *", EXECUTION_ROLE),
    ),
    Case(
        "log-denied",
        not_started(
            f"{LOGGER}create stream has been retried 1 times: failed to create Cloudwatch log stream: operation error CloudWatch"
            f" Logs: CreateLogStream, https response error StatusCode: 400, api error AccessDeniedException: User: {SESSION} is"
            " not authorized to perform: logs:CreateLogStream on resource: arn:aws:logs:eu-central-1:111111111111:log-group:/ecs"
            "/demo/web:log-stream:web/web/0 because no identity-based policy allows the logs:CreateLogStream action"
        ),
        ("logs:CreateLogStream", "/ecs/demo/web", EXECUTION_ROLE),
    ),
    Case(
        "environment-file",
        not_started(
            "ResourceInitializationError: failed to download env files: service call has been retried 1 time(s): operation error"
            " S3: HeadObject, https response error StatusCode: 403, api error Forbidden: Forbidden."
        ),
        ("s3:GetObject", EXECUTION_ROLE),
    ),
    Case(
        "role-not-assumable",
        not_started(
            f"ECS was unable to assume the role '{EXECUTION_ROLE}' that was provided for this task. Please verify that the role"
            " being passed has the proper trust relationship and permissions and that your IAM user has permissions to pass this"
            " role."
        ),
        (f"{EXECUTION_ROLE} exists", "ecs-tasks.amazonaws.com"),
    ),
    Case(
        "secret-deleted",
        not_started(
            f"{ASM}failed to fetch secret {SECRET} from secrets manager: InvalidRequestException: You can't perform this"
            " operation on the secret because it was marked for deletion."
        ),
        (f"Restore {SECRET} in",),
    ),
    Case(
        "secret-missing",
        not_started(
            f"{SECRETS}unable to retrieve secret from asm: ResourceNotFoundException: The task can't retrieve the secret with ARN"
            f" '{SECRET}' from AWS Secrets Manager. Check whether the secret exists in the specified Region:"
            " ResourceNotFoundException: Secrets Manager can't find the specified secret."
        ),
        (f"Create {SECRET}, or",),
    ),
    Case(
        "secret-without-key",
        not_started(f"{ASM}retrieved secret from Secrets Manager did not contain json key url"),
        ("the key url", SECRET),
    ),
    Case(
        "parameter-missing",
        not_started(f"{SSM}invalid ssm parameters: /demo/dev/url"),
        ("Create /demo/dev/url in",),
    ),
    Case(
        "no-route-to-secrets",
        not_started(
            f"{ASM}failed to fetch secret {SECRET} from secrets manager: RequestCanceled: request context canceled caused by:"
            " context deadline exceeded. Please check your task network configuration."
        ),
        (SUBNET, "secretsmanager", "443"),
    ),
    Case(
        "no-route-to-logs",
        not_started(
            f"{LOGGER}The task cannot find the Amazon CloudWatch log group defined in the task definition. There is a connection"
            " issue between the task and Amazon CloudWatch. Check your network configuration. : signal: killed"
        ),
        (SUBNET, "CloudWatch Logs"),
    ),
    Case(
        "log-group-missing",
        not_started(
            f"{LOGGER}create stream has been retried 1 times: failed to create Cloudwatch log stream:"
            " ResourceNotFoundException: The specified log group does not exist. : exit status 1"
        ),
        ("Create the log group /ecs/demo/web, or",),
    ),
    Case(
        "wrong-architecture",
        not_started(
            "CannotPullContainerError: pull image manifest has been retried 7 time(s): image Manifest does not contain descriptor"
            " matching platform 'linux/arm64 v8'"
        ),
        (f"Build {IMAGE} for linux/arm64, or",),
    ),
    Case(
        "rate-limited",
        not_started(
            "CannotPullContainerError: ERROR: toomanyrequests: Too Many Requests. You have reached your pull rate limit. You may"
            " increase the limit by authenticating and upgrading: https://www.docker.com/increase-rate-limits."
        ),
        (IMAGE, "pull through cache"),
    ),
    Case(
        "disk-full",
        not_started(
            "CannotPullContainerError: write /var/lib/docker/tmp/GetImageBlob111111111: no space left on device"
        ),
        ("ephemeralStorage", IMAGE),
    ),
    Case(
        "image-private",
        not_started(
            "CannotPullContainerError: pull image manifest has been retried 1 time(s): failed to resolve ref"
            " docker.io/library/web:latest: pull access denied, repository does not exist or may require authorization: server"
            " message: insufficient_scope: authorization failed"
        ),
        (IMAGE, "repositoryCredentials"),
    ),
    Case(
        "image-denied",
        not_started(
            "CannotPullContainerError: The task can\N{RIGHT SINGLE QUOTATION MARK}t pull the image. Check that the role has the"
            " permissions to pull images from the registry."
        ),
        ("ecr:BatchGetImage", IMAGE, EXECUTION_ROLE),
    ),
    Case(
        "image-not-found",
        not_started(
            f"CannotPullContainerError: pull image manifest has been retried 1 time(s): failed to resolve ref {IMAGE}: {IMAGE}:"
            " not found"
        ),
        (f"Push {IMAGE}, or",),
    ),
    Case(
        "no-route-to-registry",
        not_started(
            "ResourceInitializationError: unable to pull secrets or registry auth: The task cannot pull registry auth from Amazon"
            f" ECR: There is a connection issue between the task and Amazon ECR. {NETWORK} RequestError: send request failed"
            ' caused by: Post "https://api.ecr.eu-central-1.amazonaws.com/": dial tcp 44.213.79.86:443: i/o timeout'
        ),
        (SUBNET, IMAGE, "ecr.dkr", "NAT gateway"),
    ),
    Case(
        "image-not-pulled",
        not_started(
            "CannotPullContainerError: pull image manifest has been retried 5 time(s): failed to resolve ref"
        ),
        (IMAGE, EXECUTION_ROLE),
    ),
    Case(
        "network-not-found",
        not_started(
            f"Unexpected EC2 error while attempting to Create Network Interface in subnet '{SUBNET}': InvalidGroup.NotFound"
        ),
        ("security groups",),
    ),
    Case(
        "network-tags-refused",
        not_started("Unexpected EC2 error while attempting to tag the network interface: TagPolicyViolation"),
        ("propagateTags",),
    ),
    Case(
        "no-addresses",
        not_started(
            "Unexpected EC2 error while attempting to Create Network Interface with public IP assignment enabled in subnet"
            " 'subnet-0123456789abcdef0'"
        ),
        ("Free addresses in subnet-0123456789abcdef0, or",),
    ),
    Case(
        "network-interface",
        not_started("Timeout waiting for network interface provisioning to complete."),
        (SUBNET,),
    ),
    Case(
        "file-system-not-found",
        not_started(
            f'{EFS}Failed to resolve "fs-0123.efs.eu-central-1.amazonaws.com" - check that your file system ID'
        ),
        ("Give fs-0123.efs.eu-central-1.amazonaws.com a mount target",),
    ),
    Case(
        "file-system-denied",
        not_started(f"{EFS}b'mount.nfs4: access denied by server while mounting 127.0.0.1:/' : code: 32"),
        ("elasticfilesystem:ClientMount", TASK_ROLE),
    ),
    Case(
        "file-system-path",
        not_started(
            f"{EFS}b'mount.nfs4: mounting failed, reason given by server: No such file or directory'"
        ),
        ("rootDirectory",),
    ),
    Case(
        "file-system-unreachable",
        not_started(
            f"{EFS}b'mount.nfs4: Connection timed out' : unsuccessful EFS utils command execution; code: 32"
        ),
        ("2049", SUBNET),
    ),
    Case(
        "no-capacity",
        not_started(
            "Capacity is unavailable at this time. Please try again later or in a different availability zone."
        ),
        ("zones",),
    ),
    Case(
        "quota-reached",
        not_started(
            "You\N{RIGHT SINGLE QUOTATION MARK}ve reached the limit on the number of vCPUs you can run concurrently"
        ),
        ("more vCPUs on Fargate",),
    ),
    Case(
        "task-too-large",
        not_started("The requested CPU configuration is above your limit."),
        ("256 CPU units and 512 MiB",),
    ),
    Case(
        "no-instances",
        not_started("because no container instance met all of its requirements."),
        ("container instances",),
    ),
    Case(
        "exec-format",
        exited(255, "exec /usr/local/bin/docker-entrypoint.sh: exec format error"),
        (f"Build {IMAGE} for linux/arm64",),
    ),
    Case(
        "command-not-found",
        not_started(
            "CannotStartContainerError: Error response from daemon: failed to create task for container: failed to create shim"
            ' task: OCI runtime create failed: runc create failed: unable to start container process: exec: "gunicorn":'
            " executable file not found in $PATH: unknown"
        ),
        ("Put gunicorn into", IMAGE),
    ),
    Case(
        "command-not-executable",
        not_started(
            "CannotStartContainerError: OCI runtime create failed: runc create failed: unable to start container process: exec:"
            ' "/app/start.sh": permission denied: unknown'
        ),
        ("Make /app/start.sh executable", IMAGE),
    ),
    Case(
        "container-not-started",
        not_started("CannotStartContainerError: failed to get container status: no such container"),
        ("entryPoint", IMAGE),
    ),
    Case(
        "container-timeout",
        not_started(
            "ContainerRuntimeTimeoutError: Could not transition to running; timed out after waiting 1m"
        ),
        (SUBNET,),
    ),
    Case(
        "out-of-memory",
        exited(137, reason="OutOfMemoryError: Container killed due to memory usage"),
        ("above 512 MiB", "container web"),
    ),
    Case(
        "heap-exhausted",
        exited(134, "FATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory"),
        ("512 MiB",),
    ),
    Case(
        "target-zone",
        unhealthy("Target is in an Availability Zone that is not enabled for the load balancer"),
        ("zone",),
    ),
    Case("target-group-missing", unhealthy("TARGET GROUP IS NOT FOUND"), ("target group web-2026",)),
    Case(
        "listens-elsewhere",
        unhealthy("Health checks failed", "> web@1.0.0 start", "Server listening on port 3000"),
        ("0.0.0.0:8080", "port 3000", "target group web-2026"),
    ),
    Case(
        "health-check-code",
        unhealthy("Health checks failed with these codes: [404]", "Server listening on port 3000"),
        ("target group web-2026", "port 8080", "404"),
    ),
    Case(
        "health-check-timeout",
        unhealthy("Request timed out", "Uvicorn running on http://0.0.0.0:8080"),
        ("port 8080", "security group", "healthCheckGracePeriodSeconds"),
    ),
    Case("health-check-failed", unhealthy("Health checks failed"), ("0.0.0.0:8080", "target group web-2026")),
    Case(
        "container-unhealthy",
        failure(
            "ServiceSchedulerInitiated", "Task failed container health checks", ContainerExit("web", 137, "")
        ),
        ("`CMD-SHELL curl -f http://localhost:8080/health`", "container web"),
    ),
    Case(
        "task-role-denied",
        exited(
            1,
            "botocore.exceptions.ClientError: An error occurred (AccessDenied) when calling the PutObject operation: User:"
            f" {SESSION} is not authorized to perform: s3:PutObject on resource: arn:aws:s3:::demo/a because no identity-based",
        ),
        ("s3:PutObject on arn:aws:s3:::demo/a", TASK_ROLE),
    ),
    Case(
        "read-only-file-system",
        exited(1, "OSError: [Errno 30] Read-only file system: '/app/cache'"),
        ("readonlyRootFilesystem",),
    ),
    Case("port-in-use", exited(1, "Error: listen EADDRINUSE: address already in use :::8080"), ("port",)),
    Case(
        "privileged-port",
        exited(1, "nginx: [emerg] bind() to 0.0.0.0:80 failed (13: Permission denied)"),
        ("above 1023",),
    ),
    Case("exit-0", exited(0), ("serve --workers 2", "foreground")),
    Case("exit-1", exited(1, "KeyError: 'DATABASE_URL'"), ("container web ended with 1",)),
    Case("exit-2", exited(2), ("serve --workers 2",)),
    Case("exit-126", exited(126), ("serve --workers 2", "chmod +x")),
    Case("exit-127", exited(127), ("serve --workers 2", "PATH")),
    Case("exit-137", exited(137), ("512 MiB", "stopTimeout", "SIGKILL")),
    Case("exit-139", exited(139), ("SIGSEGV", "linux/arm64")),
    Case("exit-143", exited(143), ("SIGTERM",)),
    Case("exit-255", exited(255), ("255", "linux/arm64")),
    Case("exit-signal", exited(134), ("SIGABRT (134)",)),
    Case("exit-code", exited(78), ("ended with 78",)),
)
# Other texts of the same causes: older agents, other registries, other programs.
OTHER_REASONS = (
    (
        "no-route-to-registry",
        (
            "CannotPullContainerError: The task cannot pull 'web' from the Amazon ECR repository 'x'. There is a connection issue"
            " between the task and Amazon ECR. Check your task network configuration."
        ),
    ),
    (
        "no-route-to-registry",
        (
            "CannotPullContainerError: API error (500): Get https://111122223333.dkr.ecr.us-east-1.amazonaws.com/v2/: net/http:"
            " request canceled while waiting for connection"
        ),
    ),
    ("no-route-to-registry", "CannotPullContainerError: context canceled"),
    (
        "no-route-to-registry",
        "CannotPullContainerError: The task can't pull the image. Check your network configuration",
    ),
    (
        "no-route-to-registry",
        "CannotPullContainerError: pull command failed: panic: runtime error: invalid memory address or nil pointer dereference",
    ),
    (
        "no-route-to-registry",
        (
            f"{SECRETS}unable to retrieve ecr registry auth: service call has been retried 3 time(s): RequestError: send request"
            " failed caused by: Post https://api.ecr: dial tcp 3.8.169.253:443: i/o timeout"
        ),
    ),
    (
        "no-route-to-secrets",
        (
            "ResourceInitializationError: unable to pull secrets or registry auth: unable to retrieve secrets from ssm: The task"
            " cannot pull secrets from AWS Systems Manager. There is a connection issue between the task and AWS Systems Manager"
            " Parameter Store. Check your task network configuration. operation error SSM: GetParameters, canceled, context deadline"
        ),
    ),
    (
        "image-not-found",
        "CannotPullContainerError: API error (404): repository 111122223333.dkr.ecr.us-east-1.amazonaws.com/web not found",
    ),
    (
        "image-not-found",
        (
            "CannotPullContainerError: Error response from daemon: manifest for registry.example/web:7 not found: manifest unknown:"
            " Requested image not found"
        ),
    ),
    (
        "image-denied",
        (
            f"CannotPullContainerError: pull image manifest has been retried 1 time(s): failed to resolve ref {IMAGE}: unexpected"
            " status code [manifests 1]: 403 Forbidden"
        ),
    ),
    (
        "wrong-architecture",
        "CannotPullContainerError: no matching manifest for linux/arm64/v8 in the manifest list entries",
    ),
    (
        "log-group-missing",
        (
            "CannotStartContainerError: Error response from daemon: failed to initialize logging driver: failed to create Cloudwatch"
            " log stream: ResourceNotFoundException: The specified log group does not exist."
        ),
    ),
    ("log-group-missing", f"{LOGGER}log group does not exist: /ecs/other"),
    (
        "secret-missing",
        f"{ASM}ResourceNotFoundException: Secrets Manager can't find the specified secret.",
    ),
    (
        "secret-missing",
        f"{ASM}ResourceNotFoundException: Secrets Manager can\N{RIGHT SINGLE QUOTATION MARK}t find the specified secret.",
    ),
    (
        "no-addresses",
        (
            f"Unexpected EC2 error while attempting to Create Network Interface in subnet '{SUBNET}':"
            " InsufficientFreeAddressesInSubnet"
        ),
    ),
    (
        "exec-format",
        "CannotStartContainerError: OCI runtime create failed: exec /app: exec format error: unknown",
    ),
    ("task-too-large", "The requested MEMORY configuration is above your limit."),
)
OTHER_LOGS = (
    ("exec-format", exited(1, "standard_init_linux.go:228: exec user process caused: exec format error")),
    ("privileged-port", exited(1, "listen tcp :80: bind: permission denied")),
    ("privileged-port", exited(1, "Error: listen EACCES: permission denied 0.0.0.0:80")),
    ("listens-elsewhere", unhealthy("Health checks failed", "Uvicorn running on http://127.0.0.1:8080")),
    ("listens-elsewhere", unhealthy("Request timed out", "Serving HTTP on localhost:8080")),
    ("health-check-failed", unhealthy("Health checks failed", "connecting to db at port 5432", "12:30:45")),
    (
        "health-check-timeout",
        unhealthy("Request timed out", "listening on port 8080", "metrics on port 9090"),
    ),
    # What a container that somebody stopped has in its log is not why it was stopped.
    (
        "container-unhealthy",
        failure(
            "ServiceSchedulerInitiated",
            "Task failed container health checks",
            ContainerExit("web", 1, ""),
            log_lines=("exec format error",),
        ),
    ),
)
IDS = [case.cause for case in CASES]


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_each_cause_is_known_by_its_text_and_names_what_it_is_about(case):
    cause = causes.find(case.failure, DEFINITION, subnet=SUBNET)
    assert cause is not None
    assert cause.id == case.cause
    for name in case.names:
        assert name in cause.advice
    assert cause.advice[0].isupper()
    assert cause.advice.endswith(".")
    assert "{" not in cause.advice


@pytest.mark.parametrize(("cause", "text"), OTHER_REASONS)
def test_other_reasons_lead_to_the_same_cause(cause, text):
    found = causes.find(not_started(text), DEFINITION, subnet=SUBNET)
    assert found is not None
    assert found.id == cause


@pytest.mark.parametrize(("cause", "one"), OTHER_LOGS)
def test_other_logs_lead_to_the_same_cause(cause, one):
    found = causes.find(one, DEFINITION)
    assert found is not None
    assert found.id == cause


def test_what_the_reason_names_comes_before_what_the_task_definition_names():
    found = causes.find(not_started(f"{LOGGER}log group does not exist: /ecs/other"), DEFINITION)
    assert found is not None
    assert "/ecs/other" in found.advice
    assert "/ecs/demo/web" not in found.advice


def test_every_row_has_a_case_and_a_source_and_no_two_the_same_id():
    assert [row.id for row in causes.TABLE] == IDS
    assert len(set(IDS)) == len(IDS)
    for row in causes.TABLE:
        assert row.source.startswith("https://")
        assert row.title[0].isupper()
        assert not row.title.endswith(".")


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_advice_without_a_task_definition_is_a_sentence_still(case):
    cause = causes.find(case.failure, TaskDefinition({"family": "x"}))
    assert cause is not None
    assert cause.id in {case.cause, "health-check-failed"}
    assert "{" not in cause.advice
    assert "None" not in cause.advice
    assert "  " not in cause.advice


def test_what_cannot_pass_by_itself_is_called_permanent():
    permanent = {row.id for row in causes.TABLE if row.is_permanent}
    assert {"image-not-found", "wrong-architecture", "secret-missing"} <= permanent
    # A policy that was made seconds ago may not be known everywhere yet.
    assert not [cause for cause in permanent if cause.endswith("-denied")]
    assert {"log-group-missing", "exec-format", "command-not-found"} <= permanent
    passing = {"no-capacity", "quota-reached", "no-addresses", "rate-limited", "role-not-assumable"}
    passing |= {"no-route-to-registry", "out-of-memory", "health-check-code", "exit-1", "exit-137"}
    assert not passing & permanent


@pytest.mark.parametrize(
    "unknown",
    [
        not_started("Something that nobody has seen yet."),
        failure("TaskFailedToStart", ""),
        failure("ServiceSchedulerInitiated", "Scaling activity initiated by (deployment ecs-svc/1)"),
    ],
)
def test_what_is_not_known_has_no_cause(unknown):
    assert causes.find(unknown, DEFINITION) is None


def test_a_sidecar_that_failed_is_the_one_advised_on():
    web, router = ContainerExit("web", 143, ""), ContainerExit("router", 137, "OutOfMemoryError: killed")
    cause = causes.find(
        failure("EssentialContainerExited", "Essential container in task exited", web, router), DEFINITION
    )
    assert cause is not None
    assert (cause.id, "container router" in cause.advice) == ("out-of-memory", True)


@pytest.mark.parametrize(
    ("codes", "culprit"),
    [
        ((0, 143), "web"),
        ((143, 1), "router"),
        ((137, 0), "web"),
        ((143, 143), "web"),
        ((None, 3), "router"),
    ],
)
def test_of_several_containers_the_one_that_ended_by_itself_is_to_blame(codes, culprit):
    web, router = ContainerExit("web", codes[0], ""), ContainerExit("router", codes[1], "")
    one = failure("EssentialContainerExited", "Essential container in task exited", web, router)
    assert one.culprit is not None
    assert one.culprit.name == culprit
    assert replace(one, stop_code="ServiceSchedulerInitiated").culprit is None


TEXTS = st.one_of(st.text(max_size=300), st.sampled_from([case.failure.stopped_reason for case in CASES]))


@given(reason=TEXTS, more=TEXTS, lines=st.lists(TEXTS, max_size=5), code=st.none() | st.integers(-1, 300))
def test_no_text_raises(reason, more, lines, code):
    web = ContainerExit("web", code, more)
    for stop_code in ("TaskFailedToStart", "EssentialContainerExited", "ServiceSchedulerInitiated", ""):
        one = failure(stop_code, reason, web, log_lines=tuple(lines), target_health=tuple(lines))
        for definition in (DEFINITION, TaskDefinition({"family": ""})):
            cause = causes.find(one, definition)
            assert cause is None or cause.advice
        assert isinstance(one.signature, str)


def test_a_long_text_takes_no_long_time():
    """A pattern that backtracks would take minutes over this."""
    for text in ("a" * 50_000, "CannotPullContainerError repository " * 3_000, "exec: " * 9_000):
        causes.find(not_started(text), DEFINITION)
        causes.find(exited(1, text), DEFINITION)
        causes.find(unhealthy(text, text), DEFINITION)
        assert not_started(text).signature


def known(one: TaskFailure) -> TaskFailure:
    return replace(one, cause=causes.find(one, DEFINITION))


def test_two_failures_are_the_same_by_container_exit_code_and_cause():
    assert known(exited(1, "a")).signature == known(exited(1, "b")).signature
    assert known(exited(1)).signature != known(exited(2)).signature
    # A task that is told at once has no exit code yet; the signal that ends it later says nothing of the cause.
    early = replace(known(unhealthy("Request timed out")), containers=(ContainerExit("web", None, ""),))
    assert early.signature == known(unhealthy("Request timed out")).signature


def test_without_a_cause_ids_and_numbers_do_not_tell_two_failures_apart():
    first = not_started("Odd error 17 of request 2bf6cb29-04f9 at 10.0.0.1:443")
    second = not_started("Odd error 18 of request a20b735e-9bbc at 10.0.7.9:443")
    assert first.signature == second.signature
    assert first.signature != not_started("Another error 17").signature
