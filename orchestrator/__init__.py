"""orch ships a container to AWS ECS from a Git repository; `cli` is the way in."""

__version__ = "0.1.0"
