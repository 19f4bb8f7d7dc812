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
  account_id = "333333333333"
}

run "trust_is_exact" {
  command = plan

  variables {
    roles = {
      deploy = {
        description       = "Rolls out."
        repository        = "acme@12/demo@34"
        environments      = ["prod", "eu:prod"]
        job_workflow_refs = ["acme/ci/.github/workflows/deploy.yml@refs/heads/main"]
        policies          = { deploy = "{\"Version\":\"2012-10-17\",\"Statement\":[]}" }
      }
      push = {
        description      = "Pushes images."
        repository       = "acme/demo"
        branches         = ["main"]
        managed_policies = { read = "arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryReadOnly" }
      }
      release = {
        description = "Builds a release."
        repository  = "acme/demo"
        tags        = ["v1.2.3"]
      }
      plan = {
        description  = "Plans."
        repository   = "acme/demo"
        pull_request = true
      }
    }
  }

  assert {
    condition = jsondecode(aws_iam_role.this["deploy"].assume_role_policy) == {
      Version = "2012-10-17"
      Statement = [{
        Sid       = "GitHubWorkflow"
        Effect    = "Allow"
        Action    = "sts:AssumeRoleWithWebIdentity"
        Principal = { Federated = "arn:aws:iam::333333333333:oidc-provider/token.actions.githubusercontent.com" }
        Condition = {
          StringEquals = {
            "token.actions.githubusercontent.com:aud"              = "sts.amazonaws.com"
            "token.actions.githubusercontent.com:sub"              = ["repo:acme@12/demo@34:environment:eu%3Aprod", "repo:acme@12/demo@34:environment:prod"]
            "token.actions.githubusercontent.com:job_workflow_ref" = "acme/ci/.github/workflows/deploy.yml@refs/heads/main"
          }
        }
      }]
    }
    error_message = "The trust must ask by StringEquals for the audience, the exact subjects and the workflow, and for nothing looser."
  }
  assert {
    condition = { for name in ["push", "release", "plan"] : name => jsondecode(aws_iam_role.this[name].assume_role_policy).Statement[0].Condition } == {
      push    = { StringEquals = { "token.actions.githubusercontent.com:aud" = "sts.amazonaws.com", "token.actions.githubusercontent.com:sub" = "repo:acme/demo:ref:refs/heads/main" } }
      release = { StringEquals = { "token.actions.githubusercontent.com:aud" = "sts.amazonaws.com", "token.actions.githubusercontent.com:sub" = "repo:acme/demo:ref:refs/tags/v1.2.3" } }
      plan    = { StringEquals = { "token.actions.githubusercontent.com:aud" = "sts.amazonaws.com", "token.actions.githubusercontent.com:sub" = "repo:acme/demo:pull_request" } }
    }
    error_message = "Branch, tag and pull request must each give their exact subject."
  }
  assert {
    condition     = one(output.subjects["plan"]) == "repo:acme/demo:pull_request" && jsondecode(output.assume_role_policies["plan"]) == jsondecode(aws_iam_role.this["plan"].assume_role_policy)
    error_message = "The outputs must show what the roles trust."
  }
  assert {
    condition     = keys(aws_iam_role_policy.this) == ["deploy/deploy"] && keys(aws_iam_role_policy_attachment.this) == ["push/read"]
    error_message = "Each policy must be attached to its own role."
  }
  assert {
    condition     = aws_iam_openid_connect_provider.github[0].client_id_list == toset(["sts.amazonaws.com"])
    error_message = "The provider must accept the audience of STS and no other."
  }
}

run "refuses_a_wildcard_repository" {
  command = plan

  variables {
    account_id = "33"
    issuer_url = "http://token.actions.githubusercontent.com"
    path       = "github"
    roles = {
      wildcard = { description = "x", repository = "acme/*", environments = ["prod"] }
    }
  }

  expect_failures = [var.account_id, var.issuer_url, var.path, var.roles]
}

run "refuses_half_an_immutable_subject" {
  command = plan
  variables {
    roles = { half = { description = "x", repository = "acme@12/demo", environments = ["prod"] } }
  }
  expect_failures = [var.roles]
}

run "refuses_a_role_without_a_subject" {
  command = plan
  variables {
    roles = { nobody = { description = "x", repository = "acme/demo" } }
  }
  expect_failures = [var.roles]
}

run "refuses_a_branch_pattern" {
  command = plan
  variables {
    roles = { pattern = { description = "x", repository = "acme/demo", branches = ["release/*"] } }
  }
  expect_failures = [var.roles]
}

run "refuses_administrator_access" {
  command = plan
  variables {
    roles = { admin = { description = "x", repository = "acme/demo", branches = ["main"], managed_policies = { admin = "arn:aws:iam::aws:policy/AdministratorAccess" } } }
  }
  expect_failures = [var.roles]
}

run "refuses_a_workflow_without_a_ref" {
  command = plan
  variables {
    roles = { loose = { description = "x", repository = "acme/demo", environments = ["prod"], job_workflow_refs = ["acme/ci"] } }
  }
  expect_failures = [var.roles]
}

run "refuses_a_role_name_that_iam_does_not_take" {
  command = plan
  variables {
    roles = { "a role" = { description = "x", repository = "acme/demo", environments = ["prod"] } }
  }
  expect_failures = [var.roles]
}

run "refuses_a_session_that_iam_does_not_grant" {
  command = plan
  variables {
    roles = { long = { description = "x", repository = "acme/demo", environments = ["prod"], max_session_seconds = 90000 } }
  }
  expect_failures = [var.roles]
}
