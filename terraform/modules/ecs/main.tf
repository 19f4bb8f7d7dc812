locals {
  # https://docs.aws.amazon.com/AmazonECS/latest/developerguide/fargate-tasks-services.html (Linux)
  fargate_memory = {
    "256"   = [512, 1024, 2048]
    "512"   = range(1024, 4096 + 1, 1024)
    "1024"  = range(2048, 8192 + 1, 1024)
    "2048"  = range(4096, 16384 + 1, 1024)
    "4096"  = range(8192, 30720 + 1, 1024)
    "8192"  = range(16384, 61440 + 1, 4096)
    "16384" = range(32768, 122880 + 1, 8192)
  }

  # A name that announces a secret. It ends there, so that TOKEN_TTL_SECONDS, NEXT_TOKEN_URL, DB_PASSWORD_FILE and
  # API_KEY_ARN pass; MAX_TOKENS, PUBLIC_KEY and SORT_KEY are no secrets either.
  secret_name = "(?i)(PASSWORDS?|PASSWD|PASSPHRASE|SECRETS?|TOKEN|CREDENTIALS?|.+_(PASS|PWD)|(API|ACCESS|AUTH|ENCRYPTION|HMAC|MASTER|PRIVATE|SECRET|SHARED|SIGNING|SSH)_?KEYS?|ACCESS_KEY_ID|SECRET_KEY_BASE)(_?[0-9]+)?$"

  # What stands under such a name without being one: nothing, a switch, or the ARN of where the secret lies.
  harmless_value = "^(true|false|arn:aws[a-z-]*:.+)?$"

  # A value that looks like a secret whatever its name. In a URL, ${NAME} and $(NAME) are for the application to fill in.
  secret_values = {
    "an AWS access key id"              = "(^|[^A-Z0-9])(AKIA|ASIA)[A-Z0-9]{16}($|[^A-Z0-9])"
    "a private key"                     = "-----BEGIN [A-Z0-9 ]*PRIVATE KEY"
    "a JSON web token"                  = "(^|[^A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{8,}\\.eyJ[A-Za-z0-9_-]{8,}\\."
    "a URL with a password"             = "[A-Za-z][A-Za-z0-9+.-]*://[^/?#@:\\s]*:([^/?#@\\s$]|[$][^({])[^/?#@\\s]*@"
    "a password in a connection string" = "(?i)(^|[^a-z])(password|pwd)=[^;&\\s$%*<{]"
    "a GitHub token"                    = "(^|[^A-Za-z0-9])(gh[oprsu]_[A-Za-z0-9]{36}|github_pat_[A-Za-z0-9_]{22})"
    "a Slack token"                     = "(^|[^A-Za-z0-9])xox[abeoprs]-[A-Za-z0-9-]{10}"
    "a Stripe key"                      = "(^|[^A-Za-z0-9])[rs]k_live_[A-Za-z0-9]{10}"
  }

  # Defaults that ECS fills in are written out, and lists are sorted (maps iterate in key order): whatever
  # ECS answers differently from what stands here would replace the task definition on every plan.
  container = {
    name      = var.name
    image     = "${var.repository_url}:skeleton"
    essential = true
    user      = var.user

    portMappings = var.container_port == null ? [] : [{
      containerPort = var.container_port
      hostPort      = var.container_port
      protocol      = "tcp"
    }]

    environment    = [for name, value in var.environment : { name = name, value = value }]
    secrets        = [for name, arn in var.secrets : { name = name, valueFrom = arn }]
    mountPoints    = []
    volumesFrom    = []
    systemControls = []

    readonlyRootFilesystem = var.readonly_root_filesystem
    stopTimeout            = var.stop_timeout_seconds

    linuxParameters = {
      initProcessEnabled = true
      capabilities       = { add = [], drop = ["ALL"] }
    }

    # non-blocking: an unreachable log service must not stall the application.
    logConfiguration = {
      logDriver = "awslogs"
      options = {
        awslogs-group         = var.log_group_name
        awslogs-region        = var.region
        awslogs-stream-prefix = var.name
        mode                  = "non-blocking"
        max-buffer-size       = "25m"
      }
    }
  }

  blue_green = one(var.load_balancer[*].blue_green)

  health_check = var.health_check == null ? {} : {
    healthCheck = {
      command     = var.health_check.command
      interval    = var.health_check.interval_seconds
      timeout     = var.health_check.timeout_seconds
      retries     = var.health_check.retries
      startPeriod = var.health_check.start_period_seconds
    }
  }
}

