locals {
  # A secret's valueFrom may go on with :json-key:version-stage:version-id; IAM knows the secret alone.
  secretsmanager_arns = distinct([
    for arn in var.secret_arns : join(":", slice(split(":", arn), 0, 7)) if split(":", arn)[2] == "secretsmanager"
  ])
  ssm_arns = distinct([for arn in var.secret_arns : arn if split(":", arn)[2] == "ssm"])

  # "*" stays possible for actions that know no resource. Those that read an application's data or lend it rights all
  # know one, but for their List, Describe and random-number calls (AWS: Service Authorization Reference).
  names_everything    = "^(\\*|arn:[^:]*:[^:]*:[^:]*:[^:]*:(\\*|\\*/\\*|(function|key|parameter|role|secret|stateMachine|table)[:/]\\*))$"
  must_name_resources = "(?i)^((dynamodb|iam|kms|lambda|s3|secretsmanager|sqs|states):|ssm:G|sts:A)"
  knows_no_resource   = "(?i):(List|Describe|GetRandomPassword$|GenerateRandom$)"

  has_task_policy = length(var.task_role_statements) > 0 || var.execute_command != null
}

#### Trust: who may become these roles
# https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-iam-roles.html asks for both conditions
# on task roles; a single cluster cannot be named in aws:SourceArn.

data "aws_iam_policy_document" "task_trust" {
  statement {
    sid     = "EcsTasksOfThisAccount"
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["ecs-tasks.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [var.account_id]
    }

    condition {
      test     = "ArnLike"
      variable = "aws:SourceArn"
      values   = ["arn:${var.partition}:ecs:${var.region}:${var.account_id}:*"]
    }
  }
}

data "aws_iam_policy_document" "execution_trust" {
  statement {
    sid     = "EcsTasksOfThisAccount"
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["ecs-tasks.amazonaws.com"]
    }

    dynamic "condition" {
      for_each = var.restrict_execution_role_trust ? [var.account_id] : []

      content {
        test     = "StringEquals"
        variable = "aws:SourceAccount"
        values   = [condition.value]
      }
    }
  }
}

#### Execution role: what ECS itself needs to start the task

data "aws_iam_policy_document" "execution" {
  statement {
    sid       = "LogInToRegistry"
    actions   = ["ecr:GetAuthorizationToken"]
    resources = ["*"] # the action knows no resource
  }

  statement {
    sid = "PullImage"
    actions = [
      "ecr:BatchCheckLayerAvailability",
      "ecr:BatchGetImage",
      "ecr:GetDownloadUrlForLayer",
    ]
    resources = [var.repository_arn]
  }

  statement {
    sid = "WriteLogs"
    actions = [
      "logs:CreateLogStream",
      "logs:PutLogEvents",
    ]
    resources = ["${var.log_group_arn}:*"]
  }

  dynamic "statement" {
    for_each = length(local.secretsmanager_arns) > 0 ? [local.secretsmanager_arns] : []

    content {
      sid       = "ReadSecrets"
      actions   = ["secretsmanager:GetSecretValue"]
      resources = statement.value
    }
  }

  dynamic "statement" {
    for_each = length(local.ssm_arns) > 0 ? [local.ssm_arns] : []

    content {
      sid       = "ReadParameters"
      actions   = ["ssm:GetParameters"]
      resources = statement.value
    }
  }

  dynamic "statement" {
    for_each = length(var.secrets_kms_key_arns) > 0 ? [var.secrets_kms_key_arns] : []

    content {
      sid       = "DecryptSecrets"
      actions   = ["kms:Decrypt"]
      resources = statement.value

      condition {
        test     = "StringEquals"
        variable = "kms:ViaService"
        values   = ["secretsmanager.${var.region}.amazonaws.com", "ssm.${var.region}.amazonaws.com"]
      }
    }
  }
}

resource "aws_iam_role" "execution" {
  name                  = "${var.name}-execution"
  path                  = var.path
  description           = "Starts the tasks of ${var.name}: pulls the image, reads the listed secrets, writes the logs."
  assume_role_policy    = data.aws_iam_policy_document.execution_trust.json
  permissions_boundary  = var.permissions_boundary_arn
  force_detach_policies = true
  tags                  = var.tags
}

resource "aws_iam_role_policy" "execution" {
  name   = "start-tasks"
  role   = aws_iam_role.execution.name
  policy = data.aws_iam_policy_document.execution.json
}

#### Task role: what the application may do

data "aws_iam_policy_document" "task" {
  dynamic "statement" {
    for_each = var.task_role_statements

    content {
      sid       = statement.key
      actions   = statement.value.actions
      resources = statement.value.resources

      dynamic "condition" {
        for_each = statement.value.conditions

        content {
          test     = condition.value.test
          variable = condition.value.variable
          values   = condition.value.values
        }
      }
    }
  }

  # https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs-exec.html, "ECS Exec and permissions"
  dynamic "statement" {
    for_each = var.execute_command[*]

    content {
      sid = "ExecChannels"
      actions = [
        "ssmmessages:CreateControlChannel",
        "ssmmessages:CreateDataChannel",
        "ssmmessages:OpenControlChannel",
        "ssmmessages:OpenDataChannel",
      ]
      resources = ["*"] # the actions know no resource
    }
  }

  dynamic "statement" {
    for_each = var.execute_command[*]

    content {
      sid       = "ExecDescribeLogGroups"
      actions   = ["logs:DescribeLogGroups"]
      resources = ["*"] # the action knows no narrower resource
    }
  }

  dynamic "statement" {
    for_each = var.execute_command[*]

    content {
      sid = "ExecSessionLog"
      actions = [
        "logs:CreateLogStream",
        "logs:DescribeLogStreams",
        "logs:PutLogEvents",
      ]
      resources = ["${statement.value.log_group_arn}:*"]
    }
  }

  dynamic "statement" {
    for_each = var.execute_command[*]

    content {
      sid       = "ExecSessionKey"
      actions   = ["kms:Decrypt"]
      resources = [statement.value.kms_key_arn]
    }
  }
}

resource "aws_iam_role" "task" {
  name                  = "${var.name}-task"
  path                  = var.path
  description           = "What the application in ${var.name} may do in AWS."
  assume_role_policy    = data.aws_iam_policy_document.task_trust.json
  permissions_boundary  = var.permissions_boundary_arn
  force_detach_policies = true
  tags                  = var.tags
}

resource "aws_iam_role_policy" "task" {
  count = local.has_task_policy ? 1 : 0

  name   = "application"
  role   = aws_iam_role.task.name
  policy = data.aws_iam_policy_document.task.json
}
