project     = "demo"
environment = "dev"
account_id  = "111111111111"
region      = "eu-central-1"

# Every role of this environment is bounded by this policy, which `orch bootstrap` creates.
permissions_boundary_arn = "arn:aws:iam::111111111111:policy/orch/demo-dev/boundary"

# dev may be torn down whole by `orch destroy`: its images go with it.
force_delete_repositories = true

network = {
  cidr_block = "10.10.0.0/16"

  # One zone holds the endpoints for all: half the price, and an outage here can wait.
  egress_in_every_zone = false
}

services = {
  hello = {
    container_port = 8080
    cpu            = 256
    memory         = 512
    desired_count  = 1

    health_check = {
      command = ["CMD", "/hello", "--health"]
    }
  }
}
