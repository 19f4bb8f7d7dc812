# Written by scripts/policies.py from orchestrator/permissions.py: change the table there, then run
#   .venv/bin/python scripts/policies.py

data "aws_iam_policy_document" "read" {
  statement {
    sid       = "FindState"
    actions   = ["s3:ListBucket"]
    resources = ["arn:${var.partition}:s3:::${var.state_bucket}"]
  }

  statement {
    sid       = "ReadState"
    actions   = ["s3:GetObject"]
    resources = ["arn:${var.partition}:s3:::${var.state_bucket}/${var.environment}/terraform.tfstate"]
  }

  statement {
    sid = "LockState"
    actions = [
      "s3:DeleteObject",
      "s3:GetObject",
      "s3:PutObject",
    ]
    resources = ["arn:${var.partition}:s3:::${var.state_bucket}/${var.environment}/terraform.tfstate.tflock"]
  }

  statement {
    sid = "ReadNetwork"
    actions = [
      "ec2:DescribeAddresses",
      "ec2:DescribeAddressesAttribute",
      "ec2:DescribeFlowLogs",
      "ec2:DescribeInternetGateways",
      "ec2:DescribeNatGateways",
      "ec2:DescribeNetworkAcls",
      "ec2:DescribeNetworkInterfaces",
      "ec2:DescribePrefixLists",
      "ec2:DescribeRouteTables",
      "ec2:DescribeSecurityGroupRules",
      "ec2:DescribeSecurityGroups",
      "ec2:DescribeSubnets",
      "ec2:DescribeVpcAttribute",
      "ec2:DescribeVpcEndpoints",
      "ec2:DescribeVpcs",
      "elasticloadbalancing:DescribeCapacityReservation",
      "elasticloadbalancing:DescribeListenerAttributes",
      "elasticloadbalancing:DescribeListeners",
      "elasticloadbalancing:DescribeLoadBalancerAttributes",
      "elasticloadbalancing:DescribeLoadBalancers",
      "elasticloadbalancing:DescribeRules",
      "elasticloadbalancing:DescribeTags",
      "elasticloadbalancing:DescribeTargetGroupAttributes",
      "elasticloadbalancing:DescribeTargetGroups",
    ]
    resources = ["*"]

    condition {
      test     = "StringEquals"
      variable = "aws:RequestedRegion"
      values   = [var.region]
    }
  }

  statement {
    sid = "ReadLists"
    actions = [
      "application-autoscaling:DescribeScalableTargets",
      "application-autoscaling:DescribeScalingPolicies",
      "ecs:DescribeTaskDefinition",
      "kms:ListAliases",
      "logs:DescribeLogGroups",
    ]
    resources = ["*"]

    condition {
      test     = "StringEquals"
      variable = "aws:RequestedRegion"
      values   = [var.region]
    }
  }

  statement {
    sid       = "ReadCluster"
    actions   = ["ecs:DescribeClusters"]
    resources = ["arn:${var.partition}:ecs:${var.region}:${var.account_id}:cluster/${local.prefix}"]
  }

  statement {
    sid       = "ReadServices"
    actions   = ["ecs:DescribeServices"]
    resources = ["arn:${var.partition}:ecs:${var.region}:${var.account_id}:service/${local.prefix}/*"]
  }

  statement {
    sid = "ReadRepositories"
    actions = [
      "ecr:DescribeRepositories",
      "ecr:GetLifecyclePolicy",
      "ecr:ListTagsForResource",
    ]
    resources = ["arn:${var.partition}:ecr:${var.region}:${var.account_id}:repository/${local.prefix}/*"]
  }

  statement {
    sid = "ReadRoles"
    actions = [
      "iam:GetRole",
      "iam:GetRolePolicy",
      "iam:ListAttachedRolePolicies",
      "iam:ListRolePolicies",
    ]
    resources = ["arn:${var.partition}:iam::${var.account_id}:role/orch/${local.prefix}/*"]
  }

  statement {
    sid = "ReadKeys"
    actions = [
      "kms:DescribeKey",
      "kms:GetKeyPolicy",
      "kms:GetKeyRotationStatus",
      "kms:ListResourceTags",
    ]
    resources = ["arn:${var.partition}:kms:${var.region}:${var.account_id}:key/*"]
  }

  statement {
    sid     = "ReadLogGroups"
    actions = ["logs:ListTagsForResource"]
    resources = [
      "arn:${var.partition}:logs:${var.region}:${var.account_id}:log-group:/ecs/${local.prefix}/*",
      "arn:${var.partition}:logs:${var.region}:${var.account_id}:log-group:/vpc/${local.prefix}/*",
    ]
  }

  statement {
    sid       = "ReadScaling"
    actions   = ["application-autoscaling:ListTagsForResource"]
    resources = ["arn:${var.partition}:application-autoscaling:${var.region}:${var.account_id}:scalable-target/*"]
  }

  statement {
    sid     = "ReadWebAcl"
    actions = ["wafv2:GetWebACLForResource"]
    resources = [
      "arn:${var.partition}:wafv2:${var.region}:${var.account_id}:regional/webacl/*/*",
      "arn:${var.partition}:elasticloadbalancing:${var.region}:${var.account_id}:loadbalancer/app/${local.prefix}/*",
    ]
  }

  statement {
    sid = "ReadWebAclImplied"
    actions = [
      "elasticloadbalancing:GetLoadBalancerWebACL",
      "wafv2:GetWebACL",
    ]
    resources = [
      "arn:${var.partition}:wafv2:${var.region}:${var.account_id}:regional/webacl/*/*",
      "arn:${var.partition}:elasticloadbalancing:${var.region}:${var.account_id}:loadbalancer/app/${local.prefix}/*",
    ]
  }
}

