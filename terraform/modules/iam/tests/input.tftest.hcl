# Each validation of the module is triggered here: what it refuses, it must refuse.

mock_provider "aws" {
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{\"Version\":\"2012-10-17\",\"Statement\":[]}" }
  }
}

variables {
  name           = "demo-dev-hello"
  account_id     = "111111111111"
  region         = "eu-central-1"
  repository_arn = "arn:aws:ecr:eu-central-1:111111111111:repository/demo-dev/hello"
  log_group_arn  = "arn:aws:logs:eu-central-1:111111111111:log-group:/ecs/demo-dev/hello"
}

# The other messages name the roles, so they stay silent beside a bad name.
run "refuses_a_bad_name" {
  command = plan

  variables {
    name = "a name with spaces"
  }

  expect_failures = [var.name]
}

run "refuses_bad_input" {
  command = plan

  variables {
    account_id               = "1111"
    region                   = "frankfurt"
    partition                = "amazon"
    path                     = "orch"
    permissions_boundary_arn = "arn:aws:iam::111111111111:policy/*"
    repository_arn           = "arn:aws:ecr:eu-central-1:111111111111:repository/*"
    log_group_arn            = "arn:aws:logs:eu-central-1:111111111111:log-group:/ecs/demo-dev/hello:*"
    secret_arns              = ["arn:aws:secretsmanager:eu-central-1:111111111111:secret:*"]
    secrets_kms_key_arns     = ["alias/secrets"]
    task_role_statements     = { All = { actions = ["s3:*"], resources = ["arn:aws:s3:::uploads/*"] } }
    execute_command          = { log_group_arn = "*", kms_key_arn = "arn:aws:kms:eu-central-1:111111111111:key/*" }
  }

  expect_failures = [
    var.account_id,
    var.region,
    var.partition,
    var.path,
    var.permissions_boundary_arn,
    var.repository_arn,
    var.log_group_arn,
    var.secret_arns,
    var.secrets_kms_key_arns,
    var.task_role_statements,
    var.execute_command,
  ]
}

run "refuses_a_sid_with_punctuation" {
  command = plan

  variables {
    task_role_statements = { "read-uploads" = { actions = ["s3:GetObject"], resources = ["arn:aws:s3:::uploads/*"] } }
  }

  expect_failures = [var.task_role_statements]
}

run "refuses_a_statement_without_a_resource" {
  command = plan

  variables {
    task_role_statements = { ReadUploads = { actions = ["s3:GetObject"], resources = [] } }
  }

  expect_failures = [var.task_role_statements]
}

run "refuses_a_resource_that_is_no_arn" {
  command = plan

  variables {
    task_role_statements = { ReadUploads = { actions = ["s3:GetObject"], resources = ["uploads/*"] } }
  }

  expect_failures = [var.task_role_statements]
}

run "refuses_every_secret_of_the_account" {
  command = plan

  variables {
    task_role_statements = { ReadSecrets = { actions = ["secretsmanager:GetSecretValue"], resources = ["*"] } }
  }

  expect_failures = [var.task_role_statements]
}

run "refuses_every_function_of_the_account_written_as_an_arn" {
  command = plan

  variables {
    task_role_statements = { CallFunctions = { actions = ["lambda:InvokeFunction"], resources = ["arn:aws:lambda:*:*:function:*"] } }
  }

  expect_failures = [var.task_role_statements]
}
