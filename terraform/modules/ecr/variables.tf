variable "name" {
  description = "Name of the repository, with its namespace, such as demo-dev/hello."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z0-9]+([._-][a-z0-9]+)*(/[a-z0-9]+([._-][a-z0-9]+)*)*$", var.name)) && length(var.name) >= 2 && length(var.name) <= 256
    error_message = "The repository name \"${var.name}\" is not one that ECR takes: it must have 2 to 256 lower-case letters, digits and single separators (. _ - /), and must start and end with a letter or a digit."
  }
}

variable "kms_key_arn" {
  description = "ARN of the KMS key that encrypts the images; null takes the AWS managed key aws/ecr. ECR fixes it at creation: another key replaces the repository."
  type        = string
  default     = null

  validation {
    condition     = var.kms_key_arn == null || can(regex("^arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:key/[^*?]+$", var.kms_key_arn))
    error_message = "The KMS key must be the full ARN of one key (arn:aws:kms:REGION:ACCOUNT:key/ID), not an alias."
  }
}

variable "keep_images" {
  description = "How many tagged images are kept. It must exceed the number of releases that you want to be able to roll back over."
  type        = number
  default     = 100
  nullable    = false

  validation {
    condition     = var.keep_images >= 10 && var.keep_images <= 10000 && floor(var.keep_images) == var.keep_images
    error_message = "Repository ${var.name}: keep at least 10 and at most 10000 images, as a whole number: fewer could expire the image that a service still runs."
  }
}

variable "untagged_expire_days" {
  description = "Days after which an image that no tag and no index names is removed."
  type        = number
  default     = 7
  nullable    = false

  validation {
    condition     = var.untagged_expire_days >= 1 && floor(var.untagged_expire_days) == var.untagged_expire_days
    error_message = "Untagged images must stay for at least one whole day, so that a push that is under way is not cut."
  }
}

variable "pull_principal_arns" {
  description = "ARNs of roles or accounts outside this account that may pull. None by default: then the repository has no policy of its own."
  type        = set(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for arn in var.pull_principal_arns : can(regex("^arn:aws[a-z-]*:iam::[0-9]{12}:(root|role/[^*?]+)$", arn))])
    error_message = "Each pull principal must be the exact ARN of an account root or a role, without wildcards."
  }
}

variable "force_delete" {
  description = "Whether destroying the repository may delete the images in it."
  type        = bool
  default     = false
  nullable    = false
}

variable "tags" {
  description = "Tags of the repository, beside the provider's default_tags."
  type        = map(string)
  default     = {}
  nullable    = false
}
