mock_provider "aws" {
  mock_resource "aws_ecs_task_definition" {
    defaults = {
      arn = "arn:aws:ecs:eu-central-1:111111111111:task-definition/demo-dev-hello:1"
    }
  }
  mock_resource "aws_lb_target_group" {
    defaults = {
      arn = "arn:aws:elasticloadbalancing:eu-central-1:111111111111:targetgroup/hello/0123456789abcdef"
    }
  }
}

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

run "skeleton_is_complete_and_never_runs" {
  variables {
    environment  = { ZONE = "b", APP = "a", TOKEN_URL = "https://example.com/token" }
    secrets      = { DB_PASSWORD = "arn:aws:secretsmanager:eu-central-1:111111111111:secret:db-a1b2c3:password::" }
    health_check = { command = ["CMD", "/hello", "--health"] }
  }

  assert {
    condition = jsondecode(aws_ecs_task_definition.skeleton.container_definitions) == [{
      name      = "hello"
      image     = "111111111111.dkr.ecr.eu-central-1.amazonaws.com/demo-dev/hello:skeleton"
      essential = true
      user      = "10001:10001"
      portMappings = [
        { containerPort = 8080, hostPort = 8080, protocol = "tcp" },
      ]
      environment = [
        { name = "APP", value = "a" },
        { name = "TOKEN_URL", value = "https://example.com/token" },
        { name = "ZONE", value = "b" },
      ]
      secrets = [
        { name = "DB_PASSWORD", valueFrom = "arn:aws:secretsmanager:eu-central-1:111111111111:secret:db-a1b2c3:password::" },
      ]
      mountPoints            = []
      volumesFrom            = []
      systemControls         = []
      readonlyRootFilesystem = true
      stopTimeout            = 30
      linuxParameters = {
        initProcessEnabled = true
        capabilities       = { add = [], drop = ["ALL"] }
      }
      logConfiguration = {
        logDriver = "awslogs"
        options = {
          awslogs-group         = "/ecs/demo-dev/hello"
          awslogs-region        = "eu-central-1"
          awslogs-stream-prefix = "hello"
          mode                  = "non-blocking"
          max-buffer-size       = "25m"
        }
      }
      healthCheck = {
        command     = ["CMD", "/hello", "--health"]
        interval    = 30
        timeout     = 5
        retries     = 3
        startPeriod = 10
      }
    }]
    error_message = "The skeleton's container must spell out every field, in order."
  }
  assert {
    condition     = aws_ecs_task_definition.skeleton.track_latest == false && aws_ecs_task_definition.skeleton.skip_destroy
    error_message = "The revisions that orch registers must never be deregistered by Terraform."
  }
  assert {
    condition     = aws_ecs_service.this.desired_count == 0 && aws_ecs_service.this.wait_for_steady_state == false
    error_message = "No task of the skeleton may run, and orch alone waits for rollouts."
  }
  assert {
    condition     = aws_ecs_service.this.deployment_circuit_breaker[0].enable && aws_ecs_service.this.deployment_circuit_breaker[0].rollback
    error_message = "A failing rollout must be rolled back."
  }
  assert {
    condition     = aws_ecs_service.this.availability_zone_rebalancing == "ENABLED" && aws_ecs_service.this.network_configuration[0].assign_public_ip == false
    error_message = "Tasks must be spread over the zones and have no public address."
  }
  assert {
    condition     = length(aws_ecs_service.this.load_balancer) == 0 && aws_ecs_service.this.health_check_grace_period_seconds == null
    error_message = "Without a load balancer there is no grace period: ECS refuses it."
  }
  assert {
    condition     = length(aws_vpc_security_group_ingress_rule.this) == 0 && length(aws_vpc_security_group_ingress_rule.load_balancer) == 0
    error_message = "Nothing may reach the tasks unless it is listed."
  }
  assert {
    condition     = output.container_name == "hello" && output.task_family == "demo-dev-hello" && output.skeleton_arn == aws_ecs_task_definition.skeleton.arn
    error_message = "The outputs must name container, family and skeleton."
  }
}

