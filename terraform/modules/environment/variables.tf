variable "project" {
  description = "Name of the project; PROJECT-ENVIRONMENT prefixes every name."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9]*(-[a-z0-9]+)*$", var.project)) && length(var.project) <= 20
    error_message = "The project must have at most 20 lower-case letters, digits and single hyphens, and start with a letter."
  }

  # https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateSecurityGroup.html and
  # https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_CreateLoadBalancer.html
  validation {
    condition     = !contains(["internal", "sg"], split("-", var.project)[0])
    error_message = "The project must not start with sg- or internal-: AWS keeps these for names of its own. Choose another first word."
  }
}

variable "environment" {
  description = "Name of the environment, such as dev."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9]*(-[a-z0-9]+)*$", var.environment)) && length(var.environment) <= 11
    error_message = "The environment must have at most 11 lower-case letters, digits and single hyphens, and start with a letter."
  }
}

variable "tags" {
  description = "Tags of every resource, beside the provider's default_tags. Do not repeat those here."
  type        = map(string)
  default     = {}
  nullable    = false
}

variable "permissions_boundary_arn" {
  description = "ARN of the permissions boundary of every role made here, or null for none."
  type        = string
  default     = null

  validation {
    condition     = var.permissions_boundary_arn == null || can(regex("^arn:aws[a-z-]*:iam::([0-9]{12}|aws):policy/[A-Za-z0-9_+=,.@/-]+$", var.permissions_boundary_arn))
    error_message = "The permissions boundary must be the full ARN of one policy, written like arn:aws:iam::ACCOUNT:policy/orch/demo-dev/boundary, without wildcards."
  }
}

variable "kms_key_arn" {
  description = "ARN of the KMS key for images, logs and exec sessions; null makes one. A given key must admit CloudWatch Logs for /ecs/PREFIX/* and /vpc/PREFIX/*. Another key replaces the repositories."
  type        = string
  default     = null

  validation {
    condition     = var.kms_key_arn == null || can(regex("^arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:key/[^*?]+$", var.kms_key_arn))
    error_message = "The KMS key must be the full ARN of one key (arn:aws:kms:REGION:ACCOUNT:key/ID), not an alias."
  }
}

variable "restrict_execution_role_trust" {
  description = "Whether the execution roles' trust asks for aws:SourceAccount. AWS documents that condition for task roles; turn it off should ECS fail to assume the execution roles."
  type        = bool
  default     = true
  nullable    = false
}

variable "force_delete_repositories" {
  description = "Whether destroying a service or the environment may delete repositories that still hold images."
  type        = bool
  default     = false
  nullable    = false
}

#### Network

variable "network" {
  description = "The environment's own VPC (see module network); ignored when existing_network is given."
  type = object({
    availability_zones      = optional(list(string))
    cidr_block              = optional(string, "10.0.0.0/16")
    egress                  = optional(string, "endpoints")
    egress_in_every_zone    = optional(bool, true)
    endpoint_services       = optional(set(string), ["ecr.api", "ecr.dkr", "logs"])
    flow_log_traffic        = optional(string, "REJECT")
    flow_log_retention_days = optional(number, 365)
  })
  default  = {}
  nullable = false
}

variable "existing_network" {
  description = "A VPC that exists already, in place of an own one. Its tasks are let out to https_egress, by default to all of the internet by HTTPS."
  type = object({
    vpc_id             = string
    private_subnet_ids = list(string)
    public_subnet_ids  = optional(list(string), [])
    https_egress = optional(map(object({
      cidr_ipv4         = optional(string)
      prefix_list_id    = optional(string)
      security_group_id = optional(string)
    })), { internet = { cidr_ipv4 = "0.0.0.0/0" } })
  })
  default = null

  validation {
    condition = var.existing_network == null || try(
      can(regex("^vpc-[0-9a-f]{8,17}$", var.existing_network.vpc_id)) && length(var.existing_network.private_subnet_ids) > 0 &&
      alltrue([for id in concat(var.existing_network.private_subnet_ids, var.existing_network.public_subnet_ids) : can(regex("^subnet-[0-9a-f]{8,17}$", id))]),
      false
    )
    error_message = "The existing network must name its VPC (vpc-…), at least one private subnet for the tasks, and each subnet by its id (subnet-…)."
  }
}

variable "load_balancer" {
  description = "One HTTPS load balancer for the services that ask for it; null makes none. Only ingress_cidr_blocks may reach it, on port 443, and test_listener's on the port where services with blue_green are tried before they get traffic."
  type = object({
    certificate_arn     = string
    ingress_cidr_blocks = set(string)
    internal            = optional(bool, true)
    deletion_protection = optional(bool, true)
    ssl_policy          = optional(string, "ELBSecurityPolicy-TLS13-1-2-2021-06")
    access_logs_bucket  = optional(string)
    web_acl_arn         = optional(string)
    test_listener = optional(object({
      port                = optional(number, 8443)
      ingress_cidr_blocks = set(string)
    }))
  })
  default = null

  validation {
    condition     = var.load_balancer == null || var.existing_network == null || try(length(var.load_balancer.internal ? var.existing_network.private_subnet_ids : var.existing_network.public_subnet_ids) >= 2, false)
    error_message = "A load balancer in an existing network needs two subnets in different zones: private_subnet_ids when it is internal, public_subnet_ids when it faces the internet."
  }
}

