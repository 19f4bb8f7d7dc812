project     = "demo"
environment = "staging"
account_id  = "222222222222"
region      = "eu-central-1"

# Every role of this environment is bounded by this policy, which `orch bootstrap` creates.
permissions_boundary_arn = "arn:aws:iam::222222222222:policy/orch/demo-staging/boundary"

# AWS refuses to delete repositories that hold images.
force_delete_repositories = false

network = {
  cidr_block = "10.20.0.0/16"

  # One zone holds the endpoints for all: half the price, and an outage here can wait.
  egress_in_every_zone = false
}

services = {
  hello = {
    container_port = 8080
    cpu            = 256
    memory         = 512
    desired_count  = 2

    health_check = {
      command = ["CMD", "/hello", "--health"]
    }
  }
}