data "aws_iam_policy_document" "plan" {
  statement {
    sid       = "SeeLock"
    actions   = ["s3:GetObject"]
    resources = ["arn:${var.partition}:s3:::${var.state_bucket}/orch/locks/${var.environment}.json"]
  }

  statement {
    sid       = "StorePlans"
    actions   = ["s3:PutObject"]
    resources = ["arn:${var.partition}:s3:::${var.state_bucket}/orch/plans/${var.environment}/*"]
  }

  statement {
    sid       = "SealPlans"
    actions   = ["kms:GenerateDataKey"]
    resources = ["arn:${var.partition}:kms:${var.region}:${var.account_id}:key/*"]

    condition {
      test     = "StringEquals"
      variable = "aws:ResourceTag/Project"
      values   = [var.project]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:ResourceTag/Environment"
      values   = [var.environment]
    }

    condition {
      test     = "StringEquals"
      variable = "kms:EncryptionContext:orch:environment"
      values   = [var.environment]
    }
  }

  statement {
    sid       = "FindImages"
    actions   = ["ecr:DescribeImages"]
    resources = ["arn:${var.partition}:ecr:${var.region}:${var.account_id}:repository/${local.prefix}/*"]
  }
}

data "aws_iam_policy_document" "push" {
  statement {
    sid       = "LogInToRegistry"
    actions   = ["ecr:GetAuthorizationToken"]
    resources = ["*"]
  }

  statement {
    sid = "PushImages"
    actions = [
      "ecr:BatchCheckLayerAvailability",
      "ecr:CompleteLayerUpload",
      "ecr:DescribeImages",
      "ecr:InitiateLayerUpload",
      "ecr:PutImage",
      "ecr:UploadLayerPart",
    ]
    resources = [for service in var.services : "arn:${var.partition}:ecr:${var.region}:${var.account_id}:repository/${local.prefix}/${service}"]
  }

  statement {
    sid       = "PushImagesImplied"
    actions   = ["ecr:BatchGetImage"]
    resources = [for service in var.services : "arn:${var.partition}:ecr:${var.region}:${var.account_id}:repository/${local.prefix}/${service}"]
  }
}

