mock_provider "aws" {
  mock_resource "aws_lb" {
    defaults = {
      arn = "arn:aws:elasticloadbalancing:eu-central-1:111111111111:loadbalancer/app/demo-dev/0123456789abcdef"
    }
  }
  mock_resource "aws_lb_listener" {
    defaults = {
      arn = "arn:aws:elasticloadbalancing:eu-central-1:111111111111:listener/app/demo-dev/0123456789abcdef/0123456789abcdef"
    }
  }
}

variables {
  name                = "demo-dev"
  vpc_id              = "vpc-0123456789abcdef0"
  subnet_ids          = ["subnet-0123456789abcdef0", "subnet-0123456789abcdef1"]
  certificate_arn     = "arn:aws:acm:eu-central-1:111111111111:certificate/00000000-0000-4000-8000-000000000000"
  ingress_cidr_blocks = ["192.0.2.0/24"]
}

run "is_internal_protected_and_https_only" {
  assert {
    condition     = aws_lb.this.internal && aws_lb.this.enable_deletion_protection && aws_lb.this.drop_invalid_header_fields
    error_message = "By default the load balancer must be internal, protected from deletion, and drop malformed headers."
  }
  assert {
    condition     = aws_lb_listener.https.port == 443 && aws_lb_listener.https.protocol == "HTTPS" && aws_lb_listener.https.ssl_policy == "ELBSecurityPolicy-TLS13-1-2-2021-06"
    error_message = "The one listener must speak HTTPS, with TLS 1.2 or newer."
  }
  assert {
    condition     = aws_lb_listener.https.default_action[0].type == "fixed-response" && aws_lb_listener.https.default_action[0].fixed_response[0].status_code == "404"
    error_message = "What no service asked for must be answered with 404."
  }
  assert {
    condition     = { for key, rule in aws_vpc_security_group_ingress_rule.https : key => [rule.cidr_ipv4, rule.from_port, rule.to_port] } == { "192.0.2.0/24" = ["192.0.2.0/24", 443, 443] }
    error_message = "Only the listed addresses may come in, on port 443."
  }
  assert {
    condition     = length(aws_vpc_security_group_ingress_rule.test) == 0
    error_message = "Nobody may reach a test listener unless asked for."
  }
  assert {
    condition     = length(aws_lb.this.access_logs) == 0 && length(aws_wafv2_web_acl_association.this) == 0
    error_message = "Access logs and web ACL come only when asked for."
  }
  assert {
    condition     = output.listener_arn == aws_lb_listener.https.arn && output.security_group_id == aws_security_group.this.id && output.dns_name == aws_lb.this.dns_name
    error_message = "The outputs must name listener, security group and DNS name."
  }
}

run "logs_and_web_acl_are_wired" {
  command = plan

  variables {
    internal           = false
    access_logs_bucket = "demo-logs"
    web_acl_arn        = "arn:aws:wafv2:eu-central-1:111111111111:regional/webacl/demo/00000000-0000-4000-8000-000000000000"
    test_listener      = { ingress_cidr_blocks = ["198.51.100.0/24"] }
  }

  assert {
    condition     = { for key, rule in aws_vpc_security_group_ingress_rule.test : key => [rule.from_port, rule.to_port] } == { "198.51.100.0/24" = [8443, 8443] }
    error_message = "Only the listed addresses may reach the test listener."
  }

  assert {
    condition     = aws_lb.this.internal == false && aws_lb.this.access_logs[0].enabled && aws_lb.this.access_logs[0].bucket == "demo-logs" && aws_lb.this.access_logs[0].prefix == "demo-dev"
    error_message = "The access logs must go to the given bucket, under the load balancer's name."
  }
  assert {
    condition     = aws_wafv2_web_acl_association.this[0].web_acl_arn == "arn:aws:wafv2:eu-central-1:111111111111:regional/webacl/demo/00000000-0000-4000-8000-000000000000"
    error_message = "The web ACL must stand in front of the load balancer."
  }
}

run "refuses_bad_input" {
  command = plan

  variables {
    name                = "internal-demo"
    subnet_ids          = ["subnet-0123456789abcdef0"]
    certificate_arn     = "demo.example.com"
    ssl_policy          = "ELBSecurityPolicy-2016-08"
    ingress_cidr_blocks = []
    access_logs_bucket  = "s3://demo-logs"
    web_acl_arn         = "demo"
    test_listener       = { port = 443, ingress_cidr_blocks = ["192.0.2.0/24"] }
  }

  expect_failures = [
    var.name,
    var.subnet_ids,
    var.certificate_arn,
    var.ssl_policy,
    var.ingress_cidr_blocks,
    var.access_logs_bucket,
    var.web_acl_arn,
    var.test_listener,
  ]
}

run "refuses_an_address_that_is_no_range" {
  command = plan

  variables {
    ingress_cidr_blocks = ["everyone"]
    test_listener       = { ingress_cidr_blocks = ["0.0.0.0/0"] }
  }

  expect_failures = [
    var.ingress_cidr_blocks,
    var.test_listener,
  ]
}
