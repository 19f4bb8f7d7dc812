"""The embedded AWS: one process on one loopback port that behaves as AWS does for this product.

`control` starts, finds, resets and stops the process and imports nothing heavy; everything else runs inside it:

    server        one WSGI application: AWS APIs to moto, `/v2/` to the registry, `/orch-sandbox/` to the control API
    calls         what a request asks for, for the log of calls
    accounts      which AWS account a request belongs to
    tasks         one ECS task's life as a function of time (pure)
    rollout       one ECS service: deployments, scheduling, circuit breaker, rollback (pure)
    launch        what a task meets when it starts: its image, its log group, its role; and what it writes to its log
    ecs           moto's ECS backend with services that roll out; ecs_views says it in AWS's shapes, ecs_api answers
    blobs, ecr, registry   one store of images behind both the ECR API and the OCI distribution API
    gaps          what Terraform's AWS provider needs and moto lacks

Nothing else in orch may import these modules except `control`: the product never asks whether it talks to the sandbox.
"""
