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
  description = "ARN of the permissions boundary of every role. `orch bootstrap` creates it."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^arn:aws[a-z-]*:iam::(${var.account_id}|aws):policy/", var.permissions_boundary_arn))
    error_message = "The permissions boundary must lie in the environment's own account: write arn:aws:iam::${var.account_id}:policy/orch/${var.project}-${var.environment}/boundary, which orch bootstrap creates."
  }
}

#### The network that exists already

variable "vpc_id" {
  description = "Id of the VPC."
  type        = string
  nullable    = false
}

variable "private_subnet_ids" {
  description = "Ids of private subnets in at least two availability zones, for the tasks and the internal load balancer."
  type        = list(string)
  nullable    = false
}

variable "endpoints_security_group_id" {
  description = "Security group of the VPC's interface endpoints. It must let the private subnets in on port 443."
  type        = string
  nullable    = false
}

variable "s3_prefix_list_id" {
  description = "Prefix list of the VPC's gateway endpoint for S3."
  type        = string
  nullable    = false
}

variable "client_cidr_blocks" {
  description = "Address ranges that may reach the load balancer, such as those of the offices and of the VPC itself."
  type        = set(string)
  nullable    = false
}

variable "certificate_arn" {
  description = "ARN of the ACM certificate that the load balancer shows."
  type        = string
  nullable    = false
}

variable "access_logs_bucket" {
  description = "Name of the S3 bucket that receives the load balancer's access logs."
  type        = string
  nullable    = false
}

#### What the services use

variable "database_security_group_id" {
  description = "Security group of the database. A rule in it must let the services in: see the output security_group_ids."
  type        = string
  nullable    = false
}

variable "database_secret_arn" {
  description = "Full ARN of the secret that holds the database's URL under the JSON key url. Its value never passes through Terraform."
  type        = string
  nullable    = false
}

variable "database_kms_key_arns" {
  description = "ARN of the customer managed KMS key that encrypts the secret, in a list of one; empty where it is AWS's own."
  type        = list(string)
  default     = []
  nullable    = false
}

variable "orders_queue_arn" {
  description = "ARN of the queue that web writes to and worker reads from."
  type        = string
  nullable    = false
}
