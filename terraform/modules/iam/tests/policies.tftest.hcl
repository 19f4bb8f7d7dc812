# Policy documents are computed by the provider itself, so the real one is used; it calls no AWS.
provider "aws" {
  region                      = "eu-central-1"
  access_key                  = "offline"
  secret_key                  = "offline"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_region_validation      = true
  skip_requesting_account_id  = true
}

variables {
  name           = "demo-dev-hello"
  account_id     = "111111111111"
  region         = "eu-central-1"
  path           = "/orch/demo-dev/"
  repository_arn = "arn:aws:ecr:eu-central-1:111111111111:repository/demo-dev/hello"
  log_group_arn  = "arn:aws:logs:eu-central-1:111111111111:log-group:/ecs/demo-dev/hello"
}

run "trusts_this_account_and_grants_the_least" {
  command = plan

  assert {
    condition = jsondecode(aws_iam_role.task.assume_role_policy).Statement == [{
      Sid       = "EcsTasksOfThisAccount"
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "ecs-tasks.amazonaws.com" }
      Condition = {
        StringEquals = { "aws:SourceAccount" = "111111111111" }
        ArnLike      = { "aws:SourceArn" = "arn:aws:ecs:eu-central-1:111111111111:*" }
      }
    }]
    error_message = "The task role must trust only ECS tasks of this account and region."
  }
  assert {
    condition     = jsondecode(aws_iam_role.execution.assume_role_policy).Statement[0].Condition == { StringEquals = { "aws:SourceAccount" = "111111111111" } }
    error_message = "The execution role must trust only ECS tasks of this account."
  }
  assert {
    condition     = aws_iam_role.task.name != aws_iam_role.execution.name && aws_iam_role.task.path == "/orch/demo-dev/"
    error_message = "The roles must differ and lie under the given path."
  }

  assert {
    condition = {
      for s in jsondecode(aws_iam_role_policy.execution.policy).Statement : s.Sid => s.Resource
      } == {
      LogInToRegistry = "*"
      PullImage       = "arn:aws:ecr:eu-central-1:111111111111:repository/demo-dev/hello"
      WriteLogs       = "arn:aws:logs:eu-central-1:111111111111:log-group:/ecs/demo-dev/hello:*"
    }
    error_message = "Without secrets the execution role must reach only the registry login, its repository and its log group."
  }
  assert {
    condition     = !strcontains(aws_iam_role_policy.execution.policy, "logs:CreateLogGroup")
    error_message = "Terraform owns the log group, so nothing may create it."
  }

  assert {
    condition     = length(aws_iam_role_policy.task) == 0
    error_message = "The task role must have no permission until one is given."
  }
}

