#### Identity

variable "name" {
  description = "Name of the ECS service and of its container."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]*[a-z0-9]$", var.name)) && !strcontains(var.name, "--") && length(var.name) <= 32
    error_message = "The service name \"${var.name}\" is too long or has a wrong character: it must have 2 to 32 lower-case letters, digits and single hyphens, start with a letter and not end with a hyphen."
  }
}

variable "task_family" {
  description = "Family of the task definition: the skeleton and every revision that orch registers share it."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z0-9_-]{1,255}$", var.task_family))
    error_message = "The task family must have 1 to 255 letters, digits, hyphens and underscores."
  }
}

variable "cluster_arn" {
  description = "ARN of the cluster that runs the service."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^arn:aws[a-z-]*:ecs:[a-z0-9-]+:[0-9]{12}:cluster/[A-Za-z0-9_-]+$", var.cluster_arn))
    error_message = "The cluster must be the full ARN of an ECS cluster: arn:aws:ecs:REGION:ACCOUNT:cluster/NAME."
  }
}

variable "region" {
  description = "Region of the service, its logs and its Secrets Manager secrets."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z]+(-[a-z]+)+-[0-9]$", var.region))
    error_message = "The region must be written like eu-central-1."
  }
}

variable "tags" {
  description = "Tags of the resources, beside the provider's default_tags."
  type        = map(string)
  default     = {}
  nullable    = false
}

#### Container

variable "repository_url" {
  description = "Where the image is pulled from, without tag or digest."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z0-9.-]+(:[0-9]+)?(/[a-z0-9._-]+)+$", var.repository_url))
    error_message = "Service ${var.name}: the repository must be written REGISTRY/NAME, without a scheme, a tag or a digest: orch adds the digest."
  }
}

variable "container_port" {
  description = "TCP port on which the container listens, or null for a worker that listens on none. A user other than root cannot bind ports below 1024."
  type        = number
  default     = null

  validation {
    condition     = var.container_port == null || try(var.container_port >= 1 && var.container_port <= 65535 && floor(var.container_port) == var.container_port, false)
    error_message = "Service ${var.name}: the container port must be a whole number between 1 and 65535."
  }
}

variable "cpu" {
  description = "CPU units of the task; 1024 are one vCPU."
  type        = number
  default     = 256
  nullable    = false

  validation {
    condition     = contains(keys(local.fargate_memory), tostring(var.cpu))
    error_message = "Service ${var.name}: Fargate offers 256, 512, 1024, 2048, 4096, 8192 or 16384 CPU units: choose one of these for cpu."
  }
}

variable "memory" {
  description = "Memory of the task in MiB."
  type        = number
  default     = 512
  nullable    = false

  validation {
    condition     = contains(lookup(local.fargate_memory, tostring(var.cpu), [var.memory]), var.memory)
    error_message = "Service ${var.name}: Fargate does not offer ${var.memory} MiB with ${var.cpu} CPU units. Choose a memory it offers with them, in MiB: ${join(", ", lookup(local.fargate_memory, tostring(var.cpu), []))}."
  }
}

variable "cpu_architecture" {
  description = "Architecture of the image: X86_64 or ARM64."
  type        = string
  default     = "X86_64"
  nullable    = false

  validation {
    condition     = contains(["X86_64", "ARM64"], var.cpu_architecture)
    error_message = "Service ${var.name}: the CPU architecture must be X86_64 or ARM64."
  }
}

variable "user" {
  description = "User, or user:group, that the container runs as."
  type        = string
  default     = "10001:10001"
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z0-9_.-]+(:[A-Za-z0-9_.-]+)?$", var.user)) && !can(regex("^(0+|root)(:|$)", var.user))
    error_message = "Service ${var.name}: the container must run as a user other than root, written as user or user:group (names or numbers)."
  }
}

variable "readonly_root_filesystem" {
  description = "Whether the container's root filesystem is read-only."
  type        = bool
  default     = true
  nullable    = false
}

