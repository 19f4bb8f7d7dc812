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

output "blue_green" {
  description = "What ECS needs to move traffic from one revision to the next; null without blue_green."
  value = local.blue_green == null ? null : {
    alternate_target_group_arn   = aws_lb_target_group.alternate[0].arn
    production_listener_rule_arn = aws_lb_listener_rule.this[0].arn
    test_listener_rule_arn       = one(aws_lb_listener_rule.test[*].arn)
    infrastructure_role_arn      = aws_iam_role.traffic[0].arn
  }

  # Whoever hands the role to ECS must wait until its permissions stand.
  depends_on = [aws_iam_role_policy.traffic]
}
