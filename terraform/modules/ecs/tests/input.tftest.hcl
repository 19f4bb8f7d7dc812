# Each validation of the module is triggered here: what it refuses, it must refuse.

mock_provider "aws" {}

variables {
  name               = "hello"
  task_family        = "demo-dev-hello"
  cluster_arn        = "arn:aws:ecs:eu-central-1:111111111111:cluster/demo-dev"
  region             = "eu-central-1"
  repository_url     = "111111111111.dkr.ecr.eu-central-1.amazonaws.com/demo-dev/hello"
  container_port     = 8080
  log_group_name     = "/ecs/demo-dev/hello"
  execution_role_arn = "arn:aws:iam::111111111111:role/orch/demo-dev/demo-dev-hello-execution"
  task_role_arn      = "arn:aws:iam::111111111111:role/orch/demo-dev/demo-dev-hello-task"
  vpc_id             = "vpc-0123456789abcdef0"
  subnet_ids         = ["subnet-0123456789abcdef0", "subnet-0123456789abcdef1"]
  egress             = { internet = { cidr_ipv4 = "0.0.0.0/0" } }
}

# The other messages name the service, so they stay silent beside a bad name.
run "refuses_a_name_with_a_wrong_character" {
  command = plan

  variables {
    name = "-hello"
  }

  expect_failures = [var.name]
}

run "refuses_a_name_that_is_too_long" {
  command = plan

  variables {
    name = "a-service-name-of-34-characters-xx"
  }

  expect_failures = [var.name]
}

run "refuses_each_input_by_itself" {
  command = plan

  variables {
    task_family             = "demo/dev"
    cluster_arn             = "demo-dev"
    region                  = "frankfurt"
    repository_url          = "https://registry.example.com/hello:latest"
    container_port          = 70000
    cpu                     = 300
    cpu_architecture        = "ARM"
    user                    = "00:0"
    environment             = { "DB-HOST" = "db" }
    health_check            = { command = ["/hello"] }
    stop_timeout_seconds    = 600
    log_group_name          = "arn:aws:logs:eu-central-1:111111111111:log-group:hello"
    execution_role_arn      = "demo-dev-hello-execution"
    minimum_healthy_percent = 101
    subnet_ids              = []
    egress                  = {}
    autoscaling             = { min_tasks = 4, max_tasks = 2 }
  }

  expect_failures = [
    var.task_family,
    var.cluster_arn,
    var.region,
    var.repository_url,
    var.container_port,
    var.cpu,
    var.cpu_architecture,
    var.user,
    var.environment,
    var.health_check,
    var.stop_timeout_seconds,
    var.log_group_name,
    var.execution_role_arn,
    var.minimum_healthy_percent,
    var.subnet_ids,
    var.egress,
    var.autoscaling,
  ]
}

run "refuses_what_only_looks_right" {
  command = plan

  variables {
    cpu                     = 512
    memory                  = 512
    environment             = { DB_PASSWORD = "hunter2" }
    health_check            = { command = ["CMD", "/hello"], interval_seconds = 1 }
    task_role_arn           = "demo-dev-hello-task"
    minimum_healthy_percent = 50
    maximum_percent         = 99
    enable_execute_command  = true
    autoscaling             = { min_tasks = 1, max_tasks = 2, cpu_target_percent = 0 }
    ingress                 = { nobody = {} }
    egress                  = { db = { cidr_ipv4 = "10.0.0.0/16", security_group_id = "sg-0aaaaaaaaaaaaaaaa" } }
    load_balancer = {
      listener_arn      = "arn:aws:elasticloadbalancing:eu-central-1:111111111111:listener/app/demo-dev/0123456789abcdef/0123456789abcdef"
      security_group_id = "sg-0aaaaaaaaaaaaaaaa"
      priority          = 10
    }
  }

  expect_failures = [
    var.memory,
    var.environment,
    var.health_check,
    var.task_role_arn,
    var.maximum_percent,
    var.enable_execute_command,
    var.autoscaling,
    var.ingress,
    var.egress,
    var.load_balancer,
  ]
}

run "refuses_what_does_not_fit_together" {
  command = plan

  variables {
    container_port          = null
    environment             = { DATABASE = "postgres://app:hunter2@db.internal/app" }
    task_role_arn           = "arn:aws:iam::111111111111:role/orch/demo-dev/demo-dev-hello-execution"
    minimum_healthy_percent = 100
    maximum_percent         = 100
    ingress                 = { office = { cidr_ipv4 = "192.0.2.0/24" } }
    egress                  = { db = { cidr_ipv4 = "10.0.0.0/16", port = 0 } }
    load_balancer = {
      listener_arn      = "arn:aws:elasticloadbalancing:eu-central-1:111111111111:listener/app/demo-dev/0123456789abcdef/0123456789abcdef"
      security_group_id = "sg-0aaaaaaaaaaaaaaaa"
      priority          = 10
      path_patterns     = ["/*"]
    }
  }

  expect_failures = [
    var.environment,
    var.task_role_arn,
    var.maximum_percent,
    var.ingress,
    var.egress,
    var.load_balancer,
  ]
}

