output "boundary_arn" {
  description = "ARN of the permissions boundary, for permissions_boundary_arn of the environment's root module."
  value       = aws_iam_policy.boundary.arn
}

output "read_policy_arn" {
  description = "ARN of the managed policy that the roles plan and apply carry."
  value       = aws_iam_policy.read.arn
}

output "watch_policy_arn" {
  description = "ARN of the managed policy that the role deploy carries."
  value       = aws_iam_policy.watch.arn
}

output "plan_policy" {
  description = "Policy of the role plan beside the managed one, as JSON."
  value       = data.aws_iam_policy_document.plan.minified_json
}

output "push_policy" {
  description = "Policy of the role push, as JSON."
  value       = data.aws_iam_policy_document.push.minified_json
}

output "apply_policy" {
  description = "Policy of the role apply beside the managed one, as JSON."
  value       = data.aws_iam_policy_document.apply.minified_json
}

output "deploy_policy" {
  description = "Policy of the role deploy beside the managed one, as JSON."
  value       = data.aws_iam_policy_document.deploy.minified_json

  # It has a statement for each service. https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
  precondition {
    condition     = length(data.aws_iam_policy_document.deploy.minified_json) <= 10240
    error_message = "The policy of the role deploy of ${local.prefix} has ${length(data.aws_iam_policy_document.deploy.minified_json)} characters for ${length(var.services)} services; IAM allows 10,240 in a role. Split the environment's services over two projects."
  }
}

output "documents" {
  description = "All of them as JSON, by name, for checks: read and watch (the managed policies), plan, push, apply, deploy, boundary."
  value = {
    read     = data.aws_iam_policy_document.read.minified_json
    plan     = data.aws_iam_policy_document.plan.minified_json
    push     = data.aws_iam_policy_document.push.minified_json
    apply    = data.aws_iam_policy_document.apply.minified_json
    watch    = data.aws_iam_policy_document.watch.minified_json
    deploy   = data.aws_iam_policy_document.deploy.minified_json
    boundary = data.aws_iam_policy_document.boundary.minified_json
  }
}
