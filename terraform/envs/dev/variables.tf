# What an environment can be told; terraform.tfvars tells it. Defaults and most checks live in
# modules/environment, so that they stand in one place.

variable "project" {
  description = "Name of the project; PROJECT-ENVIRONMENT prefixes every name."
  type        = string
  nullable    = false
}

variable "environment" {
  description = "Name of the environment."
  type        = string
  nullable    = false
}

variable "account_id" {
  description = "The AWS account of the environment. Terraform refuses to work in any other."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[0-9]{12}$", var.account_id))
    error_message = "The account id must have exactly 12 digits."
  }
}

variable "region" {
  description = "The AWS region of the environment."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z]+(-[a-z]+)+-[0-9]$", var.region))
    error_message = "The region must be written like eu-central-1."
  }
}

variable "permissions_boundary_arn" {
  description = "ARN of the permissions boundary of every role, or null for none. `orch bootstrap` creates it."
  type        = string
  default     = null

  # A boundary lies in the account of its roles, or is one of AWS's own: tfvars copied from another environment show here.
  validation {
    condition     = var.permissions_boundary_arn == null || can(regex("^arn:aws[a-z-]*:iam::(${var.account_id}|aws):policy/", var.permissions_boundary_arn))
    error_message = "The permissions boundary must lie in the environment's own account: write arn:aws:iam::${var.account_id}:policy/orch/${var.project}-${var.environment}/boundary, which orch bootstrap creates."
  }
}

variable "restrict_execution_role_trust" {
  description = "Whether the execution roles' trust asks for aws:SourceAccount; see modules/iam for when to turn it off."
  type        = bool
  default     = true
  nullable    = false
}

variable "force_delete_repositories" {
  description = "Whether destroying the environment may delete repositories that still hold images."
  type        = bool
  default     = false
  nullable    = false
}

variable "network" {
  description = "The environment's own VPC; see modules/network for the choices and their prices."
  type = object({
    availability_zones      = optional(list(string))
    cidr_block              = optional(string)
    egress                  = optional(string)
    egress_in_every_zone    = optional(bool)
    endpoint_services       = optional(set(string))
    flow_log_traffic        = optional(string)
    flow_log_retention_days = optional(number)
  })
  default  = {}
  nullable = false
}

variable "existing_network" {
  description = "A VPC that exists already, in place of an own one; null makes one."
  type = object({
    vpc_id             = string
    private_subnet_ids = list(string)
    public_subnet_ids  = optional(list(string))
    https_egress = optional(map(object({
      cidr_ipv4         = optional(string)
      prefix_list_id    = optional(string)
      security_group_id = optional(string)
    })))
  })
  default = null
}

variable "load_balancer" {
  description = "One HTTPS load balancer for the services that ask for it; null makes none."
  type = object({
    certificate_arn     = string
    ingress_cidr_blocks = set(string)
    internal            = optional(bool)
    deletion_protection = optional(bool)
    ssl_policy          = optional(string)
    access_logs_bucket  = optional(string)
    web_acl_arn         = optional(string)
    test_listener = optional(object({
      port                = optional(number)
      ingress_cidr_blocks = set(string)
    }))
  })
  default = null
}

# The type is the module's. It is not repeated here; but Terraform drops an attribute that an object type does
# not know, so a misspelt one (healthcheck for health_check) would silently do nothing: that is checked here.
locals {
  service_attributes = [
    "assign_public_ip",
    "autoscaling",
    "availability_zone_rebalancing",
    "container_port",
    "cpu",
    "cpu_architecture",
    "deployment_alarms",
    "desired_count",
    "egress",
    "enable_execute_command",
    "environment",
    "health_check",
    "ingress",
    "keep_images",
    "load_balancer",
    "log_retention_days",
    "maximum_percent",
    "memory",
    "minimum_healthy_percent",
    "readonly_root_filesystem",
    "secrets",
    "secrets_kms_key_arns",
    "stop_timeout_seconds",
    "task_role_statements",
    "user",
  ]
}

variable "services" {
  description = "The services of the environment, keyed by name; see modules/environment for their attributes."
  type        = any
  nullable    = false

  validation {
    condition     = alltrue([for service in values(var.services) : length(setsubtract(keys(service), local.service_attributes)) == 0])
    error_message = "No service has an attribute of this name; look for a misspelling: ${join(", ", flatten([for name, service in var.services : [for attribute in setsubtract(keys(service), local.service_attributes) : "services[\"${name}\"].${attribute}"]]))}."
  }
}