#### Skeleton
# Terraform owns every field but the image. orch takes this revision, puts repository@digest in the image's
# place and registers the result in the same family. The tag :skeleton is never pushed and never run.

resource "aws_ecs_task_definition" "skeleton" {
  family                   = var.task_family
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = var.cpu
  memory                   = var.memory
  execution_role_arn       = var.execution_role_arn
  task_role_arn            = var.task_role_arn
  container_definitions    = jsonencode([merge(local.container, local.health_check)])
  tags                     = var.tags

  # With track_latest, a revision that orch registered would look like drift, and the next apply would
  # deregister what is running. With skip_destroy = false, every change of cpu or memory would deregister
  # the revision before: a rollback target.
  track_latest = false
  skip_destroy = true

  runtime_platform {
    operating_system_family = "LINUX"
    cpu_architecture        = var.cpu_architecture
  }
}

#### Service

resource "aws_ecs_service" "this" {
  name             = var.name
  cluster          = var.cluster_arn
  task_definition  = aws_ecs_task_definition.skeleton.arn
  launch_type      = "FARGATE"
  platform_version = "LATEST"

  # No task of the skeleton ever runs. orch sets the count together with the first real revision, and waits
  # for the rollout itself: Terraform calls a rolled-back deployment a success.
  desired_count         = 0
  wait_for_steady_state = false

  deployment_minimum_healthy_percent = var.minimum_healthy_percent
  deployment_maximum_percent         = var.maximum_percent
  availability_zone_rebalancing      = var.availability_zone_rebalancing
  health_check_grace_period_seconds  = one(var.load_balancer[*].health_check_grace_period_seconds)

  enable_execute_command  = var.enable_execute_command
  enable_ecs_managed_tags = true
  propagate_tags          = "SERVICE"
  tags                    = var.tags

  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }

  dynamic "alarms" {
    for_each = var.deployment_alarms[*]

    content {
      alarm_names = alarms.value.alarm_names
      enable      = alarms.value.enable
      rollback    = alarms.value.rollback
    }
  }

  network_configuration {
    subnets          = var.subnet_ids
    security_groups  = [aws_security_group.this.id]
    assign_public_ip = var.assign_public_ip
  }

  dynamic "load_balancer" {
    for_each = aws_lb_target_group.this

    content {
      target_group_arn = load_balancer.value.arn
      container_name   = var.name
      container_port   = var.container_port
    }
  }

  lifecycle {
    # orch, the circuit breaker and autoscaling change these two; Terraform only sets their first value.
    ignore_changes = [task_definition, desired_count]
  }

  # ECS refuses a target group that no listener uses; a task that starts before its way out is open cannot
  # pull its image.
  depends_on = [
    aws_lb_listener_rule.this,
    aws_lb_listener_rule.test,
    aws_vpc_security_group_egress_rule.this,
  ]
}

#### Security group

resource "aws_security_group" "this" {
  name_prefix = "${var.task_family}-"
  description = "Tasks of ${var.task_family}"
  vpc_id      = var.vpc_id
  tags        = merge(var.tags, { Name = var.task_family })

  # Some changes replace the group; the service must move to the new one before the old one can go.
  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_vpc_security_group_ingress_rule" "this" {
  for_each = var.ingress

  security_group_id            = aws_security_group.this.id
  description                  = "From ${each.key}"
  ip_protocol                  = "tcp"
  from_port                    = var.container_port
  to_port                      = var.container_port
  cidr_ipv4                    = each.value.cidr_ipv4
  referenced_security_group_id = each.value.security_group_id
  tags                         = var.tags
}

resource "aws_vpc_security_group_egress_rule" "this" {
  for_each = var.egress

  security_group_id            = aws_security_group.this.id
  description                  = "To ${each.key}"
  ip_protocol                  = each.value.protocol
  from_port                    = each.value.port
  to_port                      = each.value.port
  cidr_ipv4                    = each.value.cidr_ipv4
  prefix_list_id               = each.value.prefix_list_id
  referenced_security_group_id = each.value.security_group_id
  tags                         = var.tags
}

#### Load balancer

