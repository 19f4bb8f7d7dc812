# Each validation of the module is triggered here: what it refuses, it must refuse.

mock_provider "aws" {
  mock_data "aws_caller_identity" {
    defaults = { account_id = "111111111111" }
  }
  mock_data "aws_region" {
    defaults = { id = "eu-central-1" }
  }
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{\"Version\":\"2012-10-17\",\"Statement\":[]}" }
  }
  mock_data "aws_partition" {
    defaults = { partition = "aws" }
  }
}

variables {
  project     = "demo"
  environment = "dev"
  services    = { hello = { container_port = 8080 } }
}

run "refuses_bad_names_and_arns" {
  command = plan

  variables {
    project                  = "Demo"
    environment              = "a-very-long-environment"
    permissions_boundary_arn = "arn:aws:iam::111111111111:policy/orch/*"
    kms_key_arn              = "alias/demo-dev"
  }

  expect_failures = [
    var.project,
    var.environment,
    var.permissions_boundary_arn,
    var.kms_key_arn,
  ]
}

run "refuses_a_project_that_aws_keeps_for_itself" {
  command = plan

  variables {
    project          = "sg-demo"
    existing_network = { vpc_id = "vpc-0123456789abcdef0", private_subnet_ids = [] }
  }

  expect_failures = [
    var.project,
    var.existing_network,
  ]
}

run "refuses_a_load_balancer_without_two_subnets" {
  command = plan

  variables {
    existing_network = { vpc_id = "vpc-0123456789abcdef0", private_subnet_ids = ["subnet-0123456789abcdef0"] }
    load_balancer    = { certificate_arn = "arn:aws:acm:eu-central-1:111111111111:certificate/00000000-0000-4000-8000-000000000000", ingress_cidr_blocks = ["192.0.2.0/24"] }
  }

  expect_failures = [var.load_balancer]
}

run "refuses_a_service_name_that_makes_role_names_too_long" {
  command = plan

  variables {
    project     = "a-project-of-twenty1"
    environment = "production1"
    services    = { a-service-of-23-letters = {} }
  }

  expect_failures = [var.services]
}

run "refuses_half_a_task" {
  command = plan

  variables {
    services = { hello = { desired_count = 1.5 } }
  }

  expect_failures = [var.services]
}

run "refuses_a_retention_that_cloudwatch_does_not_offer" {
  command = plan

  variables {
    services = { hello = { log_retention_days = 100 } }
  }

  expect_failures = [var.services]
}

run "refuses_a_service_behind_a_load_balancer_that_is_not_there" {
  command = plan

  variables {
    services = { hello = { container_port = 8080, load_balancer = { priority = 10, path_patterns = ["/*"] } } }
  }

  expect_failures = [var.services]
}

run "refuses_two_services_with_one_priority" {
  command = plan

  variables {
    load_balancer = { certificate_arn = "arn:aws:acm:eu-central-1:111111111111:certificate/00000000-0000-4000-8000-000000000000", ingress_cidr_blocks = ["192.0.2.0/24"] }
    services = {
      hello = { container_port = 8080, load_balancer = { priority = 10, path_patterns = ["/*"] } }
      web   = { container_port = 8080, load_balancer = { priority = 10, path_patterns = ["/web"] } }
    }
  }

  expect_failures = [var.services]
}