run "load_balancer_and_autoscaling_are_wired" {
  variables {
    autoscaling = { min_tasks = 2, max_tasks = 6 }
    load_balancer = {
      listener_arn                      = "arn:aws:elasticloadbalancing:eu-central-1:111111111111:listener/app/demo-dev/0123456789abcdef/0123456789abcdef"
      security_group_id                 = "sg-0aaaaaaaaaaaaaaaa"
      priority                          = 10
      path_patterns                     = ["/*"]
      health_check_grace_period_seconds = 45
    }
  }

  assert {
    condition     = [for lb in aws_ecs_service.this.load_balancer : [lb.target_group_arn, lb.container_name, lb.container_port]] == [[aws_lb_target_group.this[0].arn, "hello", 8080]]
    error_message = "The service must register its container in the target group."
  }
  assert {
    condition     = aws_ecs_service.this.health_check_grace_period_seconds == 45
    error_message = "Behind a load balancer the grace period applies."
  }
  assert {
    condition     = aws_lb_target_group.this[0].target_type == "ip" && aws_lb_target_group.this[0].name_prefix == "hello-" && aws_lb_target_group.this[0].protocol == "HTTP"
    error_message = "Fargate tasks are registered by address."
  }
  assert {
    condition     = aws_vpc_security_group_ingress_rule.load_balancer[0].referenced_security_group_id == "sg-0aaaaaaaaaaaaaaaa" && aws_vpc_security_group_egress_rule.load_balancer[0].security_group_id == "sg-0aaaaaaaaaaaaaaaa"
    error_message = "The load balancer and the tasks must be let through to each other, and only they."
  }
  assert {
    condition     = aws_appautoscaling_target.this[0].resource_id == "service/demo-dev/hello"
    error_message = "Autoscaling must address the service by cluster and name."
  }
}

run "a_worker_listens_on_no_port" {
  command = plan

  variables {
    container_port = null
  }

  assert {
    condition     = jsondecode(aws_ecs_task_definition.skeleton.container_definitions)[0].portMappings == []
    error_message = "A worker must map no port."
  }
}

run "refuses_bad_input" {
  command = plan

  variables {
    name                    = "-hello"
    cpu                     = 300
    cpu_architecture        = "ARM"
    user                    = "0:0"
    environment             = { DB_PASSWORD = "hunter2" }
    health_check            = { command = ["/hello"] }
    stop_timeout_seconds    = 600
    task_role_arn           = "arn:aws:iam::111111111111:role/orch/demo-dev/demo-dev-hello-execution"
    minimum_healthy_percent = 100
    maximum_percent         = 100
    enable_execute_command  = true
    subnet_ids              = []
    ingress                 = { nobody = {} }
    egress                  = {}
    autoscaling             = { min_tasks = 4, max_tasks = 2 }
    load_balancer = {
      listener_arn      = "arn:aws:elasticloadbalancing:eu-central-1:111111111111:listener/app/demo-dev/0123456789abcdef/0123456789abcdef"
      security_group_id = "sg-0aaaaaaaaaaaaaaaa"
      priority          = 10
    }
  }

  expect_failures = [
    var.name,
    var.cpu,
    var.cpu_architecture,
    var.user,
    var.environment,
    var.health_check,
    var.stop_timeout_seconds,
    var.task_role_arn,
    var.maximum_percent,
    var.enable_execute_command,
    var.subnet_ids,
    var.ingress,
    var.egress,
    var.autoscaling,
    var.load_balancer,
  ]
}

# Each of these is wrong only beside another variable.
run "refuses_what_does_not_fit_together" {
  command = plan

  variables {
    cpu                     = 512
    memory                  = 512
    container_port          = 70000
    minimum_healthy_percent = 50
    maximum_percent         = 100
    environment             = { DB = "plain" }
    secrets                 = { DB = "arn:aws:ssm:eu-central-1:111111111111:parameter/db" }
  }

  expect_failures = [
    var.memory,
    var.container_port,
    var.availability_zone_rebalancing,
    var.secrets,
  ]
}

run "refuses_a_secret_value_in_place_of_its_arn" {
  command = plan

  variables {
    secrets = { DB = "hunter2" }
  }

  expect_failures = [var.secrets]
}
