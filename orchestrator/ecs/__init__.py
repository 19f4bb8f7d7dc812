"""ECS: the task definition to run (pure), its revisions, and the rollout followed to its end."""
