mock_provider "aws" {
  mock_data "aws_iam_policy_document" {
    defaults = {
      json = "{\"Version\":\"2012-10-17\",\"Statement\":[]}"
    }
  }
}

variables {
  name = "demo-dev/hello"
}

run "is_immutable_scanned_and_encrypted" {
  command = plan

  variables {
    keep_images          = 25
    untagged_expire_days = 3
  }

  assert {
    condition     = aws_ecr_repository.this.image_tag_mutability == "IMMUTABLE"
    error_message = "Tags must be immutable."
  }
  assert {
    condition     = aws_ecr_repository.this.image_scanning_configuration[0].scan_on_push
    error_message = "Images must be scanned on push."
  }
  assert {
    condition     = aws_ecr_repository.this.encryption_configuration[0].encryption_type == "KMS"
    error_message = "Images must be encrypted with KMS."
  }
  assert {
    condition     = aws_ecr_repository.this.force_delete == false
    error_message = "A repository with images in it must not be deleted by default."
  }
  assert {
    condition     = length(aws_ecr_repository_policy.pull) == 0
    error_message = "Without principals from other accounts there must be no repository policy."
  }

  # Untagged images go first, by age; then all but the newest tagged ones.
  assert {
    condition = [for rule in jsondecode(aws_ecr_lifecycle_policy.this.policy).rules : [rule.rulePriority, rule.selection.tagStatus, rule.selection.countType, rule.selection.countNumber]] == [
      [1, "untagged", "sinceImagePushed", 3],
      [2, "tagged", "imageCountMoreThan", 25],
    ]
    error_message = "The lifecycle policy must expire untagged images by age and keep the newest tagged ones."
  }
}

run "other_accounts_get_a_policy" {
  command = plan

  variables {
    pull_principal_arns = ["arn:aws:iam::222222222222:root"]
  }

  assert {
    condition     = length(aws_ecr_repository_policy.pull) == 1
    error_message = "A principal from another account needs the repository policy."
  }
}

# The other messages name the repository, so they stay silent beside a bad name.
run "refuses_a_bad_name" {
  command = plan

  variables {
    name = "Demo/hello"
  }

  expect_failures = [var.name]
}

run "refuses_bad_input" {
  command = plan

  variables {
    kms_key_arn          = "alias/ecr"
    keep_images          = 3
    untagged_expire_days = 0
    pull_principal_arns  = ["arn:aws:iam::222222222222:role/*"]
  }

  expect_failures = [
    var.kms_key_arn,
    var.keep_images,
    var.untagged_expire_days,
    var.pull_principal_arns,
  ]
}
