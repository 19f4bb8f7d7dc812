# Each validation of the module is triggered here: what it refuses, it must refuse.

mock_provider "aws" {
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{\"Version\":\"2012-10-17\",\"Statement\":[]}" }
  }
}

variables {
  name               = "demo-dev"
  account_id         = "111111111111"
  region             = "eu-central-1"
  availability_zones = ["eu-central-1a", "eu-central-1b"]
}

run "refuses_bad_input" {
  command = plan

  variables {
    name                     = "Demo dev"
    account_id               = "1111"
    partition                = "amazon"
    cidr_block               = "10.0.0.0/28"
    availability_zones       = ["eu-central-1a"]
    egress                   = "internet"
    endpoint_services        = ["logs"]
    flow_log_traffic         = "SOME"
    flow_log_retention_days  = 100
    kms_key_arn              = "alias/demo-dev"
    role_path                = "orch"
    permissions_boundary_arn = "boundary"
  }

  expect_failures = [
    var.name,
    var.account_id,
    var.partition,
    var.cidr_block,
    var.availability_zones,
    var.egress,
    var.endpoint_services,
    var.flow_log_traffic,
    var.flow_log_retention_days,
    var.kms_key_arn,
    var.role_path,
    var.permissions_boundary_arn,
  ]
}

run "refuses_a_zone_of_another_region" {
  command = plan

  variables {
    availability_zones = ["eu-central-1a", "eu-west-1a"]
  }

  expect_failures = [var.availability_zones]
}

run "refuses_a_region_that_is_none" {
  command = plan

  variables {
    region             = "frankfurt"
    availability_zones = ["frankfurt-a", "frankfurt-b"]
  }

  expect_failures = [var.region]
}