run "grants_exactly_what_is_listed" {
  command = plan

  variables {
    secret_arns = [
      "arn:aws:secretsmanager:eu-central-1:111111111111:secret:db-a1b2c3:password::",
      "arn:aws:secretsmanager:eu-central-1:111111111111:secret:db-a1b2c3:user::",
      "arn:aws:ssm:eu-central-1:111111111111:parameter/demo/flag",
    ]
    secrets_kms_key_arns = ["arn:aws:kms:eu-central-1:111111111111:key/1234abcd"]
    task_role_statements = {
      ReadUploads = {
        actions   = ["s3:GetObject"]
        resources = ["arn:aws:s3:::uploads/*"]
        conditions = {
          tls = { test = "Bool", variable = "aws:SecureTransport", values = ["true"] }
        }
      }
    }
    execute_command = {
      log_group_arn = "arn:aws:logs:eu-central-1:111111111111:log-group:/ecs/demo-dev/_exec"
      kms_key_arn   = "arn:aws:kms:eu-central-1:111111111111:key/1234abcd"
    }
  }

  assert {
    condition = [
      for s in jsondecode(aws_iam_role_policy.execution.policy).Statement : [s.Sid, s.Action, s.Resource] if contains(["ReadSecrets", "ReadParameters"], s.Sid)
      ] == [
      ["ReadSecrets", "secretsmanager:GetSecretValue", "arn:aws:secretsmanager:eu-central-1:111111111111:secret:db-a1b2c3"],
      ["ReadParameters", "ssm:GetParameters", "arn:aws:ssm:eu-central-1:111111111111:parameter/demo/flag"],
    ]
    error_message = "The execution role must read exactly the listed secrets, with the JSON key cut off."
  }
  assert {
    condition = [
      for s in jsondecode(aws_iam_role_policy.execution.policy).Statement : s.Condition.StringEquals["kms:ViaService"] if s.Sid == "DecryptSecrets"
    ] == [["secretsmanager.eu-central-1.amazonaws.com", "ssm.eu-central-1.amazonaws.com"]]
    error_message = "The key may be used only through the secret stores."
  }

  assert {
    condition = jsondecode(aws_iam_role_policy.task[0].policy).Statement[0] == {
      Sid       = "ReadUploads"
      Effect    = "Allow"
      Action    = "s3:GetObject"
      Resource  = "arn:aws:s3:::uploads/*"
      Condition = { Bool = { "aws:SecureTransport" = "true" } }
    }
    error_message = "The task role must carry exactly the given statement."
  }
  assert {
    condition     = [for s in jsondecode(aws_iam_role_policy.task[0].policy).Statement : s.Sid] == ["ReadUploads", "ExecChannels", "ExecDescribeLogGroups", "ExecSessionLog", "ExecSessionKey"]
    error_message = "ECS Exec needs its channels, its session log and its key."
  }
  assert {
    condition = toset(jsondecode(aws_iam_role_policy.task[0].policy).Statement[1].Action) == toset([
      "ssmmessages:CreateControlChannel", "ssmmessages:CreateDataChannel",
      "ssmmessages:OpenControlChannel", "ssmmessages:OpenDataChannel",
    ])
    error_message = "ECS Exec needs exactly four ssmmessages actions."
  }
}

run "the_boundary_holds_both_roles_and_the_execution_trust_can_be_widened" {
  command = plan

  variables {
    permissions_boundary_arn      = "arn:aws:iam::111111111111:policy/orch/demo-dev/boundary"
    restrict_execution_role_trust = false
  }

  assert {
    condition     = [aws_iam_role.task.permissions_boundary, aws_iam_role.execution.permissions_boundary] == ["arn:aws:iam::111111111111:policy/orch/demo-dev/boundary", "arn:aws:iam::111111111111:policy/orch/demo-dev/boundary"]
    error_message = "Both roles must carry the boundary."
  }
  assert {
    condition     = !can(jsondecode(aws_iam_role.execution.assume_role_policy).Statement[0].Condition) && jsondecode(aws_iam_role.execution.assume_role_policy).Statement[0].Principal == { Service = "ecs-tasks.amazonaws.com" }
    error_message = "Without the condition the execution role must still trust ECS tasks alone."
  }
  assert {
    condition     = jsondecode(aws_iam_role.task.assume_role_policy).Statement[0].Condition.StringEquals == { "aws:SourceAccount" = "111111111111" }
    error_message = "The task role must stay limited to this account."
  }
}

# Listing, and actions that know no resource, may be granted on "*".
run "a_statement_on_everything_passes_where_nothing_narrower_exists" {
  command = plan

  variables {
    task_role_statements = {
      Metrics = { actions = ["cloudwatch:PutMetricData", "xray:PutTraceSegments"], resources = ["*"] }
      List    = { actions = ["s3:ListAllMyBuckets", "secretsmanager:GetRandomPassword"], resources = ["*"] }
      Uploads = { actions = ["s3:GetObject", "s3:Put*"], resources = ["arn:aws:s3:::uploads/*"] }
    }
  }

  assert {
    condition     = [for s in jsondecode(aws_iam_role_policy.task[0].policy).Statement : s.Sid] == ["List", "Metrics", "Uploads"]
    error_message = "Each statement must be granted."
  }
}
