# One load balancer for the services of an environment. Each service adds its own target group and rule (module
# ecs), so that services come and go without touching each other.

resource "aws_lb" "this" {
  name                       = var.name
  load_balancer_type         = "application"
  internal                   = var.internal
  subnets                    = var.subnet_ids
  security_groups            = [aws_security_group.this.id]
  drop_invalid_header_fields = true
  enable_deletion_protection = var.deletion_protection
  tags                       = var.tags

  dynamic "access_logs" {
    for_each = var.access_logs_bucket[*]

    content {
      bucket  = access_logs.value
      prefix  = var.name
      enabled = true
    }
  }
}

# HTTPS only: port 80 stays shut rather than redirected, because a client's first plain request could already
# carry a cookie or a token.
resource "aws_lb_listener" "https" {
  load_balancer_arn = aws_lb.this.arn
  port              = 443
  protocol          = "HTTPS"
  ssl_policy        = var.ssl_policy
  certificate_arn   = var.certificate_arn
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

# The rules that let it out, one to each service, stand in module ecs.
resource "aws_security_group" "this" {
  name_prefix = "${var.name}-load-balancer-"
  description = "Load balancer of ${var.name}"
  vpc_id      = var.vpc_id
  tags        = merge(var.tags, { Name = "${var.name}-load-balancer" })

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_vpc_security_group_ingress_rule" "https" {
  for_each = var.ingress_cidr_blocks

  security_group_id = aws_security_group.this.id
  description       = "HTTPS from ${each.key}"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
  cidr_ipv4         = each.key
  tags              = var.tags
}

resource "aws_vpc_security_group_ingress_rule" "test" {
  for_each = toset(try(var.test_listener.ingress_cidr_blocks, []))

  security_group_id = aws_security_group.this.id
  description       = "Tests from ${each.key}"
  ip_protocol       = "tcp"
  from_port         = var.test_listener.port
  to_port           = var.test_listener.port
  cidr_ipv4         = each.key
  tags              = var.tags
}

resource "aws_wafv2_web_acl_association" "this" {
  count = var.web_acl_arn == null ? 0 : 1

  resource_arn = aws_lb.this.arn
  web_acl_arn  = var.web_acl_arn
}
