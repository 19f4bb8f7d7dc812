data "aws_caller_identity" "current" {}

data "aws_partition" "current" {}

data "aws_region" "current" {}

locals {
  account_id  = data.aws_caller_identity.current.account_id
  partition   = data.aws_partition.current.partition
  region      = data.aws_region.current.id
  name_prefix = "${var.project}-${var.environment}"

  # https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutRetentionPolicy.html
  log_retention_days = [1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653]

  # One path for every role, so that a policy can name the roles of this environment and no others.
  role_path = "/orch/${local.name_prefix}/"

  kms_key_arn = var.kms_key_arn == null ? aws_kms_key.this[0].arn : var.kms_key_arn

  secret_arns = flatten([for service in values(var.services) : values(service.secrets)])

  network = var.existing_network == null ? {
    vpc_id             = module.network[0].vpc_id
    private_subnet_ids = module.network[0].private_subnet_ids
    public_subnet_ids  = module.network[0].public_subnet_ids
    https_egress       = module.network[0].https_egress
  } : var.existing_network
}

#### What the services of the environment share

module "network" {
  source = "../network"
  count  = var.existing_network == null ? 1 : 0

  name                 = local.name_prefix
  account_id           = local.account_id
  region               = local.region
  partition            = local.partition
  cidr_block           = var.network.cidr_block
  availability_zones   = coalesce(var.network.availability_zones, ["${local.region}a", "${local.region}b"])
  egress               = var.network.egress
  egress_in_every_zone = var.network.egress_in_every_zone
  # ECS Exec asks for both when it encrypts its sessions (https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs-exec.html).
  endpoint_services = setunion(
    var.network.endpoint_services,
    [for store in ["secretsmanager", "ssm"] : store if anytrue([for arn in local.secret_arns : strcontains(arn, ":${store}:")])],
    anytrue([for service in values(var.services) : service.enable_execute_command]) ? ["kms", "ssmmessages"] : [],
  )
  public_subnets           = try(!var.load_balancer.internal, false)
  flow_log_traffic         = var.network.flow_log_traffic
  flow_log_retention_days  = var.network.flow_log_retention_days
  kms_key_arn              = local.kms_key_arn
  role_path                = local.role_path
  permissions_boundary_arn = var.permissions_boundary_arn
  tags                     = var.tags
}

resource "aws_ecs_cluster" "this" {
  name = local.name_prefix
  tags = var.tags

  setting {
    name  = "containerInsights"
    value = "enabled"
  }

  # Stands whether or not a service uses ECS Exec, so that turning it on for one touches nothing shared.
  configuration {
    execute_command_configuration {
      kms_key_id = local.kms_key_arn
      logging    = "OVERRIDE"

      log_configuration {
        cloud_watch_encryption_enabled = true
        cloud_watch_log_group_name     = aws_cloudwatch_log_group.exec.name
      }
    }
  }
}

resource "aws_cloudwatch_log_group" "exec" {
  name              = "/ecs/${local.name_prefix}/_exec"
  retention_in_days = 365
  kms_key_id        = local.kms_key_arn
  tags              = var.tags
}

#### What each service has to itself

module "ecr" {
  source   = "../ecr"
  for_each = var.services

  name         = "${local.name_prefix}/${each.key}"
  kms_key_arn  = local.kms_key_arn
  keep_images  = each.value.keep_images
  force_delete = var.force_delete_repositories
  tags         = var.tags
}

resource "aws_cloudwatch_log_group" "service" {
  for_each = var.services

  name              = "/ecs/${local.name_prefix}/${each.key}"
  retention_in_days = each.value.log_retention_days
  kms_key_id        = local.kms_key_arn
  tags              = var.tags
}

module "iam" {
  source   = "../iam"
  for_each = var.services

  name                          = "${local.name_prefix}-${each.key}"
  account_id                    = local.account_id
  region                        = local.region
  partition                     = local.partition
  path                          = local.role_path
  permissions_boundary_arn      = var.permissions_boundary_arn
  restrict_execution_role_trust = var.restrict_execution_role_trust
  repository_arn                = module.ecr[each.key].repository_arn
  log_group_arn                 = aws_cloudwatch_log_group.service[each.key].arn
  secret_arns                   = values(each.value.secrets)
  secrets_kms_key_arns          = each.value.secrets_kms_key_arns
  task_role_statements          = each.value.task_role_statements
  execute_command = each.value.enable_execute_command ? {
    log_group_arn = aws_cloudwatch_log_group.exec.arn
    kms_key_arn   = local.kms_key_arn
  } : null
  tags = var.tags
}

module "ecs" {
  source   = "../ecs"
  for_each = var.services

  name        = each.key
  task_family = "${local.name_prefix}-${each.key}"
  cluster_arn = aws_ecs_cluster.this.arn
  region      = local.region
  tags        = var.tags

  repository_url           = module.ecr[each.key].repository_url
  container_port           = each.value.container_port
  cpu                      = each.value.cpu
  memory                   = each.value.memory
  cpu_architecture         = each.value.cpu_architecture
  user                     = each.value.user
  readonly_root_filesystem = each.value.readonly_root_filesystem
  stop_timeout_seconds     = each.value.stop_timeout_seconds
  environment              = each.value.environment
  secrets                  = each.value.secrets
  health_check             = each.value.health_check
  log_group_name           = aws_cloudwatch_log_group.service[each.key].name
  execution_role_arn       = module.iam[each.key].execution_role_arn
  task_role_arn            = module.iam[each.key].task_role_arn

  minimum_healthy_percent       = each.value.minimum_healthy_percent
  maximum_percent               = each.value.maximum_percent
  availability_zone_rebalancing = each.value.availability_zone_rebalancing
  deployment_alarms             = each.value.deployment_alarms
  enable_execute_command        = each.value.enable_execute_command
  autoscaling                   = each.value.autoscaling

  vpc_id           = local.network.vpc_id
  subnet_ids       = local.network.private_subnet_ids
  assign_public_ip = each.value.assign_public_ip
  ingress          = each.value.ingress
  egress           = merge(local.network.https_egress, each.value.egress)
  load_balancer = one([
    for rule in each.value.load_balancer[*] : merge(rule, {
      listener_arn      = module.load_balancer[0].listener_arn
      security_group_id = module.load_balancer[0].security_group_id
      blue_green = one([
        for wanted in rule.blue_green[*] : {
          role_path                = local.role_path
          permissions_boundary_arn = var.permissions_boundary_arn
          restrict_role_trust      = wanted.restrict_role_trust
          test = var.load_balancer.test_listener == null ? null : {
            listener_arn = aws_lb_listener.test[0].arn
            priority     = wanted.test_priority
          }
        }
      ])
    })
  ])
}
