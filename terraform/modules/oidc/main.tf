locals {
  audience = "sts.amazonaws.com"
  issuer   = trimprefix(var.issuer_url, "https://")

  # The ARN follows from account and issuer. Built here, every trust policy is known when planning, so that a
  # review and a test can read it before anything exists.
  provider_arn = "arn:${var.partition}:iam::${var.account_id}:oidc-provider/${local.issuer}"

  # https://docs.github.com/en/actions/reference/security/oidc: a job with an environment has no ref in its
  # subject, and a colon inside a value is sent as %3A.
  subjects = {
    for name, role in var.roles : name => concat(
      [for value in role.environments : "repo:${role.repository}:environment:${replace(value, ":", "%3A")}"],
      [for value in role.branches : "repo:${role.repository}:ref:refs/heads/${value}"],
      [for value in role.tags : "repo:${role.repository}:ref:refs/tags/${value}"],
      role.pull_request ? ["repo:${role.repository}:pull_request"] : [],
    )
  }

  policies = merge([
    for name, role in var.roles : { for key, json in role.policies : "${name}/${key}" => { role = name, name = key, json = json } }
  ]...)

  managed_policies = merge([
    for name, role in var.roles : { for key, arn in role.managed_policies : "${name}/${key}" => { role = name, arn = arn } }
  ]...)
}

#### Provider
# No thumbprints: AWS checks GitHub's certificate against its own trust store and ignores them
# (IAM API reference, UpdateOpenIDConnectProviderThumbprint).

resource "aws_iam_openid_connect_provider" "github" {
  count = var.create_provider ? 1 : 0

  url            = var.issuer_url
  client_id_list = [local.audience]
  tags           = merge(var.tags, var.provider_tags)
}

data "aws_iam_openid_connect_provider" "github" {
  count = var.create_provider ? 0 : 1

  url = var.issuer_url

  lifecycle {
    postcondition {
      condition     = contains(self.client_id_list, local.audience)
      error_message = "The account's provider for ${var.issuer_url} does not accept the audience ${local.audience}. Add it, or let this module create the provider."
    }
  }
}

#### Roles

data "aws_iam_policy_document" "trust" {
  for_each = var.roles

  statement {
    sid     = "GitHubWorkflow"
    actions = ["sts:AssumeRoleWithWebIdentity"]

    principals {
      type        = "Federated"
      identifiers = [local.provider_arn]
    }

    condition {
      test     = "StringEquals"
      variable = "${local.issuer}:aud"
      values   = [local.audience]
    }

    condition {
      test     = "StringEquals"
      variable = "${local.issuer}:sub"
      values   = local.subjects[each.key]
    }

    dynamic "condition" {
      for_each = length(each.value.job_workflow_refs) > 0 ? [each.value.job_workflow_refs] : []

      content {
        test     = "StringEquals"
        variable = "${local.issuer}:job_workflow_ref"
        values   = condition.value
      }
    }
  }
}

resource "aws_iam_role" "this" {
  for_each = var.roles

  name                 = each.key
  path                 = var.path
  description          = each.value.description
  assume_role_policy   = data.aws_iam_policy_document.trust[each.key].json
  max_session_duration = each.value.max_session_seconds
  permissions_boundary = each.value.permissions_boundary_arn
  tags                 = var.tags

  depends_on = [
    aws_iam_openid_connect_provider.github,
    data.aws_iam_openid_connect_provider.github,
  ]
}

resource "aws_iam_role_policy" "this" {
  for_each = local.policies

  name   = each.value.name
  role   = aws_iam_role.this[each.value.role].name
  policy = each.value.json
}

resource "aws_iam_role_policy_attachment" "this" {
  for_each = local.managed_policies

  role       = aws_iam_role.this[each.value.role].name
  policy_arn = each.value.arn
}
