project     = "demo"
environment = "prod"
account_id  = "333333333333"
region      = "eu-central-1"

# Every role of this environment is bounded by this policy, which `orch bootstrap` creates.
permissions_boundary_arn = "arn:aws:iam::333333333333:policy/orch/demo-prod/boundary"

# AWS refuses to delete repositories that hold images.
force_delete_repositories = false

network = {
  cidr_block = "10.30.0.0/16"

  # Each zone has its own endpoints, so that losing one zone cuts no other off.
  egress_in_every_zone = true
}

services = {
  hello = {
    container_port = 8080
    cpu            = 256
    memory         = 512
    desired_count  = 3

    health_check = {
      command = ["CMD", "/hello", "--health"]
    }
  }
}
