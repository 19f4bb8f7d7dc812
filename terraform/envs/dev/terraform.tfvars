project     = "demo"
environment = "dev"
account_id  = "111111111111"
region      = "eu-central-1"

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