variable "environment" {
  description = "Plain environment variables. Everyone who may describe the task definition reads them: values that must stay secret belong in secrets."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition     = alltrue([for name in keys(var.environment) : can(regex("^[A-Za-z_][A-Za-z0-9_]*$", name))])
    error_message = "Service ${var.name}: the name of each environment variable must have only letters, digits and underscores, and not start with a digit."
  }

  validation {
    condition     = alltrue([for name, value in var.environment : can(regex(local.harmless_value, value)) || !can(regex(local.secret_name, name))])
    error_message = "Service ${var.name}: environment gives a literal value to ${join(", ", [for name, value in var.environment : name if !can(regex(local.harmless_value, value)) && can(regex(local.secret_name, name))])}, but a name like that holds a secret. Store the value in Secrets Manager or SSM, and put its ARN under that name in secrets."
  }

  validation {
    condition     = alltrue(flatten([for value in values(var.environment) : [for pattern in values(local.secret_values) : !can(regex(pattern, value))]]))
    error_message = "Service ${var.name}: environment holds what looks like a secret: ${join(", ", flatten([for name, value in var.environment : [for kind, pattern in local.secret_values : "${name} (${kind})" if can(regex(pattern, value))]]))}. Store the value in Secrets Manager or SSM, and put its ARN under that name in secrets."
  }
}

variable "secrets" {
  description = "Environment variables read from Secrets Manager or SSM when a task starts: name to full ARN, optionally with :json-key:version-stage:version-id."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition     = alltrue([for name in keys(var.secrets) : can(regex("^[A-Za-z_][A-Za-z0-9_]*$", name))])
    error_message = "Service ${var.name}: the name of each environment variable in secrets must have only letters, digits and underscores, and not start with a digit."
  }

  validation {
    condition     = alltrue([for arn in values(var.secrets) : can(regex("^arn:aws[a-z-]*:(secretsmanager:[a-z0-9-]+:[0-9]{12}:secret:|ssm:[a-z0-9-]+:[0-9]{12}:parameter/)[^*?]+$", arn))])
    error_message = "Service ${var.name}: each secret must be the full ARN of one Secrets Manager secret or SSM parameter, without wildcards, and never the value itself."
  }

  # https://docs.aws.amazon.com/AmazonECS/latest/developerguide/secrets-envvar-secrets-manager.html: all three colons, or none.
  # Secrets Manager ends every ARN with six random characters; without them the execution role's policy would not match.
  validation {
    condition     = alltrue([for arn in values(var.secrets) : can(regex(":secret:[^:]+-[A-Za-z0-9]{6}(:[^:]*:[^:]*:[^:]*)?$", arn)) if can(regex("^arn:aws[a-z-]*:secretsmanager:", arn))])
    error_message = "Service ${var.name}: each Secrets Manager ARN in secrets must be whole: secret:NAME with the six random characters at its end, and then either nothing or all three of :JSON-KEY:VERSION-STAGE:VERSION-ID, empty ones too (\":password::\")."
  }

  # The execution role may decrypt in its own region alone, and the VPC endpoint of Secrets Manager leads to no other.
  validation {
    condition     = alltrue([for arn in values(var.secrets) : try(split(":", arn)[3] == var.region, true) if can(regex("^arn:aws[a-z-]*:secretsmanager:", arn))])
    error_message = "Service ${var.name}: each Secrets Manager secret must lie in the service's region ${var.region}. Replicate the secret there, and give the replica's ARN."
  }

  validation {
    condition     = length(setintersection(keys(var.secrets), keys(var.environment))) == 0
    error_message = "Service ${var.name}: ${join(", ", setintersection(keys(var.secrets), keys(var.environment)))} may stand in environment or in secrets, not in both: ECS refuses a task definition that sets a name twice."
  }
}

variable "health_check" {
  description = "Command with which ECS asks the container whether it is healthy (first element CMD or CMD-SHELL), and its pace; null leaves it out."
  type = object({
    command              = list(string)
    interval_seconds     = optional(number, 30)
    timeout_seconds      = optional(number, 5)
    retries              = optional(number, 3)
    start_period_seconds = optional(number, 10)
  })
  default = null

  validation {
    condition     = var.health_check == null || try(length(var.health_check.command) >= 2 && contains(["CMD", "CMD-SHELL"], var.health_check.command[0]), false)
    error_message = "Service ${var.name}: the health check command must start with CMD or CMD-SHELL, followed by what to run."
  }

  # https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_HealthCheck.html
  validation {
    condition = var.health_check == null || try(alltrue([
      var.health_check.interval_seconds >= 5, var.health_check.interval_seconds <= 300,
      var.health_check.timeout_seconds >= 2, var.health_check.timeout_seconds <= 60,
      var.health_check.retries >= 1, var.health_check.retries <= 10,
      var.health_check.start_period_seconds >= 0, var.health_check.start_period_seconds <= 300,
    ]), false)
    error_message = "Service ${var.name}: the health check must have an interval of 5 to 300 s, a timeout of 2 to 60 s, 1 to 10 retries and a start period of 0 to 300 s."
  }
}

