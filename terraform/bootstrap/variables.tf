# `orch bootstrap` fills these in from orch.toml, for the environments of one account. By hand, see README.md.

variable "project" {
  description = "Name of the project."
  type        = string
  nullable    = false
}

variable "account_id" {
  description = "The AWS account that is set up. Terraform refuses to work in any other."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[0-9]{12}$", var.account_id))
    error_message = "The account id must have exactly 12 digits."
  }
}

variable "region" {
  description = "The AWS region of the environments."
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
}

variable "state_bucket" {
  description = "Name of the bucket with the states, this one too."
  type        = string
  nullable    = false
}

variable "repository" {
  description = "The GitHub repository whose workflows get the roles: owner/name, or owner@OWNER-ID/name@REPOSITORY-ID where its tokens carry immutable ids."
  type        = string
  nullable    = false

  validation {
    condition = (
      can(regex("^[A-Za-z0-9][A-Za-z0-9-]{0,38}/[A-Za-z0-9._-]{1,100}$", var.repository)) ||
      can(regex("^[A-Za-z0-9][A-Za-z0-9-]{0,38}@[0-9]+/[A-Za-z0-9._-]{1,100}@[0-9]+$", var.repository))
    )
    error_message = "The repository must be one exact repository, written owner/name, or owner@OWNER-ID/name@REPOSITORY-ID with both ids. A wildcard would let other repositories in."
  }
}

variable "environments" {
  description = "The environments in this account, keyed by name: their services, whether they are protected against deletion, the other accounts whose resources their tasks may use, and the environments that get their releases from them."
  type = map(object({
    services         = set(string)
    protected        = optional(bool, false)
    trusted_accounts = optional(set(string), [])
    promotes_to      = optional(set(string), [])
  }))
  nullable = false

  validation {
    condition     = length(var.environments) > 0
    error_message = "Name at least one environment."
  }

  validation {
    condition     = alltrue(flatten([for environment in values(var.environments) : [for name in environment.promotes_to : can(regex("^[a-z][a-z0-9-]{0,31}$", name))]]))
    error_message = "Each promotes_to must name environments exactly: a wildcard would let any of them read the releases, and roll out."
  }
}

variable "push_branches" {
  description = "Branches whose workflows may plan and push images, by exact name."
  type        = set(string)
  default     = ["main"]
  nullable    = false

  validation {
    condition     = length(var.push_branches) > 0 && alltrue([for branch in var.push_branches : branch != "" && !can(regex("[*?$\\s]", branch))])
    error_message = "Name at least one branch, each by its exact name: a wildcard would let any branch of that pattern push images."
  }
}

variable "job_workflow_refs" {
  description = "Reusable workflows that alone may use the roles apply and deploy (OWNER/REPOSITORY/.github/workflows/FILE.yml@REF); empty asks for none."
  type        = set(string)
  default     = []
  nullable    = false
}

variable "create_provider" {
  description = "Whether to create the account's identity provider for GitHub. False where something else already did."
  type        = bool
  default     = true
  nullable    = false
}

variable "issuer_url" {
  description = "Issuer of GitHub's tokens; an enterprise with its own issuer has a path behind it."
  type        = string
  default     = "https://token.actions.githubusercontent.com"
  nullable    = false
}

variable "permissions_boundary_arn" {
  description = "ARN of a permissions boundary that the organisation demands for the pipeline's own roles, or null for none."
  type        = string
  default     = null
}
