output "service_name" {
  description = "Name of the ECS service."
  value       = aws_ecs_service.this.name
}

output "service_arn" {
  description = "ARN of the ECS service."
  value       = aws_ecs_service.this.id
}

output "container_name" {
  description = "Name of the container whose image orch sets."
  value       = local.container.name
}

output "skeleton_arn" {
  description = "Full ARN, with revision, of the task definition that every rollout is rendered from."
  value       = aws_ecs_task_definition.skeleton.arn
}

output "task_family" {
  description = "Family in which orch registers its revisions."
  value       = aws_ecs_task_definition.skeleton.family
}

output "security_group_id" {
  description = "Security group of the tasks, for rules that let them reach a database or another service."
  value       = aws_security_group.this.id
}