variable "stop_timeout_seconds" {
  description = "Seconds between SIGTERM and SIGKILL when a task stops."
  type        = number
  default     = 30
  nullable    = false

  validation {
    condition     = var.stop_timeout_seconds >= 2 && var.stop_timeout_seconds <= 120
    error_message = "Service ${var.name}: Fargate allows a stop timeout of 2 to 120 seconds."
  }
}

variable "log_group_name" {
  description = "CloudWatch log group of the container. It must exist: nothing here may create it."
  type        = string
  nullable    = false

  # https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_CreateLogGroup.html
  validation {
    condition     = can(regex("^[A-Za-z0-9._/#-]{1,512}$", var.log_group_name))
    error_message = "Service ${var.name}: the log group must be given by its name (not its ARN), with at most 512 letters, digits and . _ / # -."
  }
}

variable "execution_role_arn" {
  description = "ARN of the role with which ECS starts the tasks."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^arn:aws[a-z-]*:iam::[0-9]{12}:role/[^*?]+$", var.execution_role_arn))
    error_message = "Service ${var.name}: the execution role must be the full ARN of one role."
  }
}

variable "task_role_arn" {
  description = "ARN of the role that the application runs as."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^arn:aws[a-z-]*:iam::[0-9]{12}:role/[^*?]+$", var.task_role_arn))
    error_message = "Service ${var.name}: the task role must be the full ARN of one role."
  }

  validation {
    condition     = var.task_role_arn != var.execution_role_arn
    error_message = "Service ${var.name}: the task role and the execution role must differ: the application has no need of what starts it."
  }
}

#### Service

variable "minimum_healthy_percent" {
  description = "Share of the desired tasks that must run during a rollout, in percent."
  type        = number
  default     = 100
  nullable    = false

  validation {
    condition     = var.minimum_healthy_percent >= 0 && var.minimum_healthy_percent <= 100
    error_message = "Service ${var.name}: the minimum healthy percent must lie between 0 and 100."
  }
}

variable "maximum_percent" {
  description = "Share of the desired tasks that may run during a rollout, in percent."
  type        = number
  default     = 200
  nullable    = false

  validation {
    condition     = var.maximum_percent >= 100 && var.maximum_percent <= 200
    error_message = "Service ${var.name}: the maximum percent must lie between 100 and 200."
  }

  validation {
    condition     = var.maximum_percent > 100 || var.minimum_healthy_percent < 100
    error_message = "Service ${var.name}: with 100 percent as both minimum and maximum, ECS could neither start a new task nor stop an old one: no rollout would ever move. Raise maximum_percent or lower minimum_healthy_percent."
  }
}

variable "deployment_alarms" {
  description = "CloudWatch alarms, by name, of which any that fires makes ECS fail the rollout, and roll it back unless told otherwise; null sets none. To be rid of them later, apply enable = false first: the provider takes a missing block for no change."
  type = object({
    alarm_names = list(string)
    enable      = optional(bool, true)
    rollback    = optional(bool, true)
  })
  default = null

  # https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricAlarm.html
  validation {
    condition     = var.deployment_alarms == null || try(length(var.deployment_alarms.alarm_names) > 0 && alltrue([for name in var.deployment_alarms.alarm_names : length(name) >= 1 && length(name) <= 255 && !startswith(name, "arn:")]), false)
    error_message = "Service ${var.name}: deployment_alarms must name at least one alarm, each by its name of up to 255 characters and not by its ARN."
  }
}

variable "availability_zone_rebalancing" {
  description = "Whether ECS evens out the tasks over the availability zones: ENABLED or DISABLED."
  type        = string
  default     = "ENABLED"
  nullable    = false

  validation {
    condition     = contains(["ENABLED", "DISABLED"], var.availability_zone_rebalancing)
    error_message = "Service ${var.name}: availability zone rebalancing must be ENABLED or DISABLED."
  }

  validation {
    condition     = var.availability_zone_rebalancing == "DISABLED" || var.maximum_percent > 100
    error_message = "Service ${var.name}: availability zone rebalancing needs a maximum percent above 100, because it starts the new task before it stops the old one. Raise maximum_percent, or set availability_zone_rebalancing = \"DISABLED\"."
  }
}

