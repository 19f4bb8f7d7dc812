variable "name" {
  description = "Name of the load balancer, and prefix of its security group's name."
  type        = string
  nullable    = false

  # https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_CreateLoadBalancer.html
  validation {
    condition     = can(regex("^[A-Za-z0-9]([A-Za-z0-9-]{0,30}[A-Za-z0-9])?$", var.name)) && !startswith(var.name, "internal-")
    error_message = "The load balancer's name must have at most 32 letters, digits and hyphens, must not start or end with a hyphen, and must not start with internal-."
  }
}

variable "vpc_id" {
  description = "VPC of the load balancer's security group."
  type        = string
  nullable    = false
}

variable "subnet_ids" {
  description = "Subnets of the load balancer, in at least two availability zones: public ones unless it is internal."
  type        = list(string)
  nullable    = false

  validation {
    condition     = length(var.subnet_ids) >= 2
    error_message = "A load balancer needs subnets in at least two availability zones: name two or more."
  }
}

variable "internal" {
  description = "Whether the load balancer has private addresses only."
  type        = bool
  default     = true
  nullable    = false
}

variable "certificate_arn" {
  description = "ARN of the certificate that the load balancer shows."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^arn:aws[a-z-]*:(acm:[a-z0-9-]+:[0-9]{12}:certificate|iam::[0-9]{12}:server-certificate)/[^*?]+$", var.certificate_arn))
    error_message = "The certificate must be the full ARN of an ACM certificate (arn:aws:acm:REGION:ACCOUNT:certificate/ID) or of an IAM server certificate."
  }
}

variable "ssl_policy" {
  description = "Security policy of the listener: which versions of TLS and which ciphers it speaks."
  type        = string
  default     = "ELBSecurityPolicy-TLS13-1-2-2021-06"
  nullable    = false

  # https://docs.aws.amazon.com/elasticloadbalancing/latest/application/describe-ssl-policies.html
  validation {
    condition     = can(regex("^ELBSecurityPolicy-TLS13-1-[23]-", var.ssl_policy))
    error_message = "The security policy must be one that offers TLS 1.3 and nothing older than TLS 1.2: its name starts with ELBSecurityPolicy-TLS13-1-2- or ELBSecurityPolicy-TLS13-1-3-."
  }
}

variable "ingress_cidr_blocks" {
  description = "Address ranges that may reach port 443. 0.0.0.0/0 must be written out to let everyone in."
  type        = set(string)
  nullable    = false

  validation {
    condition     = length(var.ingress_cidr_blocks) > 0
    error_message = "The load balancer must name the address ranges that may reach it (0.0.0.0/0 for everyone)."
  }

  validation {
    condition     = alltrue([for block in var.ingress_cidr_blocks : can(cidrnetmask(block))])
    error_message = "Each address range that may reach the load balancer must be an IPv4 range, written like 192.0.2.0/24."
  }
}

variable "test_listener" {
  description = "The port of a second HTTPS listener, on which blue/green rollouts are tried before they get the traffic, and who may reach it; null opens none. Module environment makes the listener."
  type = object({
    port                = optional(number, 8443)
    ingress_cidr_blocks = set(string)
  })
  default = null

  validation {
    condition     = var.test_listener == null || try(var.test_listener.port >= 1 && var.test_listener.port <= 65535 && floor(var.test_listener.port) == var.test_listener.port && var.test_listener.port != 443, false)
    error_message = "The test listener needs a port of its own between 1 and 65535: 443 is production's."
  }

  validation {
    condition     = var.test_listener == null || try(length(var.test_listener.ingress_cidr_blocks) > 0 && alltrue([for block in var.test_listener.ingress_cidr_blocks : can(cidrnetmask(block)) && !endswith(block, "/0")]), false)
    error_message = "The test listener must name the IPv4 ranges that may reach it, written like 192.0.2.0/24, and not the whole internet: a revision that is not released yet answers there."
  }
}

variable "deletion_protection" {
  description = "Whether AWS refuses to delete the load balancer. To destroy it, turn this off and apply first."
  type        = bool
  default     = true
  nullable    = false
}

variable "access_logs_bucket" {
  description = "Name of the S3 bucket that receives the access logs, under the load balancer's name, or null for none. Its policy must admit Elastic Load Balancing."
  type        = string
  default     = null

  validation {
    condition     = var.access_logs_bucket == null || can(regex("^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$", var.access_logs_bucket))
    error_message = "The access logs' bucket must be given by its name alone, 3 to 63 lower-case letters, digits, dots and hyphens."
  }
}

variable "web_acl_arn" {
  description = "ARN of the regional WAF web ACL in front of the load balancer, or null for none."
  type        = string
  default     = null

  validation {
    condition     = var.web_acl_arn == null || can(regex("^arn:aws[a-z-]*:wafv2:[a-z0-9-]+:[0-9]{12}:regional/webacl/[^*?]+$", var.web_acl_arn))
    error_message = "The web ACL must be the full ARN of a regional one: arn:aws:wafv2:REGION:ACCOUNT:regional/webacl/NAME/ID."
  }
}

variable "tags" {
  description = "Tags of the resources, beside the provider's default_tags."
  type        = map(string)
  default     = {}
  nullable    = false
}
