# Policy documents are computed by the provider itself, so the real one is used; what it would ask AWS is told it here.
# tests/contract reads the roles, which lie in other modules, out of these plans.
provider "aws" {
  region                      = "eu-central-1"
  access_key                  = "offline"
  secret_key                  = "offline"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_region_validation      = true
  skip_requesting_account_id  = true
}

override_data {
  target = data.aws_caller_identity.current
  values = { account_id = "111111111111" }
}

variables {
  project                  = "demo"
  environment              = "dev"
  permissions_boundary_arn = "arn:aws:iam::111111111111:policy/orch/demo-dev/boundary"
  services                 = { hello = { container_port = 8080 } }
}

run "key_serves_this_environment_only" {
  command = plan

  assert {
    condition = [for s in jsondecode(aws_kms_key.this[0].policy).Statement : [s.Sid, s.Principal]] == [
      ["IamOfThisAccount", { AWS = "arn:aws:iam::111111111111:root" }],
      ["LogsOfThisEnvironment", { Service = "logs.eu-central-1.amazonaws.com" }],
    ]
    error_message = "Only this account's IAM and CloudWatch Logs may use the key."
  }
  assert {
    condition = jsondecode(aws_kms_key.this[0].policy).Statement[1].Condition == {
      ArnLike = {
        "kms:EncryptionContext:aws:logs:arn" = [
          "arn:aws:logs:eu-central-1:111111111111:log-group:/ecs/demo-dev/*",
          "arn:aws:logs:eu-central-1:111111111111:log-group:/vpc/demo-dev/*",
        ]
      }
    }
    error_message = "CloudWatch Logs may use the key for the log groups of this environment only."
  }
  assert {
    condition     = aws_kms_key.this[0].enable_key_rotation && aws_kms_key.this[0].deletion_window_in_days == 30
    error_message = "The key must rotate, and stay for 30 days after its deletion was asked for."
  }
}

# What it hands on is read from the plan by tests/contract/test_terraform_modules.py; here it must be accepted.
run "what_is_not_protected_was_asked_for" {
  command = plan

  variables {
    restrict_execution_role_trust = false
    force_delete_repositories     = true
  }

  assert {
    condition     = output.orch.contract == 1
    error_message = "The contract must stay as it is."
  }
}