data "aws_iam_policy_document" "apply" {
  statement {
    sid       = "WriteState"
    actions   = ["s3:PutObject"]
    resources = ["arn:${var.partition}:s3:::${var.state_bucket}/${var.environment}/terraform.tfstate"]
  }

  statement {
    sid = "HoldLock"
    actions = [
      "s3:DeleteObject",
      "s3:GetObject",
      "s3:PutObject",
    ]
    resources = ["arn:${var.partition}:s3:::${var.state_bucket}/orch/locks/${var.environment}.json"]
  }

  statement {
    sid       = "ReadPlans"
    actions   = ["s3:GetObject"]
    resources = ["arn:${var.partition}:s3:::${var.state_bucket}/orch/plans/${var.environment}/*"]
  }

  statement {
    sid       = "OpenPlans"
    actions   = ["kms:Decrypt"]
    resources = ["arn:${var.partition}:kms:${var.region}:${var.account_id}:key/*"]

    condition {
      test     = "StringEquals"
      variable = "aws:ResourceTag/Project"
      values   = [var.project]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:ResourceTag/Environment"
      values   = [var.environment]
    }

    condition {
      test     = "StringEquals"
      variable = "kms:EncryptionContext:orch:environment"
      values   = [var.environment]
    }
  }

  statement {
    sid = "MakeNetwork"
    actions = [
      "ec2:AllocateAddress",
      "ec2:AssociateRouteTable",
      "ec2:AttachInternetGateway",
      "ec2:AuthorizeSecurityGroupEgress",
      "ec2:AuthorizeSecurityGroupIngress",
      "ec2:CreateFlowLogs",
      "ec2:CreateInternetGateway",
      "ec2:CreateNatGateway",
      "ec2:CreateRoute",
      "ec2:CreateRouteTable",
      "ec2:CreateSecurityGroup",
      "ec2:CreateSubnet",
      "ec2:CreateVpc",
      "ec2:CreateVpcEndpoint",
      "ec2:RevokeSecurityGroupEgress",
      "ec2:RevokeSecurityGroupIngress",
    ]
    resources = ["*"]

    condition {
      test     = "StringEquals"
      variable = "aws:RequestedRegion"
      values   = [var.region]
    }
  }

  statement {
    sid = "ChangeOwnNetwork"
    actions = [
      "ec2:DeleteFlowLogs",
      "ec2:DeleteInternetGateway",
      "ec2:DeleteNatGateway",
      "ec2:DeleteRoute",
      "ec2:DeleteRouteTable",
      "ec2:DeleteSecurityGroup",
      "ec2:DeleteSubnet",
      "ec2:DeleteVpc",
      "ec2:DeleteVpcEndpoints",
      "ec2:DetachInternetGateway",
      "ec2:DisassociateRouteTable",
      "ec2:ModifyVpcAttribute",
      "ec2:ModifyVpcEndpoint",
      "ec2:ReleaseAddress",
    ]
    resources = ["*"]

    condition {
      test     = "StringEquals"
      variable = "aws:RequestedRegion"
      values   = [var.region]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:ResourceTag/Project"
      values   = [var.project]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:ResourceTag/Environment"
      values   = [var.environment]
    }
  }

  statement {
    sid       = "FreeAddresses"
    actions   = ["ec2:DisassociateAddress"]
    resources = ["*"]

    condition {
      test     = "StringEquals"
      variable = "aws:RequestedRegion"
      values   = [var.region]
    }
  }

  statement {
    sid       = "TagNewNetwork"
    actions   = ["ec2:CreateTags"]
    resources = ["arn:${var.partition}:ec2:${var.region}:${var.account_id}:*/*"]

    condition {
      test     = "StringEquals"
      variable = "aws:RequestTag/Project"
      values   = [var.project]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:RequestTag/Environment"
      values   = [var.environment]
    }
  }

  statement {
    sid = "TagOwnNetwork"
    actions = [
      "ec2:CreateTags",
      "ec2:DeleteTags",
    ]
    resources = ["arn:${var.partition}:ec2:${var.region}:${var.account_id}:*/*"]

    condition {
      test     = "StringEquals"
      variable = "aws:ResourceTag/Project"
      values   = [var.project]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:ResourceTag/Environment"
      values   = [var.environment]
    }
  }

  statement {
    sid       = "MakeTaskDefinitions"
    actions   = ["ecs:RegisterTaskDefinition"]
    resources = ["*"]

    condition {
      test     = "StringEquals"
      variable = "aws:RequestedRegion"
      values   = [var.region]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:RequestTag/Project"
      values   = [var.project]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:RequestTag/Environment"
      values   = [var.environment]
    }
  }

  statement {
    sid = "RemoveTaskDefinitions"
    actions = [
      "ecs:DeregisterTaskDefinition",
      "ecs:ListTaskDefinitions",
    ]
    resources = ["*"]

    condition {
      test     = "StringEquals"
      variable = "aws:RequestedRegion"
      values   = [var.region]
    }
  }

  statement {
    sid = "ChangeServices"
    actions = [
      "ecs:CreateCluster",
      "ecs:CreateService",
      "ecs:DeleteCluster",
      "ecs:DeleteService",
      "ecs:ListTagsForResource",
      "ecs:TagResource",
      "ecs:UntagResource",
      "ecs:UpdateService",
    ]
    resources = [
      "arn:${var.partition}:ecs:${var.region}:${var.account_id}:cluster/${local.prefix}",
      "arn:${var.partition}:ecs:${var.region}:${var.account_id}:service/${local.prefix}/*",
      "arn:${var.partition}:ecs:${var.region}:${var.account_id}:task-definition/${local.prefix}-*:*",
    ]
  }

  statement {
    sid = "ChangeRepositories"
    actions = [
      "ecr:CreateRepository",
      "ecr:DeleteLifecyclePolicy",
      "ecr:DeleteRepository",
      "ecr:PutLifecyclePolicy",
      "ecr:TagResource",
      "ecr:UntagResource",
    ]
    resources = ["arn:${var.partition}:ecr:${var.region}:${var.account_id}:repository/${local.prefix}/*"]
  }

  statement {
    sid = "ChangeLogGroups"
    actions = [
      "logs:CreateLogGroup",
      "logs:DeleteLogGroup",
      "logs:PutRetentionPolicy",
      "logs:TagResource",
      "logs:UntagResource",
    ]
    resources = [
      "arn:${var.partition}:logs:${var.region}:${var.account_id}:log-group:/ecs/${local.prefix}/*",
      "arn:${var.partition}:logs:${var.region}:${var.account_id}:log-group:/vpc/${local.prefix}/*",
    ]
  }

  statement {
    sid = "ChangeScaling"
    actions = [
      "application-autoscaling:DeleteScalingPolicy",
      "application-autoscaling:DeregisterScalableTarget",
      "application-autoscaling:PutScalingPolicy",
      "application-autoscaling:RegisterScalableTarget",
      "application-autoscaling:TagResource",
      "application-autoscaling:UntagResource",
    ]
    resources = ["arn:${var.partition}:application-autoscaling:${var.region}:${var.account_id}:scalable-target/*"]
  }

  statement {
    sid = "ChangeLoadBalancer"
    actions = [
      "elasticloadbalancing:AddTags",
      "elasticloadbalancing:CreateListener",
      "elasticloadbalancing:CreateLoadBalancer",
      "elasticloadbalancing:CreateRule",
      "elasticloadbalancing:DeleteListener",
      "elasticloadbalancing:DeleteLoadBalancer",
      "elasticloadbalancing:DeleteRule",
      "elasticloadbalancing:ModifyListener",
      "elasticloadbalancing:ModifyLoadBalancerAttributes",
      "elasticloadbalancing:ModifyRule",
      "elasticloadbalancing:RemoveTags",
      "elasticloadbalancing:SetRulePriorities",
    ]
    resources = [
      "arn:${var.partition}:elasticloadbalancing:${var.region}:${var.account_id}:loadbalancer/app/${local.prefix}/*",
      "arn:${var.partition}:elasticloadbalancing:${var.region}:${var.account_id}:listener/app/${local.prefix}/*",
      "arn:${var.partition}:elasticloadbalancing:${var.region}:${var.account_id}:listener-rule/app/${local.prefix}/*",
    ]
  }

  statement {
    sid = "MakeTargetGroups"
    actions = [
      "elasticloadbalancing:AddTags",
      "elasticloadbalancing:CreateTargetGroup",
    ]
    resources = ["arn:${var.partition}:elasticloadbalancing:${var.region}:${var.account_id}:targetgroup/*/*"]

    condition {
      test     = "StringEquals"
      variable = "aws:RequestTag/Project"
      values   = [var.project]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:RequestTag/Environment"
      values   = [var.environment]
    }
  }

  statement {
    sid = "ChangeTargetGroups"
    actions = [
      "elasticloadbalancing:AddTags",
      "elasticloadbalancing:DeleteTargetGroup",
      "elasticloadbalancing:ModifyTargetGroup",
      "elasticloadbalancing:ModifyTargetGroupAttributes",
      "elasticloadbalancing:RemoveTags",
    ]
    resources = ["arn:${var.partition}:elasticloadbalancing:${var.region}:${var.account_id}:targetgroup/*/*"]

    condition {
      test     = "StringEquals"
      variable = "aws:ResourceTag/Project"
      values   = [var.project]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:ResourceTag/Environment"
      values   = [var.environment]
    }
  }

  statement {
    sid = "UseWebAcl"
    actions = [
      "wafv2:AssociateWebACL",
      "wafv2:DisassociateWebACL",
    ]
    resources = [
      "arn:${var.partition}:wafv2:${var.region}:${var.account_id}:regional/webacl/*/*",
      "arn:${var.partition}:elasticloadbalancing:${var.region}:${var.account_id}:loadbalancer/app/${local.prefix}/*",
    ]
  }

  statement {
    sid       = "UseWebAclImplied"
    actions   = ["elasticloadbalancing:SetWebAcl"]
    resources = ["*"]

    condition {
      test     = "StringEquals"
      variable = "aws:RequestedRegion"
      values   = [var.region]
    }
  }

  statement {
    sid = "MakeRoles"
    actions = [
      "iam:CreateRole",
      "iam:DeleteRolePolicy",
      "iam:PutRolePolicy",
    ]
    resources = ["arn:${var.partition}:iam::${var.account_id}:role/orch/${local.prefix}/*"]

    condition {
      test     = "StringEquals"
      variable = "iam:PermissionsBoundary"
      values   = ["arn:${var.partition}:iam::${var.account_id}:policy/orch/${local.prefix}/boundary"]
    }
  }

  statement {
    sid = "ChangeRoles"
    actions = [
      "iam:DeleteRole",
      "iam:ListInstanceProfilesForRole",
      "iam:TagRole",
      "iam:UntagRole",
      "iam:UpdateAssumeRolePolicy",
    ]
    resources = ["arn:${var.partition}:iam::${var.account_id}:role/orch/${local.prefix}/*"]
  }

  statement {
    sid       = "PassRoles"
    actions   = ["iam:PassRole"]
    resources = ["arn:${var.partition}:iam::${var.account_id}:role/orch/${local.prefix}/*"]

    condition {
      test     = "StringEquals"
      variable = "iam:PassedToService"
      values = [
        "ecs.amazonaws.com",
        "ecs-tasks.amazonaws.com",
        "vpc-flow-logs.amazonaws.com",
      ]
    }
  }

  statement {
    sid       = "MakeServiceLinkedRoles"
    actions   = ["iam:CreateServiceLinkedRole"]
    resources = ["arn:${var.partition}:iam::${var.account_id}:role/aws-service-role/*"]

    condition {
      test     = "StringEquals"
      variable = "iam:AWSServiceName"
      values = [
        "ecs.amazonaws.com",
        "ecs.application-autoscaling.amazonaws.com",
        "elasticloadbalancing.amazonaws.com",
      ]
    }
  }

  statement {
    sid = "MakeKeys"
    actions = [
      "kms:CreateKey",
      "kms:TagResource",
    ]
    resources = ["*"]

    condition {
      test     = "StringEquals"
      variable = "aws:RequestedRegion"
      values   = [var.region]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:RequestTag/Project"
      values   = [var.project]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:RequestTag/Environment"
      values   = [var.environment]
    }
  }

  statement {
    sid = "NameKeys"
    actions = [
      "kms:CreateAlias",
      "kms:DeleteAlias",
    ]
    resources = ["arn:${var.partition}:kms:${var.region}:${var.account_id}:alias/${local.prefix}"]
  }

  statement {
    sid = "SetUpKeys"
    actions = [
      "kms:CreateAlias",
      "kms:DeleteAlias",
      "kms:EnableKeyRotation",
    ]
    resources = ["arn:${var.partition}:kms:${var.region}:${var.account_id}:key/*"]
  }

  statement {
    sid = "ChangeOwnKeys"
    actions = [
      "kms:ScheduleKeyDeletion",
      "kms:TagResource",
      "kms:UntagResource",
    ]
    resources = ["arn:${var.partition}:kms:${var.region}:${var.account_id}:key/*"]

    condition {
      test     = "StringEquals"
      variable = "aws:ResourceTag/Project"
      values   = [var.project]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:ResourceTag/Environment"
      values   = [var.environment]
    }
  }

  statement {
    sid       = "SetKeyPolicies"
    actions   = ["kms:PutKeyPolicy"]
    resources = ["arn:${var.partition}:kms:${var.region}:${var.account_id}:key/*"]

    condition {
      test     = "StringEquals"
      variable = "aws:ResourceTag/Project"
      values   = [var.project]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:ResourceTag/Environment"
      values   = [var.environment]
    }
  }

  statement {
    sid       = "LetEcrUseKeys"
    actions   = ["kms:CreateGrant"]
    resources = ["arn:${var.partition}:kms:${var.region}:${var.account_id}:key/*"]

    condition {
      test     = "Bool"
      variable = "kms:GrantIsForAWSResource"
      values   = ["true"]
    }
  }

  statement {
    sid       = "LetEcrLeaveKeys"
    actions   = ["kms:RetireGrant"]
    resources = ["arn:${var.partition}:kms:${var.region}:${var.account_id}:key/*"]
  }

  dynamic "statement" {
    for_each = var.protected ? [true] : []

    content {
      sid    = "KeepWhatHoldsData"
      effect = "Deny"
      actions = [
        "ec2:DeleteVpc",
        "ecr:DeleteRepository",
        "ecs:DeleteCluster",
        "ecs:DeleteService",
        "elasticloadbalancing:DeleteLoadBalancer",
        "kms:ScheduleKeyDeletion",
        "logs:DeleteLogGroup",
      ]
      resources = ["*"]
    }
  }
}

