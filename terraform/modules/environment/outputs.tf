output "orch" {
  description = "The contract with orch: what it needs to build, roll out and diagnose each service. Its fields change only together with the number of the contract."
  value = {
    contract   = 1
    account_id = local.account_id
    region     = local.region
    services = {
      for name, service in var.services : name => {
        repository_url     = module.ecr[name].repository_url
        cluster            = aws_ecs_cluster.this.name
        service            = module.ecs[name].service_name
        container          = module.ecs[name].container_name
        skeleton_arn       = module.ecs[name].skeleton_arn
        task_family        = module.ecs[name].task_family
        log_group          = aws_cloudwatch_log_group.service[name].name
        execution_role_arn = module.iam[name].execution_role_arn
        task_role_arn      = module.iam[name].task_role_arn
        desired_count      = service.desired_count
        blue_green         = module.ecs[name].blue_green
      }
    }
  }
}

output "cluster_arn" {
  description = "ARN of the ECS cluster."
  value       = aws_ecs_cluster.this.arn
}

output "kms_key_arn" {
  description = "ARN of the key that encrypts images, logs and exec sessions."
  value       = local.kms_key_arn
}

output "vpc_id" {
  description = "Id of the VPC that the tasks run in."
  value       = local.network.vpc_id
}

output "private_subnet_ids" {
  description = "Ids of the subnets that the tasks run in."
  value       = local.network.private_subnet_ids
}

output "security_group_ids" {
  description = "Security group of each service's tasks, by service name, for rules that let them reach a database."
  value       = { for name, service in module.ecs : name => service.security_group_id }
}

output "load_balancer_dns_name" {
  description = "DNS name of the load balancer, or null where there is none."
  value       = one(module.load_balancer[*].dns_name)
}
