mock_provider "aws" {
  mock_data "aws_caller_identity" {
    defaults = { account_id = "111111111111" }
  }
  mock_data "aws_partition" {
    defaults = { partition = "aws" }
  }
  mock_data "aws_region" {
    defaults = { id = "eu-central-1" }
  }
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{\"Version\":\"2012-10-17\",\"Statement\":[]}" }
  }
  mock_resource "aws_kms_key" {
    defaults = { arn = "arn:aws:kms:eu-central-1:111111111111:key/00000000-0000-4000-8000-000000000000" }
  }
  mock_resource "aws_cloudwatch_log_group" {
    defaults = { arn = "arn:aws:logs:eu-central-1:111111111111:log-group:mock" }
  }
  mock_resource "aws_ecs_cluster" {
    defaults = { arn = "arn:aws:ecs:eu-central-1:111111111111:cluster/demo-dev" }
  }
  mock_resource "aws_ecr_repository" {
    defaults = {
      arn            = "arn:aws:ecr:eu-central-1:111111111111:repository/mock"
      repository_url = "111111111111.dkr.ecr.eu-central-1.amazonaws.com/mock"
    }
  }
  mock_resource "aws_ecs_task_definition" {
    defaults = { arn = "arn:aws:ecs:eu-central-1:111111111111:task-definition/mock:1" }
  }
  mock_resource "aws_lb" {
    defaults = {
      arn      = "arn:aws:elasticloadbalancing:eu-central-1:111111111111:loadbalancer/app/demo-dev/0123456789abcdef"
      dns_name = "demo-dev.example.com"
    }
  }
  mock_resource "aws_lb_listener" {
    defaults = { arn = "arn:aws:elasticloadbalancing:eu-central-1:111111111111:listener/app/demo-dev/0123456789abcdef/0123456789abcdef" }
  }
  mock_resource "aws_lb_target_group" {
    defaults = { arn = "arn:aws:elasticloadbalancing:eu-central-1:111111111111:targetgroup/hello/0123456789abcdef" }
  }
  mock_resource "aws_lb_listener_rule" {
    defaults = { arn = "arn:aws:elasticloadbalancing:eu-central-1:111111111111:listener-rule/app/demo-dev/0123456789abcdef/0123456789abcdef/mock" }
  }
}

# The two roles of a service must have different ARNs.
override_resource {
  target = module.iam["hello"].aws_iam_role.execution
  values = { arn = "arn:aws:iam::111111111111:role/orch/demo-dev/demo-dev-hello-execution" }
}

override_resource {
  target = module.iam["hello"].aws_iam_role.task
  values = { arn = "arn:aws:iam::111111111111:role/orch/demo-dev/demo-dev-hello-task" }
}

override_resource {
  target = module.iam["worker"].aws_iam_role.execution
  values = { arn = "arn:aws:iam::111111111111:role/orch/demo-dev/demo-dev-worker-execution" }
}

override_resource {
  target = module.iam["worker"].aws_iam_role.task
  values = { arn = "arn:aws:iam::111111111111:role/orch/demo-dev/demo-dev-worker-task" }
}

override_resource {
  target = module.network[0].aws_iam_role.flow
  values = { arn = "arn:aws:iam::111111111111:role/orch/demo-dev/demo-dev-vpc-flow-log" }
}

variables {
  project     = "demo"
  environment = "dev"
  services    = { hello = { container_port = 8080, desired_count = 2 } }
}

run "contract_names_everything_orch_needs" {
  assert {
    # As JSON, for a null has a type of its own.
    condition = jsonencode(output.orch) == jsonencode({
      contract   = 1
      account_id = "111111111111"
      region     = "eu-central-1"
      services = {
        hello = {
          repository_url     = "111111111111.dkr.ecr.eu-central-1.amazonaws.com/mock"
          cluster            = "demo-dev"
          service            = "hello"
          container          = "hello"
          skeleton_arn       = "arn:aws:ecs:eu-central-1:111111111111:task-definition/mock:1"
          task_family        = "demo-dev-hello"
          log_group          = "/ecs/demo-dev/hello"
          execution_role_arn = "arn:aws:iam::111111111111:role/orch/demo-dev/demo-dev-hello-execution"
          task_role_arn      = "arn:aws:iam::111111111111:role/orch/demo-dev/demo-dev-hello-task"
          desired_count      = 2
          blue_green         = null
        }
      }
    })
    error_message = "The output orch must have exactly the fields of contract 1."
  }
  assert {
    condition     = aws_kms_key.this[0].enable_key_rotation && aws_cloudwatch_log_group.service["hello"].kms_key_id == aws_kms_key.this[0].arn
    error_message = "Logs must be encrypted with the environment's own, rotating key."
  }
  assert {
    condition     = length(module.load_balancer) == 0 && output.load_balancer_dns_name == null
    error_message = "No load balancer must be made unless asked for."
  }
}

