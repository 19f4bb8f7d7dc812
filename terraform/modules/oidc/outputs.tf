output "provider_arn" {
  description = "ARN of the identity provider."
  value       = local.provider_arn

  depends_on = [
    aws_iam_openid_connect_provider.github,
    data.aws_iam_openid_connect_provider.github,
  ]
}

output "role_arns" {
  description = "ARN of each role, by role name: what a workflow gives as role-to-assume."
  value       = { for name, role in aws_iam_role.this : name => role.arn }

  depends_on = [
    aws_iam_role_policy.this,
    aws_iam_role_policy_attachment.this,
  ]
}

output "subjects" {
  description = "The exact token subjects that may assume each role, by role name."
  value       = local.subjects
}

output "assume_role_policies" {
  description = "Trust policy of each role as JSON, by role name, for checks."
  value       = { for name, document in data.aws_iam_policy_document.trust : name => document.json }
}
