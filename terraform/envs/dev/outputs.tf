output "orch" {
  description = "The contract with orch: what it needs to build, roll out and diagnose each service."
  value       = module.environment.orch
}
