output "orch" {
  description = "The contract with orch: what it needs to build, roll out and diagnose each service."
  value       = module.environment.orch
}

output "security_group_ids" {
  description = "Security group of each service's tasks, by service name: what the database's own security group must let in."
  value       = module.environment.security_group_ids
}

output "load_balancer_dns_name" {
  description = "DNS name of the load balancer, for the record of your own domain."
  value       = module.environment.load_balancer_dns_name
}