resource "aws_lb_target_group" "this" {
  count = var.load_balancer == null ? 0 : 1

  name_prefix          = "${substr(var.name, 0, 5)}-"
  vpc_id               = var.vpc_id
  target_type          = "ip"
  port                 = var.container_port
  protocol             = var.load_balancer.target_protocol
  deregistration_delay = var.load_balancer.deregistration_delay_seconds
  tags                 = var.tags

  health_check {
    path     = var.load_balancer.health_check_path
    matcher  = var.load_balancer.health_check_matcher
    protocol = var.load_balancer.target_protocol
  }

  # A target group that a listener uses cannot be destroyed.
  lifecycle {
    create_before_destroy = true
  }
}

# Where the revision that is to follow runs until it gets the traffic. What both groups are told must be the same.
resource "aws_lb_target_group" "alternate" {
  count = local.blue_green == null ? 0 : 1

  name_prefix          = "${substr(var.name, 0, 5)}-"
  vpc_id               = var.vpc_id
  target_type          = "ip"
  port                 = var.container_port
  protocol             = var.load_balancer.target_protocol
  deregistration_delay = var.load_balancer.deregistration_delay_seconds
  tags                 = var.tags

  health_check {
    path     = var.load_balancer.health_check_path
    matcher  = var.load_balancer.health_check_matcher
    protocol = var.load_balancer.target_protocol
  }

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_lb_listener_rule" "this" {
  count = var.load_balancer == null ? 0 : 1

  listener_arn = var.load_balancer.listener_arn
  priority     = var.load_balancer.priority
  tags         = var.tags

  action {
    type             = "forward"
    target_group_arn = local.blue_green == null ? aws_lb_target_group.this[0].arn : null

    dynamic "forward" {
      for_each = local.blue_green[*]

      content {
        target_group {
          arn    = aws_lb_target_group.this[0].arn
          weight = 100
        }

        target_group {
          arn    = aws_lb_target_group.alternate[0].arn
          weight = 0
        }
      }
    }
  }

  dynamic "condition" {
    for_each = length(var.load_balancer.host_headers) > 0 ? [var.load_balancer.host_headers] : []

    content {
      host_header {
        values = condition.value
      }
    }
  }

  dynamic "condition" {
    for_each = length(var.load_balancer.path_patterns) > 0 ? [var.load_balancer.path_patterns] : []

    content {
      path_pattern {
        values = condition.value
      }
    }
  }

  # ECS moves the traffic by these weights, and gives a rule that names one group the other by itself. A rule of its
  # own for blue_green would be another resource: setting it would delete the rule that carries the traffic. So the
  # action is set with the rule, and anew with another target group, for every service. What somebody else does to it
  # still shows as drift.
  lifecycle {
    ignore_changes       = [action]
    replace_triggered_by = [aws_lb_target_group.this[count.index].arn]
  }
}

resource "aws_lb_listener_rule" "test" {
  count = one(local.blue_green[*].test) == null ? 0 : 1

  listener_arn = local.blue_green.test.listener_arn
  priority     = coalesce(local.blue_green.test.priority, var.load_balancer.priority)
  tags         = var.tags

  action {
    type = "forward"

    forward {
      target_group {
        arn    = aws_lb_target_group.this[0].arn
        weight = 100
      }

      target_group {
        arn    = aws_lb_target_group.alternate[0].arn
        weight = 0
      }
    }
  }

  dynamic "condition" {
    for_each = length(var.load_balancer.host_headers) > 0 ? [var.load_balancer.host_headers] : []

    content {
      host_header {
        values = condition.value
      }
    }
  }

  dynamic "condition" {
    for_each = length(var.load_balancer.path_patterns) > 0 ? [var.load_balancer.path_patterns] : []

    content {
      path_pattern {
        values = condition.value
      }
    }
  }

  lifecycle {
    ignore_changes       = [action]
    replace_triggered_by = [aws_lb_target_group.this[count.index].arn]
  }
}

resource "aws_vpc_security_group_ingress_rule" "load_balancer" {
  count = var.load_balancer == null ? 0 : 1

  security_group_id            = aws_security_group.this.id
  description                  = "From the load balancer"
  ip_protocol                  = "tcp"
  from_port                    = var.container_port
  to_port                      = var.container_port
  referenced_security_group_id = var.load_balancer.security_group_id
  tags                         = var.tags
}

