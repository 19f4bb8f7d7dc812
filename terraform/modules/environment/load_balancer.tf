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
