# Plans with terraform.tfvars; tests/contract reads the whole plan.
mock_provider "aws" {
  mock_data "aws_caller_identity" {
    defaults = { account_id = "444444444444" }
  }
  mock_data "aws_region" {
    defaults = { id = "eu-central-1" }
  }
  mock_data "aws_partition" {
    defaults = { partition = "aws" }
  }
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{\"Version\":\"2012-10-17\",\"Statement\":[]}" }
  }
}

run "plans_both_services_in_the_existing_network" {
  command = plan

  assert {
    condition     = { for name, service in output.orch.services : name => [service.cluster, service.service, service.task_family, service.desired_count] } == { web = ["shop-prod", "web", "shop-prod-web", 2], worker = ["shop-prod", "worker", "shop-prod-worker", 1] }
    error_message = "Both services must be handed to orch."
  }
  assert {
    condition     = module.environment.vpc_id == var.vpc_id && module.environment.private_subnet_ids == var.private_subnet_ids
    error_message = "The given network must be used as it is."
  }
}

run "refuses_a_boundary_of_another_account" {
  command = plan

  variables {
    permissions_boundary_arn = "arn:aws:iam::555555555555:policy/orch/shop-prod/boundary"
  }

  expect_failures = [var.permissions_boundary_arn]
}

run "refuses_a_bad_account_id" {
  command = plan

  variables {
    account_id = "4444"
  }

  expect_failures = [var.account_id]
}

run "refuses_a_region_that_is_none" {
  command = plan

  variables {
    region = "frankfurt"
  }

  expect_failures = [var.region]
}
