variable "name" {
  description = "Name of the VPC, and prefix of the names of what lies in it."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9-]{0,40}$", var.name))
    error_message = "The name must have at most 41 lower-case letters, digits and hyphens."
  }
}

variable "account_id" {
  description = "The AWS account of the VPC; the trust of the flow log's role is limited to it."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[0-9]{12}$", var.account_id))
    error_message = "The account id must have exactly 12 digits."
  }
}

variable "region" {
  description = "The region of the VPC."
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

variable "cidr_block" {
  description = "Address range of the VPC, at least a /20, so that each subnet has room for tasks."
  type        = string
  default     = "10.0.0.0/16"
  nullable    = false

  validation {
    condition     = can(cidrhost(var.cidr_block, 0)) && try(tonumber(split("/", var.cidr_block)[1]) >= 16 && tonumber(split("/", var.cidr_block)[1]) <= 20, false)
    error_message = "The address range must be written like 10.0.0.0/16, with a prefix of /16 to /20."
  }
}

variable "availability_zones" {
  description = "Names of the availability zones, such as eu-central-1a. Only append to it: a zone's place decides the addresses of its subnets."
  type        = list(string)
  nullable    = false

  validation {
    condition     = length(var.availability_zones) >= 2 && length(var.availability_zones) <= 8 && length(distinct(var.availability_zones)) == length(var.availability_zones)
    error_message = "Name two to eight different availability zones."
  }

  validation {
    condition     = alltrue([for zone in var.availability_zones : startswith(zone, var.region)])
    error_message = "Every availability zone must lie in the region ${var.region}."
  }
}

variable "egress" {
  description = "How tasks reach AWS and the world: endpoints (the listed AWS services only, nothing else), nat_gateway (all of the internet) or none."
  type        = string
  default     = "endpoints"
  nullable    = false

  validation {
    condition     = contains(["endpoints", "nat_gateway", "none"], var.egress)
    error_message = "The egress must be endpoints, nat_gateway or none."
  }
}

variable "egress_in_every_zone" {
  description = "Whether each zone has its own endpoints or NAT gateway. With false one zone holds them for all: cheaper, but losing that zone cuts all off."
  type        = bool
  default     = true
  nullable    = false
}

variable "endpoint_services" {
  description = "AWS services with an interface endpoint when egress is endpoints, as in com.amazonaws.REGION.SERVICE."
  type        = set(string)
  default     = ["ecr.api", "ecr.dkr", "logs"]
  nullable    = false

  validation {
    condition     = alltrue([for service in ["ecr.api", "ecr.dkr", "logs"] : contains(var.endpoint_services, service)])
    error_message = "The endpoints ecr.api, ecr.dkr and logs are needed by every Fargate task that has no other way out."
  }
}

variable "public_subnets" {
  description = "Whether to make public subnets and an internet gateway, for an internet-facing load balancer. A NAT gateway brings them by itself."
  type        = bool
  default     = false
  nullable    = false
}

variable "flow_log_traffic" {
  description = "Which traffic the flow log records: REJECT (what was refused: cheap, and what an investigation asks for first), ACCEPT or ALL."
  type        = string
  default     = "REJECT"
  nullable    = false

  validation {
    condition     = contains(["REJECT", "ACCEPT", "ALL"], var.flow_log_traffic)
    error_message = "The flow log must record REJECT, ACCEPT or ALL."
  }
}

variable "flow_log_retention_days" {
  description = "Days for which the flow log is kept."
  type        = number
  default     = 365
  nullable    = false

  # https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutRetentionPolicy.html
  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653], var.flow_log_retention_days)
    error_message = "CloudWatch Logs keeps logs for 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288 or 3653 days: choose one of these for the flow log."
  }
}

variable "kms_key_arn" {
  description = "ARN of the KMS key that encrypts the flow log, or null for the service's own encryption. Its policy must admit the log group /vpc/NAME/flow."
  type        = string
  default     = null

  validation {
    condition     = var.kms_key_arn == null || can(regex("^arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:key/[^*?]+$", var.kms_key_arn))
    error_message = "The KMS key must be the full ARN of one key (arn:aws:kms:REGION:ACCOUNT:key/ID), not an alias."
  }
}

variable "role_path" {
  description = "Path of the flow log's role."
  type        = string
  default     = "/"
  nullable    = false

  validation {
    condition     = can(regex("^/([A-Za-z0-9._-]+/)*$", var.role_path))
    error_message = "The path must start and end with a slash, like /orch/demo-dev/."
  }
}

variable "permissions_boundary_arn" {
  description = "ARN of the permissions boundary of the flow log's role, or null for none."
  type        = string
  default     = null

  validation {
    condition     = var.permissions_boundary_arn == null || can(regex("^arn:aws[a-z-]*:iam::([0-9]{12}|aws):policy/[A-Za-z0-9_+=,.@/-]+$", var.permissions_boundary_arn))
    error_message = "The permissions boundary must be the full ARN of one policy, written like arn:aws:iam::ACCOUNT:policy/orch/demo-dev/boundary, without wildcards."
  }
}

variable "tags" {
  description = "Tags of the resources, beside the provider's default_tags."
  type        = map(string)
  default     = {}
  nullable    = false
}
