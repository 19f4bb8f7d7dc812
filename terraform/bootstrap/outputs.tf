output "provider_arn" {
  description = "ARN of the account's identity provider for GitHub."
  value       = module.oidc.provider_arn
}

output "role_arns" {
  description = "ARN of each role that GitHub's workflows assume, by role name."
  value       = module.oidc.role_arns
}

output "subjects" {
  description = "The exact token subjects that may assume each role, by role name."
  value       = module.oidc.subjects
}

output "boundary_arns" {
  description = "ARN of each environment's permissions boundary, by environment."
  value       = { for name, permissions in module.permissions : name => permissions.boundary_arn }
}
