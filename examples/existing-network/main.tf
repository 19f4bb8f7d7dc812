module "environment" {
  source = "../../terraform/modules/environment"

  project                  = var.project
  environment              = var.environment
  permissions_boundary_arn = var.permissions_boundary_arn

  existing_network = {
    vpc_id             = var.vpc_id
    private_subnet_ids = var.private_subnet_ids

    # The VPC's own endpoints for ECR, CloudWatch Logs, Secrets Manager and SQS, and S3 behind its gateway, where ECR
    # keeps the layers of images. Without this the tasks may reach all of the internet by HTTPS.
    https_egress = {
      endpoints = { security_group_id = var.endpoints_security_group_id }
      s3        = { prefix_list_id = var.s3_prefix_list_id }
    }
  }

  load_balancer = {
    certificate_arn     = var.certificate_arn
    ingress_cidr_blocks = var.client_cidr_blocks
    access_logs_bucket  = var.access_logs_bucket
  }

  services = {
    web = {
      container_port = 8080
      desired_count  = 2

      environment = { LOG_LEVEL = "info" }

      # The key "url" of the secret's JSON; the two empty parts stand for the newest version.
      secrets              = { DATABASE_URL = "${var.database_secret_arn}:url::" }
      secrets_kms_key_arns = var.database_kms_key_arns

      health_check = { command = ["CMD", "/web", "--health"] }

      load_balancer = {
        priority          = 100
        path_patterns     = ["/*"]
        health_check_path = "/health"
      }

      task_role_statements = {
        SendOrders = {
          actions   = ["sqs:SendMessage"]
          resources = [var.orders_queue_arn]
        }
      }

      egress = { database = { security_group_id = var.database_security_group_id, port = 5432 } }
    }

    # Listens on no port, so nothing can reach it.
    worker = {
      cpu    = 512
      memory = 1024

      secrets              = { DATABASE_URL = "${var.database_secret_arn}:url::" }
      secrets_kms_key_arns = var.database_kms_key_arns

      task_role_statements = {
        TakeOrders = {
          actions   = ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility", "sqs:GetQueueAttributes"]
          resources = [var.orders_queue_arn]
        }
      }

      egress = { database = { security_group_id = var.database_security_group_id, port = 5432 } }
    }
  }
}
