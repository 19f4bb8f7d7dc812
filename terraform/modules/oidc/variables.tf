variable "account_id" {
  description = "The AWS account that holds the provider and the roles."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[0-9]{12}$", var.account_id))
    error_message = "The account id must have exactly 12 digits."
  }
}

variable "partition" {
  description = "The AWS partition: aws, aws-cn or aws-us-gov."
  type        = string
  default     = "aws"
  nullable    = false
}

variable "issuer_url" {
  description = "Issuer of GitHub's tokens; an enterprise with its own issuer has a path behind it."
  type        = string
  default     = "https://token.actions.githubusercontent.com"
  nullable    = false

  validation {
    condition     = can(regex("^https://[a-z0-9.-]+(/[A-Za-z0-9._-]+)*$", var.issuer_url))
    error_message = "The issuer must be an https URL without a trailing slash."
  }
}

variable "create_provider" {
  description = "Whether to create the identity provider. An account can hold one per issuer: where it stands already, false looks it up."
  type        = bool
  default     = true
  nullable    = false
}

variable "provider_tags" {
  description = "Tags of the identity provider alone."
  type        = map(string)
  default     = {}
  nullable    = false
}

variable "roles" {
  description = <<-EOT
    Roles that GitHub workflows may assume, keyed by role name. The subjects are built from typed parts, at least one of them:
    environments, branches, tags or pull_request. repository is owner/name, or owner@OWNER-ID/name@REPOSITORY-ID for repositories
    whose tokens carry immutable ids. job_workflow_refs limits the role to these reusable workflows
    (OWNER/REPOSITORY/.github/workflows/FILE@refs/heads/BRANCH). policies are JSON documents, managed_policies ARNs, both keyed by a stable name.
  EOT
  type = map(object({
    description              = string
    repository               = string
    environments             = optional(set(string), [])
    branches                 = optional(set(string), [])
    tags                     = optional(set(string), [])
    pull_request             = optional(bool, false)
    job_workflow_refs        = optional(set(string), [])
    policies                 = optional(map(string), {})
    managed_policies         = optional(map(string), {})
    permissions_boundary_arn = optional(string)
    max_session_seconds      = optional(number, 3600)
  }))
  default  = {}
  nullable = false

  validation {
    condition     = alltrue([for name in keys(var.roles) : can(regex("^[A-Za-z0-9_+=,.@-]{1,64}$", name))])
    error_message = "Each role name must have 1 to 64 characters of A-Z a-z 0-9 _ + = , . @ -."
  }

  validation {
    condition = alltrue([
      for role in values(var.roles) :
      can(regex("^[A-Za-z0-9][A-Za-z0-9-]{0,38}/[A-Za-z0-9._-]{1,100}$", role.repository)) ||
      can(regex("^[A-Za-z0-9][A-Za-z0-9-]{0,38}@[0-9]+/[A-Za-z0-9._-]{1,100}@[0-9]+$", role.repository))
    ])
    error_message = "Each repository must be written owner/name, or owner@OWNER-ID/name@REPOSITORY-ID with both ids. Wildcards are refused: they would let other repositories in."
  }

  validation {
    condition = alltrue([
      for role in values(var.roles) :
      length([for used in [length(role.environments) > 0, length(role.branches) > 0, length(role.tags) > 0, role.pull_request] : used if used]) > 0
    ])
    error_message = "Each role must name at least one subject: environments, branches, tags or pull_request = true."
  }

  # Between two exact strings * and ? mean themselves, so a name with one would match nothing: say so instead.
  # $ is refused because IAM expands policy variables.
  validation {
    condition = alltrue(flatten([
      for role in values(var.roles) : [
        for value in setunion(role.environments, role.branches, role.tags, role.job_workflow_refs) : value != "" && !can(regex("[*?$\\s]", value))
      ]
    ]))
    error_message = "Environments, branches, tags and workflow references must be exact: no wildcard (* ?), no $ and no space. For \"any release tag\" use a GitHub environment with a tag rule."
  }

  validation {
    condition     = alltrue(flatten([for role in values(var.roles) : [for ref in role.job_workflow_refs : can(regex("^[^/@]+/[^/@]+/\\.github/workflows/[^@]+\\.ya?ml@.+$", ref))]]))
    error_message = "Each workflow reference must be written OWNER/REPOSITORY/.github/workflows/FILE.yml@REF."
  }

  validation {
    condition     = alltrue(flatten([for role in values(var.roles) : [for arn in values(role.managed_policies) : !can(regex(":iam::aws:policy/(AdministratorAccess|PowerUserAccess|IAMFullAccess)$", arn))]]))
    error_message = "AdministratorAccess, PowerUserAccess and IAMFullAccess are refused: a workflow's role must be limited to its task."
  }

  validation {
    condition     = alltrue([for role in values(var.roles) : role.max_session_seconds >= 3600 && role.max_session_seconds <= 43200])
    error_message = "IAM allows sessions of 3600 to 43200 seconds; a workflow may ask for less by itself."
  }
}

variable "path" {
  description = "Path of the roles."
  type        = string
  default     = "/github-actions/"
  nullable    = false

  validation {
    condition     = can(regex("^/([A-Za-z0-9._-]+/)*$", var.path))
    error_message = "The path must start and end with a slash."
  }
}

variable "tags" {
  description = "Tags of the provider and the roles, beside the provider's default_tags."
  type        = map(string)
  default     = {}
  nullable    = false
}
