variable "name" {
  description = "Base of the role names: the roles are NAME-task and NAME-execution."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z0-9_+=,.@-]{1,54}$", var.name))
    error_message = "The base name must have 1 to 54 characters of A-Z a-z 0-9 _ + = , . @ - so that NAME-execution stays within IAM's 64."
  }
}

variable "account_id" {
  description = "The AWS account that the roles live in; their trust is limited to it."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[0-9]{12}$", var.account_id))
    error_message = "The account id must have exactly 12 digits."
  }
}

variable "region" {
  description = "The region in which the tasks run; the task role's trust is limited to it."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z]+(-[a-z]+)+-[0-9]$", var.region))
    error_message = "The region must be written like eu-central-1."
  }
}

variable "partition" {
  description = "The AWS partition: aws, aws-cn or aws-us-gov."
  type        = string
  default     = "aws"
  nullable    = false

  validation {
    condition     = can(regex("^aws(-[a-z]+)*$", var.partition))
    error_message = "The partition must be written as in ARNs: aws, aws-cn or aws-us-gov."
  }
}

variable "path" {
  description = "Path of the roles, such as /orch/demo-dev/: it lets a policy name all roles of one environment. IAM fixes it at creation."
  type        = string
  default     = "/"
  nullable    = false

  validation {
    condition     = can(regex("^/([A-Za-z0-9._-]+/)*$", var.path))
    error_message = "The path must start and end with a slash."
  }
}

variable "permissions_boundary_arn" {
  description = "ARN of the permissions boundary of both roles, or null for none."
  type        = string
  default     = null

  validation {
    condition     = var.permissions_boundary_arn == null || can(regex("^arn:aws[a-z-]*:iam::([0-9]{12}|aws):policy/[A-Za-z0-9_+=,.@/-]+$", var.permissions_boundary_arn))
    error_message = "The permissions boundary must be the full ARN of one policy, written like arn:aws:iam::ACCOUNT:policy/orch/demo-dev/boundary, without wildcards."
  }
}

variable "repository_arn" {
  description = "ARN of the one ECR repository that the execution role may pull from."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^arn:aws[a-z-]*:ecr:[a-z0-9-]+:[0-9]{12}:repository/[^*?]+$", var.repository_arn))
    error_message = "The repository must be the full ARN of one ECR repository (arn:aws:ecr:REGION:ACCOUNT:repository/NAME), without wildcards."
  }
}

variable "log_group_arn" {
  description = "ARN (without a trailing :*) of the one log group that the execution role may write to."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^arn:aws[a-z-]*:logs:[a-z0-9-]+:[0-9]{12}:log-group:[^:*?]+$", var.log_group_arn))
    error_message = "The log group must be the full ARN of one log group (arn:aws:logs:REGION:ACCOUNT:log-group:NAME), without a trailing :* and without wildcards."
  }
}

variable "secret_arns" {
  description = "ARNs, as written in the task definition's secrets, of the Secrets Manager secrets and SSM parameters that the execution role may read."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for arn in var.secret_arns : can(regex("^arn:aws[a-z-]*:(secretsmanager:[a-z0-9-]+:[0-9]{12}:secret:|ssm:[a-z0-9-]+:[0-9]{12}:parameter/)[^*?]+$", arn))])
    error_message = "${var.name}: each secret must be the full ARN of one Secrets Manager secret or SSM parameter, without wildcards."
  }
}

variable "secrets_kms_key_arns" {
  description = "ARNs of the customer managed KMS keys that encrypt those secrets."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for arn in var.secrets_kms_key_arns : can(regex("^arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:key/[^*?]+$", arn))])
    error_message = "${var.name}: each KMS key must be the full ARN of one key (arn:aws:kms:REGION:ACCOUNT:key/ID), not an alias and not a wildcard."
  }
}

variable "task_role_statements" {
  description = "What the application itself may do, keyed by statement id. Empty by default: then the task role has no permission at all."
  type = map(object({
    actions   = list(string)
    resources = list(string)
    conditions = optional(map(object({
      test     = string
      variable = string
      values   = list(string)
    })), {})
  }))
  default  = {}
  nullable = false

  validation {
    condition     = alltrue([for sid in keys(var.task_role_statements) : can(regex("^[A-Za-z0-9]+$", sid))])
    error_message = "${var.name}: the key of each task role statement is its sid and may have only letters and digits."
  }

  validation {
    condition     = alltrue([for s in values(var.task_role_statements) : length(s.actions) > 0 && length(s.resources) > 0])
    error_message = "${var.name}: each task role statement must name at least one action and one resource."
  }

  validation {
    condition     = alltrue(flatten([for s in values(var.task_role_statements) : [for action in s.actions : can(regex("^[a-z0-9-]+:[A-Za-z]+\\*?$", action))]]))
    error_message = "${var.name}: each action must be written as service:Action; \"*\" and \"service:*\" are refused, because an application needs less."
  }

  validation {
    condition     = alltrue(flatten([for s in values(var.task_role_statements) : [for resource in s.resources : can(regex("^(\\*|arn:aws[a-z-]*:.+)$", resource))]]))
    error_message = "${var.name}: each resource of a task role statement must be an ARN, or \"*\" for actions that know no resource."
  }

  validation {
    condition = alltrue([
      for s in values(var.task_role_statements) :
      !anytrue([for resource in s.resources : can(regex(local.names_everything, resource))]) ||
      alltrue([for action in s.actions : can(regex(local.knows_no_resource, action)) || !can(regex(local.must_name_resources, action))])
    ])
    error_message = "${var.name}: a task role statement that reads data or assumes roles must name what it may reach: write the ARNs of its secrets, functions, buckets, tables, queues, keys or roles in place of \"*\"."
  }
}

variable "execute_command" {
  description = "Lets ECS Exec open a shell in the task and write its session to this log group, encrypted with this key; null leaves it out."
  type = object({
    log_group_arn = string
    kms_key_arn   = string
  })
  default = null

  validation {
    condition = var.execute_command == null || try(
      can(regex("^arn:aws[a-z-]*:logs:[a-z0-9-]+:[0-9]{12}:log-group:[^:*?]+$", var.execute_command.log_group_arn)) &&
      can(regex("^arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:key/[^*?]+$", var.execute_command.kms_key_arn)),
      false
    )
    error_message = "ECS Exec needs the full ARNs of one log group (without a trailing :*) and of one KMS key (not an alias), without wildcards."
  }
}

variable "restrict_execution_role_trust" {
  description = "Whether the execution role's trust asks for aws:SourceAccount. AWS documents that condition for task roles; turn it off should ECS fail to assume the execution role."
  type        = bool
  default     = true
  nullable    = false
}

variable "tags" {
  description = "Tags of the roles, beside the provider's default_tags."
  type        = map(string)
  default     = {}
  nullable    = false
}
