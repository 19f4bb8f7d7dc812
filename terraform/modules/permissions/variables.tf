variable "project" {
  description = "Name of the project; PROJECT-ENVIRONMENT prefixes every name that the policies speak of."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9]*(-[a-z0-9]+)*$", var.project)) && length(var.project) <= 20
    error_message = "The project must have at most 20 lower-case letters, digits and single hyphens, and start with a letter."
  }
}

variable "environment" {
  description = "Name of the environment whose pipeline gets these policies."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9]*(-[a-z0-9]+)*$", var.environment)) && length(var.environment) <= 11
    error_message = "The environment must have at most 11 lower-case letters, digits and single hyphens, and start with a letter."
  }
}

variable "services" {
  description = "Names of the services that the roles push and deploy may work on. They name each one, so a new service needs a new `orch bootstrap`; plan and apply need none."
  type        = set(string)
  nullable    = false

  validation {
    condition     = length(var.services) > 0 && alltrue([for name in var.services : can(regex("^[a-z][a-z0-9]*(-[a-z0-9]+)*$", name))])
    error_message = "Name at least one service, each by lower-case letters, digits and single hyphens, as the root module does. Wildcards are refused."
  }
}

variable "protected" {
  description = "Whether the role apply is denied to delete what holds data: repositories, services, the cluster, log groups, keys, the load balancer, the VPC."
  type        = bool
  default     = false
  nullable    = false
}

variable "trusted_accounts" {
  description = "Other AWS accounts whose resources (buckets, queues, repositories) the environment's tasks may use. The boundary refuses those of all others."
  type        = set(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for account in var.trusted_accounts : can(regex("^[0-9]{12}$", account))])
    error_message = "Each trusted account must be the 12 digits of an AWS account id."
  }
}

variable "state_bucket" {
  description = "Name of the bucket with the environment's Terraform state and orch's release records."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$", var.state_bucket))
    error_message = "The state bucket must be the exact name of an S3 bucket, without wildcards."
  }
}

variable "account_id" {
  description = "The AWS account of the environment."
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

variable "tags" {
  description = "Tags of the managed policies, beside the provider's default_tags."
  type        = map(string)
  default     = {}
  nullable    = false
}
