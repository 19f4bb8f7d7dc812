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
  project      = "demo"
  account_id   = "111111111111"
  region       = "eu-central-1"
  state_bucket = "orch-state-111111111111-eu-central-1"
  repository   = "acme@12/demo@34"
  environments = { dev = { services = ["hello"] } }
}

run "each_role_trusts_the_runs_it_is_for" {
  command = plan

  variables {
    environments = {
      dev  = { services = ["hello"], promotes_to = ["staging"] }
      prod = { services = ["hello"], protected = true }
    }
    push_branches     = ["main", "release"]
    job_workflow_refs = ["acme/ci/.github/workflows/deploy.yml@refs/heads/main"]
  }

  assert {
    condition = { for name, subjects in output.subjects : name => tolist(subjects) } == {
      demo-dev-plan    = tolist(["repo:acme@12/demo@34:environment:dev", "repo:acme@12/demo@34:ref:refs/heads/main", "repo:acme@12/demo@34:ref:refs/heads/release", "repo:acme@12/demo@34:pull_request"])
      demo-dev-push    = tolist(["repo:acme@12/demo@34:environment:dev", "repo:acme@12/demo@34:ref:refs/heads/main", "repo:acme@12/demo@34:ref:refs/heads/release"])
      demo-dev-apply   = tolist(["repo:acme@12/demo@34:environment:dev"])
      demo-dev-deploy  = tolist(["repo:acme@12/demo@34:environment:dev", "repo:acme@12/demo@34:environment:staging"])
      demo-prod-plan   = tolist(["repo:acme@12/demo@34:environment:prod", "repo:acme@12/demo@34:ref:refs/heads/main", "repo:acme@12/demo@34:ref:refs/heads/release", "repo:acme@12/demo@34:pull_request"])
      demo-prod-push   = tolist(["repo:acme@12/demo@34:environment:prod", "repo:acme@12/demo@34:ref:refs/heads/main", "repo:acme@12/demo@34:ref:refs/heads/release"])
      demo-prod-apply  = tolist(["repo:acme@12/demo@34:environment:prod"])
      demo-prod-deploy = tolist(["repo:acme@12/demo@34:environment:prod"])
    }
    error_message = "Plan must trust pull requests, the branches and its environment, push the branches and its environment, apply its environment, deploy that and the next one of the path, and nothing else."
  }
  assert {
    condition     = [for role in ["plan", "push", "apply", "deploy"] : can(jsondecode(module.oidc.assume_role_policies["demo-prod-${role}"]).Statement[0].Condition.StringEquals["token.actions.githubusercontent.com:job_workflow_ref"])] == [false, false, true, true]
    error_message = "Only the named reusable workflow may apply and deploy."
  }
}

run "takes_no_wildcard" {
  command = plan

  variables {
    account_id    = "11"
    region        = "europe"
    repository    = "acme/*"
    environments  = {}
    push_branches = ["release/*"]
  }

  expect_failures = [var.account_id, var.region, var.repository, var.environments, var.push_branches]
}

run "takes_no_wildcard_in_the_path" {
  command = plan

  variables {
    environments = { dev = { services = ["hello"], promotes_to = ["*"] } }
  }

  expect_failures = [var.environments]
}

run "takes_no_half_immutable_repository" {
  command = plan

  variables {
    repository = "acme@12/demo"
  }

  expect_failures = [var.repository]
}