#### Services

variable "services" {
  description = "The services of the environment, keyed by name (see modules ecs and iam for each attribute). Adding one touches no other."
  type = map(object({
    # container
    container_port           = optional(number)
    cpu                      = optional(number, 256)
    memory                   = optional(number, 512)
    cpu_architecture         = optional(string, "X86_64")
    user                     = optional(string, "10001:10001")
    readonly_root_filesystem = optional(bool, true)
    stop_timeout_seconds     = optional(number, 30)
    environment              = optional(map(string), {})
    secrets                  = optional(map(string), {})
    secrets_kms_key_arns     = optional(list(string), [])
    health_check = optional(object({
      command              = list(string)
      interval_seconds     = optional(number, 30)
      timeout_seconds      = optional(number, 5)
      retries              = optional(number, 3)
      start_period_seconds = optional(number, 10)
    }))

    # rollout
    desired_count                 = optional(number, 1)
    minimum_healthy_percent       = optional(number, 100)
    maximum_percent               = optional(number, 200)
    availability_zone_rebalancing = optional(string, "ENABLED")
    deployment_alarms = optional(object({
      alarm_names = list(string)
      enable      = optional(bool, true)
      rollback    = optional(bool, true)
    }))
    enable_execute_command = optional(bool, false)
    autoscaling = optional(object({
      min_tasks          = number
      max_tasks          = number
      cpu_target_percent = optional(number, 60)
    }))

    # what it may reach, and who may reach it
    task_role_statements = optional(map(object({
      actions   = list(string)
      resources = list(string)
      conditions = optional(map(object({
        test     = string
        variable = string
        values   = list(string)
      })), {})
    })), {})
    assign_public_ip = optional(bool, false)
    ingress = optional(map(object({
      cidr_ipv4         = optional(string)
      security_group_id = optional(string)
    })), {})
    egress = optional(map(object({
      cidr_ipv4         = optional(string)
      prefix_list_id    = optional(string)
      security_group_id = optional(string)
      port              = optional(number, 443)
      protocol          = optional(string, "tcp")
    })), {})
    load_balancer = optional(object({
      priority                          = number
      host_headers                      = optional(list(string), [])
      path_patterns                     = optional(list(string), [])
      target_protocol                   = optional(string, "HTTP")
      health_check_path                 = optional(string, "/")
      health_check_matcher              = optional(string, "200")
      health_check_grace_period_seconds = optional(number, 60)
      deregistration_delay_seconds      = optional(number, 30)
      blue_green = optional(object({
        test_priority       = optional(number)
        restrict_role_trust = optional(bool, true)
      }))
    }))

    # what is kept
    log_retention_days = optional(number, 365)
    keep_images        = optional(number, 100)
  }))
  nullable = false

  validation {
    condition     = alltrue([for name in keys(var.services) : length("${var.project}-${var.environment}-${name}") <= 54])
    error_message = "PROJECT-ENVIRONMENT-SERVICE may have at most 54 characters, so that the role names stay within IAM's 64. Shorten the name of ${join(", ", [for name in keys(var.services) : name if length("${var.project}-${var.environment}-${name}") > 54])}."
  }

  validation {
    condition     = alltrue([for service in values(var.services) : service.desired_count >= 0 && floor(service.desired_count) == service.desired_count])
    error_message = "The desired count of a service must be a whole number, zero or more. Correct that of ${join(", ", [for name, service in var.services : name if service.desired_count < 0 || floor(service.desired_count) != service.desired_count])}."
  }

  validation {
    condition     = alltrue([for service in values(var.services) : contains(local.log_retention_days, service.log_retention_days)])
    error_message = "CloudWatch Logs keeps logs for ${join(", ", local.log_retention_days)} days: choose one of these for ${join(", ", [for name, service in var.services : name if !contains(local.log_retention_days, service.log_retention_days)])}."
  }

  validation {
    condition     = var.load_balancer != null || alltrue([for service in values(var.services) : service.load_balancer == null])
    error_message = "${join(", ", [for name, service in var.services : name if service.load_balancer != null])} must be reached through the load balancer, but the environment has none: set load_balancer beside services."
  }

  validation {
    condition = length(distinct([for service in values(var.services) : service.load_balancer.priority if service.load_balancer != null])) == length([
      for service in values(var.services) : service if service.load_balancer != null
    ])
    error_message = "Services behind the load balancer must have different priorities, but two share one of ${join(", ", [for name, service in var.services : "${name} (${service.load_balancer.priority})" if service.load_balancer != null])}."
  }
}
