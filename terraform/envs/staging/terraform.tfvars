project     = "demo"
environment = "staging"
account_id  = "222222222222"
region      = "eu-central-1"

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
