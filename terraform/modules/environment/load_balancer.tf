# One load balancer for the environment; each service that asks for it adds its own target group and rule
# (module ecs), so that services come and go without touching each other.

resource "aws_lb" "this" {
  count = var.load_balancer == null ? 0 : 1

  name                       = local.name_prefix
  load_balancer_type         = "application"
  internal                   = var.load_balancer.internal
  subnets                    = var.load_balancer.internal ? local.network.private_subnet_ids : local.network.public_subnet_ids
  security_groups            = [aws_security_group.load_balancer[0].id]
  drop_invalid_header_fields = true
  enable_deletion_protection = var.load_balancer.deletion_protection
  tags                       = var.tags

  dynamic "access_logs" {
    for_each = var.load_balancer.access_logs_bucket[*]

    content {
      bucket  = access_logs.value
      prefix  = local.name_prefix
      enabled = true
    }
  }
}

# HTTPS only: port 80 stays shut rather than redirected.
resource "aws_lb_listener" "https" {
  count = var.load_balancer == null ? 0 : 1

  load_balancer_arn = aws_lb.this[0].arn
  port              = 443
  protocol          = "HTTPS"
  ssl_policy        = var.load_balancer.ssl_policy
  certificate_arn   = var.load_balancer.certificate_arn
  tags              = var.tags

  default_action {
    type = "fixed-response"

    fixed_response {
      content_type = "text/plain"
      message_body = "No service answers here."
      status_code  = "404"
    }
  }
}

resource "aws_security_group" "load_balancer" {
  count = var.load_balancer == null ? 0 : 1

  name_prefix = "${local.name_prefix}-load-balancer-"
  description = "Load balancer of ${local.name_prefix}"
  vpc_id      = local.network.vpc_id
  tags        = merge(var.tags, { Name = "${local.name_prefix}-load-balancer" })

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_vpc_security_group_ingress_rule" "load_balancer" {
  for_each = toset(try(var.load_balancer.ingress_cidr_blocks, []))

  security_group_id = aws_security_group.load_balancer[0].id
  description       = "HTTPS from ${each.key}"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
  cidr_ipv4         = each.key
  tags              = var.tags
}

resource "aws_wafv2_web_acl_association" "this" {
  count = try(var.load_balancer.web_acl_arn, null) == null ? 0 : 1

  resource_arn = aws_lb.this[0].arn
  web_acl_arn  = var.load_balancer.web_acl_arn
}
