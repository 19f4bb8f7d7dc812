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
  name = "demo-dev/hello"
}

run "other_accounts_may_pull_and_nothing_else" {
  command = plan

  variables {
    pull_principal_arns = ["arn:aws:iam::222222222222:role/orch/demo-staging/demo-staging-hello-execution"]
  }

  assert {
    condition = [for s in jsondecode(aws_ecr_repository_policy.pull[0].policy).Statement : [s.Effect, s.Principal, toset(s.Action)]] == [[
      "Allow",
      { AWS = "arn:aws:iam::222222222222:role/orch/demo-staging/demo-staging-hello-execution" },
      toset(["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]),
    ]]
    error_message = "The listed role, and no other, must be let in to pull, and to do nothing else."
  }
}