resource "aws_vpc_security_group_egress_rule" "load_balancer" {
  count = var.load_balancer == null ? 0 : 1

  security_group_id            = var.load_balancer.security_group_id
  description                  = "To ${var.task_family}"
  ip_protocol                  = "tcp"
  from_port                    = var.container_port
  to_port                      = var.container_port
  referenced_security_group_id = aws_security_group.this.id
  tags                         = var.tags
}

#### Infrastructure role: how ECS itself moves traffic from one revision to the next
# AWS offers AmazonECSInfrastructureRolePolicyForLoadBalancers, which reaches every target group, listener and rule of
# the account. This grants the same on the service's own, and nothing on listeners: it is rules that carry the traffic
# here, and no listener's default action.
# https://docs.aws.amazon.com/aws-managed-policy/latest/reference/AmazonECSInfrastructureRolePolicyForLoadBalancers.html

data "aws_iam_policy_document" "traffic_trust" {
  count = local.blue_green == null ? 0 : 1

  statement {
    sid     = "EcsOfThisAccount"
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["ecs.amazonaws.com"]
    }

    dynamic "condition" {
      for_each = local.blue_green.restrict_role_trust ? [split(":", var.cluster_arn)[4]] : []

      content {
        test     = "StringEquals"
        variable = "aws:SourceAccount"
        values   = [condition.value]
      }
    }
  }
}

data "aws_iam_policy_document" "traffic" {
  count = local.blue_green == null ? 0 : 1

  statement {
    sid = "SeeTraffic"
    actions = [
      "elasticloadbalancing:DescribeListeners",
      "elasticloadbalancing:DescribeRules",
      "elasticloadbalancing:DescribeTargetGroups",
      "elasticloadbalancing:DescribeTargetHealth",
    ]
    resources = ["*"] # the actions know no resource
  }

  statement {
    sid = "RegisterTasks"
    actions = [
      "elasticloadbalancing:DeregisterTargets",
      "elasticloadbalancing:RegisterTargets",
    ]
    resources = [aws_lb_target_group.this[0].arn, aws_lb_target_group.alternate[0].arn]
  }

  statement {
    sid       = "MoveTraffic"
    actions   = ["elasticloadbalancing:ModifyRule"]
    resources = concat(aws_lb_listener_rule.this[*].arn, aws_lb_listener_rule.test[*].arn)
  }
}

resource "aws_iam_role" "traffic" {
  count = local.blue_green == null ? 0 : 1

  name                  = "${var.task_family}-traffic"
  path                  = local.blue_green.role_path
  description           = "Lets ECS move the traffic of ${var.task_family} from one revision to the next."
  assume_role_policy    = data.aws_iam_policy_document.traffic_trust[0].json
  permissions_boundary  = local.blue_green.permissions_boundary_arn
  force_detach_policies = true
  tags                  = var.tags
}

resource "aws_iam_role_policy" "traffic" {
  count = local.blue_green == null ? 0 : 1

  name   = "move-traffic"
  role   = aws_iam_role.traffic[0].name
  policy = data.aws_iam_policy_document.traffic[0].json
}

#### Autoscaling

resource "aws_appautoscaling_target" "this" {
  count = var.autoscaling == null ? 0 : 1

  service_namespace  = "ecs"
  resource_id        = "service/${element(split("/", var.cluster_arn), 1)}/${aws_ecs_service.this.name}"
  scalable_dimension = "ecs:service:DesiredCount"
  min_capacity       = var.autoscaling.min_tasks
  max_capacity       = var.autoscaling.max_tasks
  tags               = var.tags
}

resource "aws_appautoscaling_policy" "cpu" {
  count = var.autoscaling == null ? 0 : 1

  name               = "${var.task_family}-cpu"
  policy_type        = "TargetTrackingScaling"
  service_namespace  = aws_appautoscaling_target.this[0].service_namespace
  resource_id        = aws_appautoscaling_target.this[0].resource_id
  scalable_dimension = aws_appautoscaling_target.this[0].scalable_dimension

  target_tracking_scaling_policy_configuration {
    target_value = var.autoscaling.cpu_target_percent

    predefined_metric_specification {
      predefined_metric_type = "ECSServiceAverageCPUUtilization"
    }
  }
}
