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
  mock_resource "aws_lb_listener_rule" {
    defaults = {
      arn = "arn:aws:elasticloadbalancing:eu-central-1:111111111111:listener-rule/app/demo-dev/0123456789abcdef/0123456789abcdef/hello"
    }
  }
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{\"Version\":\"2012-10-17\",\"Statement\":[]}" }
  }
}

override_resource {
  target = aws_lb_target_group.alternate[0]
  values = { arn = "arn:aws:elasticloadbalancing:eu-central-1:111111111111:targetgroup/hello/fedcba9876543210" }
}

override_resource {
  target = aws_lb_listener_rule.test[0]
  values = { arn = "arn:aws:elasticloadbalancing:eu-central-1:111111111111:listener-rule/app/demo-dev/0123456789abcdef/fedcba9876543210/hello" }
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
    condition     = [for rule in aws_vpc_security_group_egress_rule.this : [rule.from_port, rule.to_port, rule.ip_protocol]] == [[443, 443, "tcp"]]
    error_message = "Tasks must get out by HTTPS only, unless more is listed."
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

run "blue_green_makes_what_ecs_moves_traffic_with" {
  variables {
    deployment_alarms = { alarm_names = ["demo-dev-hello-errors"] }
    load_balancer = {
      listener_arn      = "arn:aws:elasticloadbalancing:eu-central-1:111111111111:listener/app/demo-dev/0123456789abcdef/0123456789abcdef"
      security_group_id = "sg-0aaaaaaaaaaaaaaaa"
      priority          = 10
      path_patterns     = ["/*"]
      blue_green = {
        role_path                = "/orch/demo-dev/"
        permissions_boundary_arn = "arn:aws:iam::111111111111:policy/orch/demo-dev/boundary"
        test                     = { listener_arn = "arn:aws:elasticloadbalancing:eu-central-1:111111111111:listener/app/demo-dev/0123456789abcdef/fedcba9876543210" }
      }
    }
  }

  assert {
    condition = alltrue([
      for rule in [aws_lb_listener_rule.this[0], aws_lb_listener_rule.test[0]] :
      { for group in rule.action[0].forward[0].target_group : group.arn => group.weight } == {
        (aws_lb_target_group.this[0].arn)      = 100
        (aws_lb_target_group.alternate[0].arn) = 0
      } && rule.priority == 10 && tolist(rule.condition)[0].path_pattern[0].values == toset(["/*"])
    ])
    error_message = "Both rules must send all requests to the first target group, and know the other."
  }
  assert {
    condition     = aws_lb_listener_rule.test[0].listener_arn == var.load_balancer.blue_green.test.listener_arn
    error_message = "The rule for tests must stand on the test listener."
  }
  assert {
    condition = alltrue([
      for name in ["port", "protocol", "target_type", "vpc_id", "deregistration_delay"] :
      aws_lb_target_group.this[0][name] == aws_lb_target_group.alternate[0][name]
    ])
    error_message = "Both target groups must be told the same."
  }
  assert {
    condition = alltrue([
      for name in ["path", "matcher", "protocol"] :
      aws_lb_target_group.this[0].health_check[0][name] == aws_lb_target_group.alternate[0].health_check[0][name]
    ])
    error_message = "Both target groups must be checked alike."
  }
  assert {
    condition = jsonencode({
      for statement in data.aws_iam_policy_document.traffic[0].statement : statement.sid => [sort(statement.actions), sort(statement.resources)]
      }) == jsonencode({
      SeeTraffic = [
        ["elasticloadbalancing:DescribeListeners", "elasticloadbalancing:DescribeRules", "elasticloadbalancing:DescribeTargetGroups", "elasticloadbalancing:DescribeTargetHealth"],
        ["*"],
      ]
      RegisterTasks = [
        ["elasticloadbalancing:DeregisterTargets", "elasticloadbalancing:RegisterTargets"],
        sort([aws_lb_target_group.this[0].arn, aws_lb_target_group.alternate[0].arn]),
      ]
      MoveTraffic = [
        ["elasticloadbalancing:ModifyRule"],
        sort([aws_lb_listener_rule.this[0].arn, aws_lb_listener_rule.test[0].arn]),
      ]
    })
    error_message = "The role must change nothing but the service's own target groups and rules."
  }
  assert {
    condition = alltrue([
      for statement in data.aws_iam_policy_document.traffic_trust[0].statement : alltrue([
        tolist(statement.principals)[0].identifiers == toset(["ecs.amazonaws.com"]),
        tolist(statement.condition)[0].variable == "aws:SourceAccount",
        tolist(statement.condition)[0].values == tolist(["111111111111"]),
      ])
    ])
    error_message = "Only ECS of this account may take the role."
  }
  assert {
    condition     = aws_iam_role.traffic[0].name == "demo-dev-hello-traffic" && aws_iam_role.traffic[0].path == "/orch/demo-dev/" && aws_iam_role.traffic[0].permissions_boundary == "arn:aws:iam::111111111111:policy/orch/demo-dev/boundary"
    error_message = "The role must lie under the path of the others, within their boundary."
  }
  assert {
    condition = jsonencode(output.blue_green) == jsonencode({
      alternate_target_group_arn   = aws_lb_target_group.alternate[0].arn
      infrastructure_role_arn      = aws_iam_role.traffic[0].arn
      production_listener_rule_arn = aws_lb_listener_rule.this[0].arn
      test_listener_rule_arn       = aws_lb_listener_rule.test[0].arn
    })
    error_message = "The output must name what orch hands to ECS."
  }
  assert {
    condition     = [for lb in aws_ecs_service.this.load_balancer : lb.target_group_arn] == [aws_lb_target_group.this[0].arn]
    error_message = "The service must be made with its first target group."
  }
  assert {
    condition     = [for alarms in aws_ecs_service.this.alarms : [alarms.alarm_names, alarms.enable, alarms.rollback]] == [[toset(["demo-dev-hello-errors"]), true, true]]
    error_message = "An alarm that fires must end the rollout and roll it back."
  }
}

run "the_trust_of_the_role_can_be_widened" {
  command = plan

  variables {
    load_balancer = {
      listener_arn      = "arn:aws:elasticloadbalancing:eu-central-1:111111111111:listener/app/demo-dev/0123456789abcdef/0123456789abcdef"
      security_group_id = "sg-0aaaaaaaaaaaaaaaa"
      priority          = 10
      path_patterns     = ["/*"]
      blue_green        = { restrict_role_trust = false }
    }
  }

  assert {
    condition     = [for statement in data.aws_iam_policy_document.traffic_trust[0].statement : length(statement.condition)] == [0]
    error_message = "Without the restriction the trust must ask for nothing but ECS."
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
    condition     = output.blue_green == null && length(aws_lb_target_group.alternate) + length(aws_lb_listener_rule.test) + length(aws_iam_role.traffic) == 0
    error_message = "Nothing for blue/green must be made unless asked for."
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

# Names and values that only look like secrets. In a URL, ${NAME} is for the application to fill in.
run "harmless_environment_variables_pass" {
  command = plan

  variables {
    environment = {
      API_KEY_ARN          = "arn:aws:secretsmanager:eu-central-1:111111111111:secret:key-a1b2c3"
      COMMIT               = "2fd4e1c67a2d28fced849ee1bb76e7391b93eb12"
      DATABASE_URL         = "postgres://app:$${DB_PASSWORD}@db.internal:5432/app"
      DB_PASSWORD_FILE     = "/run/secrets/db"
      DB_SECRET            = "arn:aws:secretsmanager:eu-central-1:111111111111:secret:db-a1b2c3"
      EMPTY_TOKEN          = ""
      LOG_FORMAT           = "user=%u password=***"
      MAX_TOKENS           = "4096"
      NEXT_TOKEN_URL       = "https://auth.example.com:8443/token?next=a@example.com"
      OWNER                = "team:payments@example.com"
      PARTITION_KEY        = "order"
      PUBLIC_KEY           = "-----BEGIN PUBLIC KEY-----"
      REQUIRE_PASSWORD     = "true"
      SECRETS_MANAGER_PATH = "demo/db"
      TOKEN_TTL_SECONDS    = "300"
    }
  }

  assert {
    condition     = length(jsondecode(aws_ecs_task_definition.skeleton.container_definitions)[0].environment) == 15
    error_message = "Each harmless variable must reach the container."
  }
}

# Validations use these patterns; a sample of each kind stands here, so that one run tests them all.
run "secrets_are_recognised" {
  command = plan

  assert {
    condition = alltrue([
      for name in [
        "API_KEYS", "apiKey", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "client_secret", "DB_PASS",
        "DB_PASSWORD", "dbPassword", "GITHUB_TOKEN", "MYSQL_PWD", "PGPASSWORD", "RAILS_MASTER_KEY", "SECRET_KEY_BASE",
        "SIGNING_KEY", "TOKEN_2",
      ] : can(regex(local.secret_name, name))
    ])
    error_message = "Each of these names announces a secret."
  }

  # Pieced together, so that no scanner takes them for real ones.
  assert {
    condition = alltrue([
      for kind, value in {
        "a GitHub token"                    = join("", ["gh", "p_", "0123456789abcdefghijABCDEFGHIJ012345"])
        "a JSON web token"                  = join(".", ["Bearer eyJhbGciOiJIUzI1NiJ9", "eyJzdWIiOiJkZW1vIn0", "c2lnbmF0dXJl"])
        "a Slack token"                     = join("-", ["xoxb", "0123456789", "abcdef"])
        "a Stripe key"                      = join("_", ["sk", "live", "0123456789abcdef"])
        "a URL with a password"             = "postgres://app:hunter2@db.internal:5432/app"
        "a password in a connection string" = "Server=db.internal;User Id=app;Password=hunter2;"
        "a private key"                     = "-----BEGIN RSA PRIVATE KEY-----\nMIIB"
        "an AWS access key id"              = "key=${join("", ["ASIA", "IOSFODNN7EXAMPLE"])}"
      } : can(regex(local.secret_values[kind], value))
    ])
    error_message = "A value that looks like a secret must be recognised."
  }
  assert {
    condition     = length(local.secret_values) == 8
    error_message = "Each kind of secret needs a sample above."
  }
}