data "aws_iam_policy_document" "watch" {
  statement {
    sid       = "FindState"
    actions   = ["s3:ListBucket"]
    resources = ["arn:${var.partition}:s3:::${var.state_bucket}"]
  }

  statement {
    sid       = "ReadState"
    actions   = ["s3:GetObject"]
    resources = ["arn:${var.partition}:s3:::${var.state_bucket}/${var.environment}/terraform.tfstate"]
  }

  statement {
    sid       = "FindImages"
    actions   = ["ecr:DescribeImages"]
    resources = ["arn:${var.partition}:ecr:${var.region}:${var.account_id}:repository/${local.prefix}/*"]
  }

  statement {
    sid       = "ReadReleases"
    actions   = ["s3:GetObject"]
    resources = ["arn:${var.partition}:s3:::${var.state_bucket}/orch/releases/${var.environment}/*"]
  }

  statement {
    sid = "ReadRevisions"
    actions = [
      "ecs:DescribeTaskDefinition",
      "ecs:ListTaskDefinitions",
    ]
    resources = ["*"]

    condition {
      test     = "StringEquals"
      variable = "aws:RequestedRegion"
      values   = [var.region]
    }
  }

  statement {
    sid = "FollowRollouts"
    actions = [
      "ecs:DescribeServiceDeployments",
      "ecs:DescribeServiceRevisions",
      "ecs:DescribeServices",
      "ecs:ListServiceDeployments",
    ]
    resources = [
      "arn:${var.partition}:ecs:${var.region}:${var.account_id}:service/${local.prefix}/*",
      "arn:${var.partition}:ecs:${var.region}:${var.account_id}:service-deployment/${local.prefix}/*",
      "arn:${var.partition}:ecs:${var.region}:${var.account_id}:service-revision/${local.prefix}/*",
    ]
  }

  statement {
    sid       = "FindTasks"
    actions   = ["ecs:ListTasks"]
    resources = ["*"]

    condition {
      test     = "ArnEquals"
      variable = "ecs:cluster"
      values   = ["arn:${var.partition}:ecs:${var.region}:${var.account_id}:cluster/${local.prefix}"]
    }
  }

  statement {
    sid       = "ReadTasks"
    actions   = ["ecs:DescribeTasks"]
    resources = ["arn:${var.partition}:ecs:${var.region}:${var.account_id}:task/${local.prefix}/*"]
  }

  statement {
    sid = "ReadLogs"
    actions = [
      "logs:FilterLogEvents",
      "logs:GetLogEvents",
    ]
    resources = [
      "arn:${var.partition}:logs:${var.region}:${var.account_id}:log-group:/ecs/${local.prefix}/*",
      "arn:${var.partition}:logs:${var.region}:${var.account_id}:log-group:/ecs/${local.prefix}/*:*",
    ]
  }

  statement {
    sid       = "LogInToPull"
    actions   = ["ecr:GetAuthorizationToken"]
    resources = ["*"]
  }

  statement {
    sid = "ReadImages"
    actions = [
      "ecr:BatchGetImage",
      "ecr:GetDownloadUrlForLayer",
    ]
    resources = ["arn:${var.partition}:ecr:${var.region}:${var.account_id}:repository/${local.prefix}/*"]
  }

  statement {
    sid       = "ReadTaskRoles"
    actions   = ["iam:GetRole"]
    resources = ["arn:${var.partition}:iam::${var.account_id}:role/orch/${local.prefix}/*"]
  }

  statement {
    sid = "ReadHealth"
    actions = [
      "application-autoscaling:DescribeScalableTargets",
      "cloudwatch:DescribeAlarms",
      "cloudwatch:GetMetricData",
      "elasticloadbalancing:DescribeListeners",
      "elasticloadbalancing:DescribeRules",
      "elasticloadbalancing:DescribeTargetGroups",
      "elasticloadbalancing:DescribeTargetHealth",
      "logs:DescribeLogGroups",
      "secretsmanager:DescribeSecret",
      "ssm:DescribeParameters",
    ]
    resources = ["*"]

    condition {
      test     = "StringEquals"
      variable = "aws:RequestedRegion"
      values   = [var.region]
    }
  }
}

