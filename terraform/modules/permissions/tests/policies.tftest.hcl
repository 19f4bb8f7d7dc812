# Policy documents are computed by the provider itself, so the real one is used; it calls no AWS. That they say what
# `orch policy` prints is held by tests/contract/test_policies.py.
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
  environment  = "dev"
  services     = ["hello", "mail-worker"]
  state_bucket = "orch-state-111111111111-eu-central-1"
  account_id   = "111111111111"
  region       = "eu-central-1"
}

run "each_service_is_named" {
  command = plan

  assert {
    condition = [for statement in jsondecode(output.deploy_policy).Statement : [statement.Resource, statement.Condition.ArnLike["ecs:task-definition"]] if statement.Action == "ecs:UpdateService"] == [
      ["arn:aws:ecs:eu-central-1:111111111111:service/demo-dev/hello", "arn:aws:ecs:eu-central-1:111111111111:task-definition/demo-dev-hello:*"],
      ["arn:aws:ecs:eu-central-1:111111111111:service/demo-dev/mail-worker", "arn:aws:ecs:eu-central-1:111111111111:task-definition/demo-dev-mail-worker:*"],
    ]
    error_message = "A service must be rolled out with revisions of its own family alone."
  }
  assert {
    condition     = sort(one([for statement in jsondecode(output.push_policy).Statement : statement.Resource if statement.Sid == "PushImages"])) == tolist(["arn:aws:ecr:eu-central-1:111111111111:repository/demo-dev/hello", "arn:aws:ecr:eu-central-1:111111111111:repository/demo-dev/mail-worker"])
    error_message = "Images must be pushed to the services' repositories alone."
  }
  assert {
    condition     = aws_iam_policy.boundary.path == "/orch/demo-dev/" && aws_iam_policy.boundary.name == "boundary" && aws_iam_policy.read.path == "/orch/demo-dev/" && aws_iam_policy.watch.path == "/orch/demo-dev/"
    error_message = "The managed policies must lie under the environment's path, where permissions_boundary_arn names the boundary."
  }
  assert {
    condition     = length([for statement in jsondecode(output.apply_policy).Statement : statement if statement.Effect == "Deny"]) == 0
    error_message = "Without protection the role apply must be denied nothing."
  }
  assert {
    condition     = jsondecode(aws_iam_policy.boundary.policy) == jsondecode(output.documents["boundary"]) && jsondecode(aws_iam_policy.read.policy) == jsondecode(output.documents["read"]) && jsondecode(aws_iam_policy.watch.policy) == jsondecode(output.documents["watch"])
    error_message = "The managed policies must hold their documents."
  }
}

run "a_protected_environment_keeps_its_data" {
  command = plan

  variables {
    protected = true
  }

  assert {
    condition     = contains(one([for statement in jsondecode(output.apply_policy).Statement : statement.Action if statement.Effect == "Deny"]), "ecr:DeleteRepository")
    error_message = "The role apply must be denied to delete repositories."
  }
}

run "refuses_bad_names" {
  command = plan

  variables {
    project          = "Demo"
    environment      = "a-very-long-environment"
    services         = ["hello", "*"]
    state_bucket     = "*"
    account_id       = "11"
    region           = "europe"
    partition        = "azure"
    trusted_accounts = ["*"]
  }

  expect_failures = [var.project, var.environment, var.services, var.state_bucket, var.account_id, var.region, var.partition, var.trusted_accounts]
}

run "refuses_more_services_than_a_policy_holds" {
  command = plan

  variables {
    services = [for number in range(20) : "a-service-with-a-long-name-${number}"]
  }

  expect_failures = [output.deploy_policy]
}