run "services_and_load_balancer_compose" {
  variables {
    load_balancer = {
      certificate_arn     = "arn:aws:acm:eu-central-1:111111111111:certificate/00000000-0000-4000-8000-000000000000"
      ingress_cidr_blocks = ["192.0.2.0/24"]
      internal            = false
    }
    services = {
      hello = { container_port = 8080, load_balancer = { priority = 10, path_patterns = ["/*"] } }
      worker = {
        secrets                  = { DB = "arn:aws:ssm:eu-central-1:111111111111:parameter/db" }
        enable_execute_command   = true
        readonly_root_filesystem = false
      }
    }
  }

  assert {
    condition     = keys(output.orch.services) == ["hello", "worker"] && keys(output.security_group_ids) == ["hello", "worker"]
    error_message = "Each service must have its own parts."
  }
  assert {
    condition     = aws_ecs_cluster.this.configuration[0].execute_command_configuration[0].logging == "OVERRIDE" && aws_ecs_cluster.this.configuration[0].execute_command_configuration[0].log_configuration[0].cloud_watch_log_group_name == "/ecs/demo-dev/_exec"
    error_message = "Sessions of ECS Exec must be logged, encrypted."
  }
  assert {
    condition     = length(module.load_balancer) == 1 && output.load_balancer_dns_name == "demo-dev.example.com"
    error_message = "The load balancer must be made and named."
  }
}

# The plan after an apply: what carries the traffic must be left alone (tests/contract reads the whole plan).
run "blue_green_is_added_to_a_service_that_runs" {
  command = plan

  variables {
    load_balancer = {
      certificate_arn     = "arn:aws:acm:eu-central-1:111111111111:certificate/00000000-0000-4000-8000-000000000000"
      ingress_cidr_blocks = ["192.0.2.0/24"]
      internal            = false
      test_listener       = { ingress_cidr_blocks = ["198.51.100.0/24"] }
    }
    services = {
      hello = { container_port = 8080, load_balancer = { priority = 10, path_patterns = ["/*"], blue_green = {} } }
      worker = {
        secrets                  = { DB = "arn:aws:ssm:eu-central-1:111111111111:parameter/db" }
        enable_execute_command   = true
        readonly_root_filesystem = false
      }
    }
  }

  assert {
    condition     = output.orch.services["hello"].blue_green.production_listener_rule_arn == "arn:aws:elasticloadbalancing:eu-central-1:111111111111:listener-rule/app/demo-dev/0123456789abcdef/0123456789abcdef/mock"
    error_message = "The rule that carries the traffic must stay the same."
  }
  assert {
    condition     = aws_lb_listener.test[0].port == 8443 && aws_lb_listener.test[0].protocol == "HTTPS" && aws_lb_listener.test[0].certificate_arn == var.load_balancer.certificate_arn
    error_message = "The test listener must speak HTTPS as production's does."
  }
  assert {
    condition     = output.orch.services["worker"].blue_green == null
    error_message = "A service without blue_green must say so."
  }
}

run "an_existing_network_is_used_as_it_is" {
  command = plan

  variables {
    existing_network = {
      vpc_id             = "vpc-0123456789abcdef0"
      private_subnet_ids = ["subnet-0123456789abcdef0"]
    }
  }

  assert {
    condition     = length(module.network) == 0 && output.vpc_id == "vpc-0123456789abcdef0"
    error_message = "With an existing network no VPC must be made."
  }
}

# The plan after an apply: the first service and what is shared must be left alone (tests/contract reads the whole plan).
run "one_service" {
  variables {
    services = { hello = { container_port = 8080, desired_count = 2 } }
  }

  assert {
    condition     = keys(output.orch.services) == ["hello"]
    error_message = "There must be one service to begin with."
  }
}

run "a_second_service_leaves_the_first_alone" {
  command = plan

  variables {
    services = {
      hello  = { container_port = 8080, desired_count = 2 }
      worker = { cpu = 512, memory = 1024, deployment_alarms = { alarm_names = ["worker-errors"], rollback = false } }
    }
  }

  assert {
    condition     = output.orch.services["hello"] == run.one_service.orch.services["hello"]
    error_message = "The contract of the first service must not change."
  }
  assert {
    condition     = output.security_group_ids["hello"] == run.one_service.security_group_ids["hello"] && output.cluster_arn == run.one_service.cluster_arn
    error_message = "The first service must keep its security group and its cluster."
  }
}