data "aws_iam_policy_document" "deploy" {
  statement {
    sid = "HoldLock"
    actions = [
      "s3:DeleteObject",
      "s3:GetObject",
      "s3:PutObject",
    ]
    resources = ["arn:${var.partition}:s3:::${var.state_bucket}/orch/locks/${var.environment}.json"]
  }

  statement {
    sid       = "RecordReleases"
    actions   = ["s3:PutObject"]
    resources = ["arn:${var.partition}:s3:::${var.state_bucket}/orch/releases/${var.environment}/*"]
  }

  statement {
    sid       = "RegisterRevisions"
    actions   = ["ecs:RegisterTaskDefinition"]
    resources = ["*"]

    condition {
      test     = "StringEquals"
      variable = "aws:RequestedRegion"
      values   = [var.region]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:RequestTag/orch:project"
      values   = [var.project]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:RequestTag/orch:environment"
      values   = [var.environment]
    }
  }

  statement {
    sid     = "TagRevisions"
    actions = ["ecs:TagResource"]
    resources = concat(
      ["arn:${var.partition}:ecs:${var.region}:${var.account_id}:task/${local.prefix}/*"],
      [for service in var.services : "arn:${var.partition}:ecs:${var.region}:${var.account_id}:task-definition/${local.prefix}-${service}:*"],
    )
  }

  statement {
    sid     = "PassRoles"
    actions = ["iam:PassRole"]
    resources = concat(
      [for service in var.services : "arn:${var.partition}:iam::${var.account_id}:role/orch/${local.prefix}/${local.prefix}-${service}-task"],
      [for service in var.services : "arn:${var.partition}:iam::${var.account_id}:role/orch/${local.prefix}/${local.prefix}-${service}-execution"],
    )

    condition {
      test     = "StringEquals"
      variable = "iam:PassedToService"
      values   = ["ecs-tasks.amazonaws.com"]
    }
  }

  statement {
    sid       = "PassTrafficRoles"
    actions   = ["iam:PassRole"]
    resources = ["arn:${var.partition}:iam::${var.account_id}:role/orch/${local.prefix}/${local.prefix}-*-traffic"]

    condition {
      test     = "StringEquals"
      variable = "iam:PassedToService"
      values   = ["ecs.amazonaws.com"]
    }
  }

  dynamic "statement" {
    for_each = var.services

    content {
      sid       = "RollOut${join("", [for part in split("-", statement.value) : title(part)])}"
      actions   = ["ecs:UpdateService"]
      resources = ["arn:${var.partition}:ecs:${var.region}:${var.account_id}:service/${local.prefix}/${statement.value}"]

      condition {
        test     = "ArnLike"
        variable = "ecs:task-definition"
        values   = ["arn:${var.partition}:ecs:${var.region}:${var.account_id}:task-definition/${local.prefix}-${statement.value}:*"]
      }

      condition {
        test     = "BoolIfExists"
        variable = "ecs:enable-execute-command"
        values   = ["false"]
      }
    }
  }

  statement {
    sid = "EndRollouts"
    actions = [
      "ecs:ContinueServiceDeployment",
      "ecs:StopServiceDeployment",
    ]
    resources = ["arn:${var.partition}:ecs:${var.region}:${var.account_id}:service-deployment/${local.prefix}/*"]
  }

  statement {
    sid       = "RunTasks"
    actions   = ["ecs:RunTask"]
    resources = ["arn:${var.partition}:ecs:${var.region}:${var.account_id}:task-definition/${local.prefix}-*:*"]

    condition {
      test     = "ArnEquals"
      variable = "ecs:cluster"
      values   = ["arn:${var.partition}:ecs:${var.region}:${var.account_id}:cluster/${local.prefix}"]
    }
  }

  statement {
    sid       = "StopTasks"
    actions   = ["ecs:StopTask"]
    resources = ["arn:${var.partition}:ecs:${var.region}:${var.account_id}:task/${local.prefix}/*"]
  }
}

data "aws_iam_policy_document" "boundary" {
  statement {
    sid = "AllButIdentity"
    not_actions = [
      "account:*",
      "iam:*",
      "kms:PutKeyPolicy",
      "kms:ScheduleKeyDeletion",
      "organizations:*",
      "sso:*",
      "sts:AssumeRole",
    ]
    resources = ["*"]

    condition {
      test     = "StringEqualsIfExists"
      variable = "aws:ResourceAccount"
      values = concat(
        [var.account_id],
        tolist(var.trusted_accounts),
      )
    }
  }

  statement {
    sid     = "NotTheState"
    effect  = "Deny"
    actions = ["s3:*"]
    resources = [
      "arn:${var.partition}:s3:::${var.state_bucket}",
      "arn:${var.partition}:s3:::${var.state_bucket}/*",
    ]
  }
}
