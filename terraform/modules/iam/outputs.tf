output "task_role_arn" {
  description = "ARN of the role that the application runs as."
  value       = aws_iam_role.task.arn

  # Whoever uses the role must wait until its permissions stand.
  depends_on = [aws_iam_role_policy.task]
}

output "task_role_name" {
  description = "Name of the role that the application runs as."
  value       = aws_iam_role.task.name
}

output "execution_role_arn" {
  description = "ARN of the role with which ECS starts the tasks."
  value       = aws_iam_role.execution.arn

  depends_on = [aws_iam_role_policy.execution]
}

output "execution_role_name" {
  description = "Name of the role with which ECS starts the tasks."
  value       = aws_iam_role.execution.name
}
