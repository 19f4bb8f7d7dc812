module "load_balancer" {
  source = "../load_balancer"
  count  = var.load_balancer == null ? 0 : 1

  name                = local.name_prefix
  vpc_id              = local.network.vpc_id
  subnet_ids          = var.load_balancer.internal ? local.network.private_subnet_ids : local.network.public_subnet_ids
  internal            = var.load_balancer.internal
  certificate_arn     = var.load_balancer.certificate_arn
  ssl_policy          = var.load_balancer.ssl_policy
  ingress_cidr_blocks = var.load_balancer.ingress_cidr_blocks
  test_listener       = var.load_balancer.test_listener
  deletion_protection = var.load_balancer.deletion_protection
  access_logs_bucket  = var.load_balancer.access_logs_bucket
  web_acl_arn         = var.load_balancer.web_acl_arn
  tags                = var.tags
}

# Where a revision is tried before it gets the traffic of blue/green. Services add their rules here too. It stands here and
# not in module load_balancer, because checkov 3.3.30 loses sight of that module's values once it holds two listeners.
resource "aws_lb_listener" "test" {
  count = try(var.load_balancer.test_listener, null) == null ? 0 : 1

  load_balancer_arn = module.load_balancer[0].arn
  port              = var.load_balancer.test_listener.port
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

# The resources stood in this module once; states from then are carried over.

moved {
  from = aws_lb.this[0]
  to   = module.load_balancer[0].aws_lb.this
}

moved {
  from = aws_lb_listener.https[0]
  to   = module.load_balancer[0].aws_lb_listener.https
}

moved {
  from = aws_security_group.load_balancer[0]
  to   = module.load_balancer[0].aws_security_group.this
}

moved {
  from = aws_vpc_security_group_ingress_rule.load_balancer
  to   = module.load_balancer[0].aws_vpc_security_group_ingress_rule.https
}

moved {
  from = aws_wafv2_web_acl_association.this[0]
  to   = module.load_balancer[0].aws_wafv2_web_acl_association.this[0]
}