variable "enable_execute_command" {
  description = "Whether ECS Exec may open a shell in the tasks."
  type        = bool
  default     = false
  nullable    = false

  validation {
    condition     = !(var.enable_execute_command && var.readonly_root_filesystem)
    error_message = "Service ${var.name}: ECS Exec does not work with a read-only root filesystem: set readonly_root_filesystem = false beside it, outside production."
  }
}

variable "autoscaling" {
  description = "Keeps the number of tasks between two bounds by average CPU use; null leaves the count to orch."
  type = object({
    min_tasks          = number
    max_tasks          = number
    cpu_target_percent = optional(number, 60)
  })
  default = null

  validation {
    condition     = var.autoscaling == null || try(var.autoscaling.min_tasks >= 1 && var.autoscaling.max_tasks >= var.autoscaling.min_tasks, false)
    error_message = "Service ${var.name}: autoscaling needs at least one task, and a maximum that is not below the minimum."
  }

  validation {
    condition     = var.autoscaling == null || try(var.autoscaling.cpu_target_percent > 0 && var.autoscaling.cpu_target_percent <= 100, false)
    error_message = "Service ${var.name}: the CPU target must lie between 1 and 100 percent."
  }
}

#### Network

variable "vpc_id" {
  description = "VPC of the service's security group and target group."
  type        = string
  nullable    = false
}

variable "subnet_ids" {
  description = "Subnets in which the tasks run, best in at least two availability zones."
  type        = list(string)
  nullable    = false

  validation {
    condition     = length(var.subnet_ids) > 0
    error_message = "Service ${var.name}: the tasks need at least one subnet."
  }
}

variable "assign_public_ip" {
  description = "Whether tasks get a public address. Only for subnets whose one way out is an internet gateway."
  type        = bool
  default     = false
  nullable    = false
}

variable "ingress" {
  description = "Who may reach the container port, keyed by a stable name: one address range or one security group each. The load balancer is added by itself."
  type = map(object({
    cidr_ipv4         = optional(string)
    security_group_id = optional(string)
  }))
  default  = {}
  nullable = false

  validation {
    condition     = length(var.ingress) == 0 || var.container_port != null
    error_message = "Service ${var.name}: ingress rules need a container_port to open."
  }

  validation {
    condition     = alltrue([for rule in values(var.ingress) : length([for target in [rule.cidr_ipv4, rule.security_group_id] : target if target != null]) == 1])
    error_message = "Service ${var.name}: each ingress rule must name exactly one of cidr_ipv4 and security_group_id."
  }

  validation {
    condition     = alltrue([for rule in values(var.ingress) : can(cidrhost(rule.cidr_ipv4, 0)) && !endswith(rule.cidr_ipv4, "/0") if rule.cidr_ipv4 != null])
    error_message = "Service ${var.name}: each ingress range must be written like 10.0.0.0/16, and must not be the whole internet: that belongs in front of a load balancer."
  }
}

variable "egress" {
  description = "What the tasks may reach, keyed by a stable name: one address range, prefix list or security group each, on one port. At least the registry and the log service must be in reach."
  type = map(object({
    cidr_ipv4         = optional(string)
    prefix_list_id    = optional(string)
    security_group_id = optional(string)
    port              = optional(number, 443)
    protocol          = optional(string, "tcp")
  }))
  nullable = false

  validation {
    condition     = length(var.egress) > 0
    error_message = "Service ${var.name}: without any egress rule a task cannot even pull its image. Name what it may reach."
  }

  validation {
    condition     = alltrue([for rule in values(var.egress) : length([for target in [rule.cidr_ipv4, rule.prefix_list_id, rule.security_group_id] : target if target != null]) == 1])
    error_message = "Service ${var.name}: each egress rule must name exactly one of cidr_ipv4, prefix_list_id and security_group_id."
  }

  validation {
    condition     = alltrue([for rule in values(var.egress) : contains(["tcp", "udp"], rule.protocol) && rule.port >= 1 && rule.port <= 65535 && floor(rule.port) == rule.port])
    error_message = "Service ${var.name}: each egress rule must open one port between 1 and 65535 for tcp or udp."
  }
}

