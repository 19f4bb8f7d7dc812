"""Why a task failed: one table from what ECS, the load balancer and the log say to a sentence of advice. Pure.

The first row that matches wins, so what is special stands before what is general. The texts are those of "Amazon ECS stopped
tasks error messages" and its pages, of "Amazon ECS service event messages", of the ECS agent, and of programs; ECS may cut a long
reason short, so that no row needs its end. tests/unit/test_causes.py has such a text for every row, and refuses a row without.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator.ecs.evidence import (
    NETWORK,
    Evidence,
    Finder,
    Names,
    denied,
    ended,
    health,
    listens_elsewhere,
    log,
    reason,
    reason_or_log,
    signalled,
)
from orchestrator.model import Cause

if TYPE_CHECKING:
    from orchestrator.ecs.task_definition import TaskDefinition
    from orchestrator.model import TaskFailure

_GUIDE = "https://docs.aws.amazon.com/AmazonECS/latest/developerguide"
_PULL = f"{_GUIDE}/task_cannot_pull_image.html"
_RESOURCES = f"{_GUIDE}/resource-initialization-error.html"
_NOT_FOUND = f"{_GUIDE}/resource-not-found-error.html"
_START = f"{_GUIDE}/cannot-start-container.html"
_FAILED_TO_START = f"{_GUIDE}/failed-to-start-error.html"
_EVENTS = f"{_GUIDE}/service-event-messages-list.html"
_CONNECTIVITY = f"{_GUIDE}/verify-connectivity.html"
_EXECUTION_ROLE = f"{_GUIDE}/task_execution_IAM_role.html"
_BALANCER = f"{_GUIDE}/troubleshoot-service-load-balancers.html"
_TARGETS = "https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_TargetHealth.html"
_CONTAINER = "https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ContainerDefinition.html"
_EXIT_CODES = "https://repost.aws/knowledge-center/ecs-task-stopped"
_SHELL_CODES = "https://www.gnu.org/software/bash/manual/html_node/Exit-Status.html"


@dataclass(frozen=True)
class Row:
    """One known cause. `advice` is one sentence with names of `evidence.Names` in it. `is_permanent` is said only of what no waiting
    mends, so that every later task of the deployment meets it too; not of a refusal by IAM, which may take a while to know a new
    policy (https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot.html). `source` is the page that says so, or where to
    read on.
    """

    id: str
    title: str
    finds: Finder
    advice: str
    is_permanent: bool
    source: str


def find(failure: TaskFailure, definition: TaskDefinition, *, subnet: str = "") -> Cause | None:
    """The cause of a failure, or None when the table does not know it. `subnet` is where its task was placed, if that is known."""
    evidence = Evidence(failure, definition, subnet)
    for row in TABLE:
        found = row.finds(evidence)
        if found is not None:
            return Cause(row.id, row.title, row.advice.format_map(Names(evidence, found)), row.is_permanent)
    return None


_CANNOT_PULL = "CannotPull(ECR)?Container"
_ASM_ARN = r"(?P<secret>arn:aws[\w-]*:secretsmanager:[\w:/+=.@!-]+)"
_SUBNET = r"(?P<subnet>subnet-[0-9a-z]+)"
_OPEN_A_ROUTE = (
    " in a public subnet assign a public IP, in a private one add a NAT gateway or VPC endpoints, and"
    " let the security group reach port 443."
)

TABLE: tuple[Row, ...] = (
    # What IAM refused; by whose word comes first, because it decides where to mend it.
    Row(
        "endpoint-policy",
        "A VPC endpoint's policy forbids the call",
        reason(r"no VPC endpoint policy allows the (?P<action>[\w-]+:\w+)"),
        "Allow {action} to {execution_role} in the policy of the VPC endpoint: the role's own policy is"
        " not what refuses it.",
        is_permanent=False,
        source=_EXECUTION_ROLE,
    ),
    Row(
        "secret-denied",
        "The execution role may not read a secret",
        reason(denied("secretsmanager:GetSecretValue")),
        "Allow {action} on {resource} to {execution_role}.",
        is_permanent=False,
        source=_RESOURCES,
    ),
    Row(
        "parameter-denied",
        "The execution role may not read a parameter",
        reason(denied("ssm:GetParameters?")),
        "Allow {action} on {resource} to {execution_role}.",
        is_permanent=False,
        source=_RESOURCES,
    ),
    Row(
        "key-denied",
        "The execution role may not use the KMS key of a secret",
        reason(
            rf"Access to KMS is not allowed|{denied('kms:Decrypt')}|ciphertext refers to a customer master key"
        ),
        "Allow kms:Decrypt on the key that encrypts {secret} to {execution_role}, in the role's policy"
        " and in the key's.",
        is_permanent=False,
        source=_EXECUTION_ROLE,
    ),
    Row(
        "registry-denied",
        "The execution role may not pull from ECR",
        reason(denied(r"ecr:\w+")),
        "Allow {action} on {resource} to {execution_role}; ecr:GetAuthorizationToken is needed on *, and"
        " a repository of another account must allow the pull in its own policy too.",
        is_permanent=False,
        source=_EXECUTION_ROLE,
    ),
    Row(
        "log-denied",
        "The execution role may not write to the log group",
        reason(denied(r"logs:\w+")),
        "Allow {action} on the log group {log_group} to {execution_role}.",
        is_permanent=False,
        source=_EXECUTION_ROLE,
    ),
    Row(
        "environment-file",
        "An environment file in S3 cannot be read",
        reason("failed to download env files", "AccessDenied|Forbidden|403|NoSuchKey|not found|404"),
        "Check that each of the container's environmentFiles exists, and allow s3:GetObject on it and"
        " s3:GetBucketLocation on its bucket to {execution_role}.",
        is_permanent=True,
        source=f"{_GUIDE}/use-environment-file.html",
    ),
    Row(
        "role-not-assumable",
        "ECS cannot assume a role of the task",
        reason(r"unable to assume the role '?(?P<role>[\w:/+=,.@-]+)"),
        "Check that {role} exists and that its trust policy lets ecs-tasks.amazonaws.com assume it; a"
        " role made a moment ago works by itself after some seconds.",
        # IAM is eventually consistent: https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot.html
        is_permanent=False,
        source=f"{_GUIDE}/task-iam-roles.html",
    ),
    # Secrets, parameters and the log group: there, or within reach?
    Row(
        "secret-deleted",
        "A secret is marked for deletion",
        reason("marked for deletion", also=_ASM_ARN),
        "Restore {secret} in Secrets Manager, or take it out of the container's `secrets`.",
        is_permanent=True,
        source="https://docs.aws.amazon.com/secretsmanager/latest/userguide/manage_restore-secret.html",
    ),
    Row(
        "secret-missing",
        "A secret does not exist",
        reason("can't find the specified secret|can't retrieve the secret with ARN", also=_ASM_ARN),
        "Create {secret}, or mend its ARN in the container's `secrets`: Secrets Manager has none of that"
        " name in that region.",
        is_permanent=True,
        source=_NOT_FOUND,
    ),
    Row(
        "secret-without-key",
        "A secret lacks the JSON key that the task asks for",
        reason(r"did not contain json key (?P<key>[\w.-]+)", also=_ASM_ARN),
        "Add the key {key} to the JSON of {secret}, or mend the key behind its ARN in the container's"
        " `secrets`.",
        is_permanent=True,
        source=f"{_GUIDE}/secrets-envvar-secrets-manager.html",
    ),
    Row(
        "parameter-missing",
        "A parameter does not exist",
        reason(r"invalid (ssm )?parameters: (?P<parameter>[\w./, -]+)"),
        "Create {parameter} in Parameter Store, or mend its name in the container's `secrets`.",
        is_permanent=True,
        source=f"{_GUIDE}/secrets-envvar-ssm-paramstore.html",
    ),
    Row(
        "no-route-to-secrets",
        "The task cannot reach Secrets Manager or Parameter Store",
        reason("secrets? from (asm|ssm|AWS S)|secrets manager", NETWORK),
        "Open a way from {subnet} to Secrets Manager (endpoint secretsmanager) or Parameter Store"
        " (endpoint ssm):" + _OPEN_A_ROUTE,
        is_permanent=False,
        source=_CONNECTIVITY,
    ),
    Row(
        "no-route-to-logs",
        "The task cannot reach CloudWatch Logs",
        reason("logger args|logging driver|cloudwatch", NETWORK),
        "Open a way from {subnet} to CloudWatch Logs (endpoint logs):" + _OPEN_A_ROUTE,
        is_permanent=False,
        source=_CONNECTIVITY,
    ),
    Row(
        "log-group-missing",
        "The log group does not exist",
        reason(
            r"log ?group does not exist(: (?P<log_group>[\w./#-]+\w))?|cannot find the Amazon CloudWatch log group"
        ),
        "Create the log group {log_group}, or mend awslogs-group in the container's logConfiguration.",
        is_permanent=True,
        source=_RESOURCES,
    ),
    # The image.
    Row(
        "wrong-architecture",
        "The image is not built for the task's architecture",
        reason(r"(descriptor matching platform '|no matching manifest for )(?P<platform>[a-z]+/[a-z0-9]+)"),
        "Build {image} for {platform}, or set cpuArchitecture in the task definition to what it is built"
        " for.",
        is_permanent=True,
        source=_PULL,
    ),
    Row(
        "rate-limited",
        "The registry limits how often it is asked",
        reason(_CANNOT_PULL, "toomanyrequests|pull rate limit|429 Too Many"),
        "Pull {image} through ECR (a pull through cache rule, or a copy), or log in to its registry with"
        " repositoryCredentials.",
        is_permanent=False,
        source=_PULL,
    ),
    Row(
        "disk-full",
        "The image does not fit on the task's disk",
        reason("no space left on device"),
        "Raise ephemeralStorage in the task definition (Fargate gives 20 GiB), or make {image} smaller.",
        is_permanent=True,
        source=_PULL,
    ),
    Row(
        "image-private",
        "The registry does not give the image away",
        reason(_CANNOT_PULL, "pull access denied|insufficient_scope|authorization failed|401 Unauthorized"),
        "Name the image with its whole registry (ACCOUNT.dkr.ecr.REGION.amazonaws.com/NAME), or give"
        " repositoryCredentials for a private one: {image} is not there for everybody.",
        is_permanent=True,
        source=_PULL,
    ),
    Row(
        "image-denied",
        "The registry refuses the pull",
        reason(_CANNOT_PULL, "403 Forbidden|AccessDenied|role has the permissions to pull"),
        "Allow ecr:BatchGetImage and ecr:GetDownloadUrlForLayer on the repository of {image} to"
        " {execution_role}; a repository of another account must allow it in its own policy too.",
        is_permanent=False,
        source=_PULL,
    ),
    Row(
        "image-not-found",
        "The image is not in the registry",
        reason(
            _CANNOT_PULL,
            r": not found|manifest unknown|manifest for .{1,300} not found|repository .{1,300} not (found|exist)",
        ),
        "Push {image}, or roll out an image that the repository has: this one was never pushed, or a"
        " lifecycle policy removed it.",
        is_permanent=True,
        source=_PULL,
    ),
    Row(
        "no-route-to-registry",
        "The task cannot reach the registry",
        reason(rf"{_CANNOT_PULL}|registry auth|pull command failed", NETWORK),
        "Open a way from {subnet} to the registry of {image} (for ECR the endpoints ecr.api, ecr.dkr and"
        " the gateway s3):" + _OPEN_A_ROUTE,
        is_permanent=False,
        source=_CONNECTIVITY,
    ),
    Row(
        "image-not-pulled",
        "The image cannot be pulled",
        reason(_CANNOT_PULL),
        "Check that {image} exists and that {execution_role} may pull it, then that its subnet reaches"
        " the registry.",
        is_permanent=False,
        source=_PULL,
    ),
    # The network, the file systems and the room to run in.
    Row(
        "network-not-found",
        "A subnet or security group of the service is gone",
        reason(
            r"Invalid(Subnet|SubnetID|Group|SecurityGroup|SecurityGroupID)\.NotFound|(subnet|security group).{1,80} does not exist"
        ),
        "Mend the subnets and security groups in the service's network configuration: EC2 no longer"
        " knows one of them.",
        is_permanent=True,
        source=_FAILED_TO_START,
    ),
    Row(
        "network-tags-refused",
        "A tag policy refuses the task's network interface",
        reason("TagPolicyViolation"),
        "Give the service the tags that the organisation's tag policy asks of network interfaces, with"
        " propagateTags = SERVICE.",
        is_permanent=True,
        source=f"{_GUIDE}/ecs-using-tags.html",
    ),
    Row(
        "no-addresses",
        "The subnet has no free addresses",
        reason(
            "InsufficientFreeAddresses|enough free addresses|free addresses in subnet|public IP"
            " assignment enabled in subnet",
            also=_SUBNET,
        ),
        "Free addresses in {subnet}, or give the service another or larger subnet: each task takes one,"
        " and a rolling deployment needs those of old and new tasks at once.",
        is_permanent=False,
        source=_FAILED_TO_START,
    ),
    Row(
        "network-interface",
        "The task's network interface was not ready in time",
        reason(
            "network interface provisioning|failed to configure ENI|attach network interface|Create"
            " Network Interface"
        ),
        "Wait for the next try; if it comes again, check free addresses in {subnet} and the account's"
        " quota of network interfaces.",
        is_permanent=False,
        source=_FAILED_TO_START,
    ),
    Row(
        "file-system-not-found",
        "The EFS file system cannot be found from the subnet",
        reason("EFS utils", r"Failed to resolve [\"']?(?P<file_system>[\w.-]+)|mount target"),
        "Give {file_system} a mount target in every zone of the service's subnets, and the VPC DNS"
        " hostnames and DNS resolution.",
        is_permanent=True,
        source=_RESOURCES,
    ),
    Row(
        "file-system-denied",
        "The EFS file system refuses the mount",
        reason("EFS utils", "access denied by server"),
        "Allow elasticfilesystem:ClientMount (and ClientWrite) to {task_role}, in the file system's"
        " policy too, and name the access point that the policy asks for.",
        is_permanent=False,
        source=_RESOURCES,
    ),
    Row(
        "file-system-path",
        "The directory does not exist in the EFS file system",
        reason("EFS utils", "No such file or directory"),
        "Make the directory of the volume's rootDirectory in the file system, or mount an access point"
        " that makes it.",
        is_permanent=True,
        source=_RESOURCES,
    ),
    Row(
        "file-system-unreachable",
        "The EFS file system cannot be mounted",
        reason("EFS utils"),
        "Let the tasks' security group reach port 2049 of the file system's mount target in {subnet},"
        " and the target's let them in.",
        is_permanent=False,
        source=_RESOURCES,
    ),
    Row(
        "no-capacity",
        "AWS has no capacity for the task at the moment",
        reason("Capacity is unavailable at this time"),
        "Try again later, give the service subnets in more zones, or for Fargate Spot a capacity"
        " provider strategy with FARGATE too.",
        is_permanent=False,
        source=_EVENTS,
    ),
    Row(
        "quota-reached",
        "A quota of the account is used up",
        reason(r"reached the limit on the number of (?P<quota>\w+)"),
        "Ask Service Quotas for more {quota} on Fargate, or run fewer or smaller tasks: a rolling"
        " deployment runs old and new tasks at once.",
        is_permanent=False,
        source=_EVENTS,
    ),
    Row(
        "task-too-large",
        "The task is larger than the account may run",
        reason("requested (?P<what>CPU|memory) configuration is above your limit"),
        "Ask Service Quotas for a higher limit on Fargate, or make the task smaller: it asks for {size}"
        " and {memory}.",
        is_permanent=True,
        source=_EVENTS,
    ),
    Row(
        "no-instances",
        "No container instance can take the task",
        reason(
            "no container instance met all|No Container Instances were"
            " found|RESOURCE:(CPU|MEMORY|ENI|PORTS)|EMPTY CAPACITY PROVIDER"
        ),
        "Add container instances with enough CPU, memory, ports and network interfaces to the cluster,"
        " or run the service on Fargate.",
        is_permanent=False,
        source=_EVENTS,
    ),
    # The program cannot be started.
    Row(
        "exec-format",
        "The program is built for another architecture, or is no program",
        reason_or_log("exec format error"),
        "Build {image} for {platform}, or set cpuArchitecture in the task definition to what it is built"
        " for; a script needs #! in its first line.",
        is_permanent=True,
        source="https://repost.aws/knowledge-center/ecs-task-exec-format-error",
    ),
    Row(
        "command-not-found",
        "The command is not in the image",
        reason_or_log(
            r"exec:? [\"']?(?P<program>[\w./-]+)[\"']?:? (executable file not found|stat .{1,200}no such file|no such file)"
        ),
        "Put {program} into {image} and on its PATH, or mend the container's entryPoint and command.",
        is_permanent=True,
        source=_START,
    ),
    Row(
        "command-not-executable",
        "The command may not be executed",
        reason_or_log(r"exec:? [\"']?(?P<program>[\w./-]+)[\"']?:? permission denied"),
        "Make {program} executable in {image} (chmod +x) for the user that the container runs as.",
        is_permanent=True,
        source=_START,
    ),
    Row(
        "container-not-started",
        "The container cannot be started",
        reason("Cannot(Start|Create)Container(Error)?|OCI runtime create failed|failed to create shim task"),
        "Check the container's entryPoint, command, user, ulimits and mount points against what {image}"
        " has: the reason names which.",
        is_permanent=True,
        source=_START,
    ),
    Row(
        "container-timeout",
        "The container did not start in time",
        reason("ContainerRuntimeTimeout|DockerTimeoutError|Could not transition to"),
        "Wait for the next try; if it comes again, open a way from {subnet} to ECR, S3 and CloudWatch"
        " Logs, or give the task more CPU.",
        is_permanent=False,
        source=f"{_GUIDE}/container-runtime-timeout-error.html",
    ),
    # Memory.
    Row(
        "out-of-memory",
        "The container ran out of memory",
        reason("OutOfMemory|killed due to memory usage"),
        "Raise `memory` in the task definition above {memory}, or let {container} need less.",
        is_permanent=False,
        source=f"{_GUIDE}/out-of-memory.html",
    ),
    Row(
        "heap-exhausted",
        "The program ran out of the memory it allows itself",
        log("JavaScript heap out of memory|java.lang.OutOfMemoryError|^MemoryError|Cannot allocate memory"),
        "Raise the program's own limit (--max-old-space-size, -XX:MaxRAMPercentage) or `memory` in the"
        " task definition above {memory}.",
        is_permanent=False,
        source=f"{_GUIDE}/out-of-memory.html",
    ),
    # Health checks.
    Row(
        "target-zone",
        "The task runs in a zone that the load balancer does not serve",
        health("Availability Zone that is not enabled"),
        "Enable the load balancer in every zone of the service's subnets, or take those subnets out of"
        " the service.",
        is_permanent=False,
        source=_TARGETS,
    ),
    Row(
        "target-group-missing",
        "The target group is gone",
        health("TARGET GROUP IS NOT FOUND"),
        "Create the service again with a target group that exists: ECS cannot register tasks with"
        " {target_group}.",
        is_permanent=True,
        source=_EVENTS,
    ),
    Row(
        "listens-elsewhere",
        "The program does not listen where the load balancer asks",
        listens_elsewhere,
        "Let {container} listen on 0.0.0.0:{port}, where {target_group} asks: its log tells of {heard}.",
        is_permanent=False,
        source=_BALANCER,
    ),
    Row(
        "health-check-code",
        "The load balancer's health check gets a wrong status code",
        health(r"these codes: \[(?P<codes>[\d, ]+)\]"),
        "Let {container} answer the health check of {target_group} on port {port} with a code that it"
        " accepts, or mend the check's path and matcher: the answer was {codes}.",
        is_permanent=False,
        source=_TARGETS,
    ),
    Row(
        "health-check-timeout",
        "The load balancer's health check gets no answer in time",
        health(r"Request timed out|Target\.Timeout"),
        "Let the load balancer's security group reach port {port} of the tasks, and {container} answer"
        " the check of {target_group} in time; a slow start needs a longer"
        " healthCheckGracePeriodSeconds.",
        is_permanent=False,
        source=_TARGETS,
    ),
    Row(
        "health-check-failed",
        "The load balancer finds the task unhealthy",
        health("ELB health checks"),
        "Let {container} listen on 0.0.0.0:{port} and answer the health check of {target_group}; a slow"
        " start needs a longer healthCheckGracePeriodSeconds.",
        is_permanent=False,
        source=_BALANCER,
    ),
    Row(
        "container-unhealthy",
        "The container's own health check fails",
        reason("failed container health checks"),
        "Let the health check of {container} succeed within its startPeriod and retries: it runs"
        " `{health_check}` inside the container, so that the image must have that program.",
        is_permanent=False,
        source="https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_HealthCheck.html",
    ),
    # What the log of a program that failed says of its surroundings.
    Row(
        "task-role-denied",
        "AWS refused a call of the program",
        log(denied(r"[\w-]+:\w+")),
        "Allow {action} on {resource} to {task_role}, the role with whose rights {container} runs.",
        is_permanent=False,
        source=f"{_GUIDE}/task-iam-roles.html",
    ),
    Row(
        "read-only-file-system",
        "The program writes to a read-only file system",
        log("read-only file ?system|EROFS"),
        "Let {container} write to a volume that is mounted for it, or set readonlyRootFilesystem to false.",
        is_permanent=False,
        source=_CONTAINER,
    ),
    Row(
        "port-in-use",
        "Two programs of the task want the same port",
        log("address already in use|EADDRINUSE"),
        "Give each program of the task a port of its own: all containers of a task share one network"
        " interface.",
        is_permanent=False,
        source=f"{_GUIDE}/fargate-task-networking.html",
    ),
    Row(
        "privileged-port",
        "The program may not listen on its port",
        log(r"\b(bind|listen)[^\n]{0,80}permission denied"),
        "Let {container} listen on a port above 1023, and mend containerPort and the target group: only"
        " root may use those below.",
        is_permanent=False,
        source=_CONTAINER,
    ),
    # The exit code alone.
    Row(
        "exit-0",
        "An essential container ended, as if its work were done",
        ended(0),
        "Let {command} of {container} run in the foreground for as long as the service shall live, or"
        " set `essential` to false.",
        is_permanent=False,
        source=_EXIT_CODES,
    ),
    Row(
        "exit-1",
        "The program failed",
        ended(1),
        "Read the last lines of its log for why {container} ended with 1, its own word for an error.",
        is_permanent=False,
        source=_EXIT_CODES,
    ),
    Row(
        "exit-2",
        "The program was called wrongly, or failed",
        ended(2),
        "Check {command} and its arguments: 2 is what shells and many programs say of a wrong call.",
        is_permanent=False,
        source=_SHELL_CODES,
    ),
    Row(
        "exit-126",
        "The command may not be executed",
        ended(126),
        "Make {command} executable in {image} (chmod +x) for the user that the container runs as: 126 is"
        " a shell's word for that.",
        is_permanent=True,
        source=_SHELL_CODES,
    ),
    Row(
        "exit-127",
        "The command is not in the image",
        ended(127),
        "Put the program that {command} calls into {image} and on its PATH: 127 is a shell's word for a"
        " command not found.",
        is_permanent=True,
        source=_SHELL_CODES,
    ),
    Row(
        "exit-137",
        "The container was killed",
        ended(137),
        "Raise `memory` in the task definition above {memory} if {container} used it up, or let it end"
        " within stopTimeout after SIGTERM: 137 is SIGKILL.",
        is_permanent=False,
        source=_EXIT_CODES,
    ),
    Row(
        "exit-139",
        "The program crashed in its own memory",
        ended(139),
        "Look for native code in {image} that does not fit its base image or {platform}: 139 is SIGSEGV,"
        " a segmentation fault.",
        is_permanent=False,
        source=_EXIT_CODES,
    ),
    Row(
        "exit-143",
        "The container was told to stop",
        ended(143),
        "Find what sent SIGTERM inside the task (an entrypoint, a supervisor): nobody stopped this task"
        " through ECS, and 143 is what SIGTERM leaves.",
        is_permanent=False,
        source=_EXIT_CODES,
    ),
    Row(
        "exit-255",
        "The program failed without saying how",
        ended(255),
        "Read the last lines of its log for why {container} ended with 255; without any, check"
        " entryPoint and command, and that {image} is built for {platform}.",
        is_permanent=False,
        source=_EXIT_CODES,
    ),
    Row(
        "exit-signal",
        "A signal ended the program",
        signalled,
        "Read the last lines of its log for what made {container} end by {signal} ({exit_code}); SIGABRT"
        " is an assertion of its own, SIGILL an instruction that the processor lacks.",
        is_permanent=False,
        source=_SHELL_CODES,
    ),
    Row(
        "exit-code",
        "The program failed",
        ended(),
        "Read the last lines of its log for why {container} ended with {exit_code}, its own word for an"
        " error.",
        is_permanent=False,
        source=_EXIT_CODES,
    ),
)