run "refuses_the_internet_as_ingress_and_a_hyphen_in_a_secrets_name" {
  command = plan

  variables {
    minimum_healthy_percent = 50
    maximum_percent         = 100
    ingress                 = { everyone = { cidr_ipv4 = "0.0.0.0/0" } }
    load_balancer = {
      listener_arn      = "arn:aws:elasticloadbalancing:eu-central-1:111111111111:listener/app/demo-dev/0123456789abcdef/0123456789abcdef"
      security_group_id = "sg-0aaaaaaaaaaaaaaaa"
      priority          = 0
      path_patterns     = ["/*"]
    }
    secrets = { "DB-PASSWORD" = "arn:aws:ssm:eu-central-1:111111111111:parameter/db" }
  }

  expect_failures = [
    var.availability_zone_rebalancing,
    var.ingress,
    var.load_balancer,
    var.secrets,
  ]
}

run "refuses_a_secret_value_in_place_of_its_arn" {
  command = plan

  variables {
    secrets                       = { DB = "hunter2" }
    availability_zone_rebalancing = "YES"
    load_balancer = {
      listener_arn      = "arn:aws:elasticloadbalancing:eu-central-1:111111111111:listener/app/demo-dev/0123456789abcdef/0123456789abcdef"
      security_group_id = "sg-0aaaaaaaaaaaaaaaa"
      priority          = 10
      path_patterns     = ["/*"]
      target_protocol   = "TCP"
    }
  }

  expect_failures = [
    var.secrets,
    var.availability_zone_rebalancing,
    var.load_balancer,
  ]
}

run "refuses_a_secret_without_its_random_characters" {
  command = plan

  variables {
    secrets = { DB = "arn:aws:secretsmanager:eu-central-1:111111111111:secret:db" }
    load_balancer = {
      listener_arn      = "arn:aws:elasticloadbalancing:eu-central-1:111111111111:listener/app/demo-dev/0123456789abcdef/0123456789abcdef"
      security_group_id = "sg-0aaaaaaaaaaaaaaaa"
      priority          = 10
      path_patterns     = ["/*"]
      health_check_path = "health"
    }
  }

  expect_failures = [
    var.secrets,
    var.load_balancer,
  ]
}

run "refuses_a_secret_with_too_few_colons" {
  command = plan

  variables {
    secrets = { DB = "arn:aws:secretsmanager:eu-central-1:111111111111:secret:db-a1b2c3:password" }
    load_balancer = {
      listener_arn      = "arn:aws:elasticloadbalancing:eu-central-1:111111111111:listener/app/demo-dev/0123456789abcdef/0123456789abcdef"
      security_group_id = "sg-0aaaaaaaaaaaaaaaa"
      priority          = 10
      path_patterns     = ["/*"]
      blue_green        = { role_path = "orch" }
    }
  }

  expect_failures = [
    var.secrets,
    var.load_balancer,
  ]
}

run "refuses_a_secret_of_another_region" {
  command = plan

  variables {
    secrets = { DB = "arn:aws:secretsmanager:us-east-1:111111111111:secret:db-a1b2c3" }
    load_balancer = {
      listener_arn      = "arn:aws:elasticloadbalancing:eu-central-1:111111111111:listener/app/demo-dev/0123456789abcdef/0123456789abcdef"
      security_group_id = "sg-0aaaaaaaaaaaaaaaa"
      priority          = 10
      path_patterns     = ["/*"]
      blue_green        = { test = { listener_arn = "arn:aws:elasticloadbalancing:eu-central-1:111111111111:listener/app/demo-dev/0123456789abcdef/fedcba9876543210", priority = 0 } }
    }
  }

  expect_failures = [
    var.secrets,
    var.load_balancer,
  ]
}

run "refuses_a_wildcard_among_the_secrets" {
  command = plan

  variables {
    secrets = { DB = "arn:aws:ssm:eu-central-1:111111111111:parameter/demo/*" }
    load_balancer = {
      listener_arn      = "arn:aws:elasticloadbalancing:eu-central-1:111111111111:listener/app/demo-dev/0123456789abcdef/0123456789abcdef"
      security_group_id = "sg-0aaaaaaaaaaaaaaaa"
      priority          = 10
      path_patterns     = ["/*"]
      blue_green        = { test = { listener_arn = "arn:aws:elasticloadbalancing:eu-central-1:111111111111:listener/app/demo-dev/0123456789abcdef/0123456789abcdef" } }
    }
  }

  expect_failures = [
    var.secrets,
    var.load_balancer,
  ]
}

run "refuses_a_name_in_environment_and_in_secrets" {
  command = plan

  variables {
    environment       = { DB = "plain" }
    secrets           = { DB = "arn:aws:ssm:eu-central-1:111111111111:parameter/db" }
    task_family       = "demo-dev-a-family-that-is-too-long-for-the-name-of-a-role1"
    deployment_alarms = { alarm_names = ["arn:aws:cloudwatch:eu-central-1:111111111111:alarm:errors"] }
    load_balancer = {
      listener_arn      = "arn:aws:elasticloadbalancing:eu-central-1:111111111111:listener/app/demo-dev/0123456789abcdef/0123456789abcdef"
      security_group_id = "sg-0aaaaaaaaaaaaaaaa"
      priority          = 10
      path_patterns     = ["/*"]
      blue_green        = {}
    }
  }

  expect_failures = [
    var.secrets,
    var.load_balancer,
    var.deployment_alarms,
  ]
}