variable "load_balancer" {
  description = "The shared load balancer's listener and security group, and the rule that sends requests to this service; null leaves the service without one. blue_green adds what ECS needs to move traffic from one revision to the next, among it a role FAMILY-traffic under role_path, and with test a rule on the listener where the next one can be tried before (same priority unless told). The role's trust asks for aws:SourceAccount, which AWS's own example does not: turn restrict_role_trust off should ECS fail to assume it."
  type = object({
    listener_arn                      = string
    security_group_id                 = string
    priority                          = number
    host_headers                      = optional(list(string), [])
    path_patterns                     = optional(list(string), [])
    target_protocol                   = optional(string, "HTTP")
    health_check_path                 = optional(string, "/")
    health_check_matcher              = optional(string, "200")
    health_check_grace_period_seconds = optional(number, 60)
    deregistration_delay_seconds      = optional(number, 30)
    blue_green = optional(object({
      role_path                = optional(string, "/")
      permissions_boundary_arn = optional(string)
      restrict_role_trust      = optional(bool, true)
      test = optional(object({
        listener_arn = string
        priority     = optional(number)
      }))
    }))
  })
  default = null

  validation {
    condition     = var.load_balancer == null || var.container_port != null
    error_message = "Service ${var.name}: behind the load balancer it needs a container_port."
  }

  validation {
    condition     = var.load_balancer == null || try(var.load_balancer.priority >= 1 && var.load_balancer.priority <= 50000, false)
    error_message = "Service ${var.name}: the listener rule's priority must lie between 1 and 50000, and differ from those of the other services."
  }

  # The role is named after the family, and IAM takes 64 characters.
  validation {
    condition     = try(var.load_balancer.blue_green, null) == null || length(var.task_family) <= 56
    error_message = "Service ${var.name}: with blue_green the task family may have at most 56 characters, so that the role FAMILY-traffic stays within IAM's 64."
  }

  validation {
    condition = try(var.load_balancer.blue_green, null) == null || try(
      can(regex("^/([A-Za-z0-9._-]+/)*$", var.load_balancer.blue_green.role_path)) &&
      (var.load_balancer.blue_green.permissions_boundary_arn == null || can(regex("^arn:aws[a-z-]*:iam::([0-9]{12}|aws):policy/[A-Za-z0-9_+=,.@/-]+$", var.load_balancer.blue_green.permissions_boundary_arn))),
      false
    )
    error_message = "Service ${var.name}: the path of the blue/green role must start and end with a slash, and its permissions boundary be the full ARN of one policy."
  }

  validation {
    condition     = try(var.load_balancer.blue_green.test.priority, null) == null || try(var.load_balancer.blue_green.test.priority >= 1 && var.load_balancer.blue_green.test.priority <= 50000, false)
    error_message = "Service ${var.name}: the test listener rule's priority must lie between 1 and 50000, and differ from those of the other services on that listener."
  }

  validation {
    condition     = try(var.load_balancer.blue_green.test, null) == null || try(var.load_balancer.blue_green.test.listener_arn != var.load_balancer.listener_arn, false)
    error_message = "Service ${var.name}: the test listener must be another one than production's: on one listener, the rule with the lower priority would take all requests."
  }

  validation {
    condition     = var.load_balancer == null || try(length(var.load_balancer.host_headers) + length(var.load_balancer.path_patterns) > 0, false)
    error_message = "Service ${var.name}: behind the load balancer it must name its host_headers or path_patterns (\"/*\" for all)."
  }

  validation {
    condition     = var.load_balancer == null || try(contains(["HTTP", "HTTPS"], var.load_balancer.target_protocol), false)
    error_message = "Service ${var.name}: the load balancer speaks HTTP or HTTPS to the container; HTTPS needs a container that answers with a certificate, be it self-signed."
  }

  # https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_CreateTargetGroup.html and
  # .../APIReference/API_TargetGroupAttribute.html
  validation {
    condition = var.load_balancer == null || try(alltrue([
      startswith(var.load_balancer.health_check_path, "/"),
      can(regex("^[2-4][0-9]{2}([,-][2-4][0-9]{2})*$", var.load_balancer.health_check_matcher)),
      var.load_balancer.health_check_grace_period_seconds >= 0,
      var.load_balancer.deregistration_delay_seconds >= 0, var.load_balancer.deregistration_delay_seconds <= 3600,
    ]), false)
    error_message = "Service ${var.name}: the load balancer's health check needs a path that starts with / and a matcher such as 200 or 200-299, the grace period must not be negative, and the deregistration delay must lie between 0 and 3600 s."
  }
}
