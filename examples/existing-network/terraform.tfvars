# Made-up ids: replace each with your own.
project     = "shop"
environment = "prod"
account_id  = "444444444444"
region      = "eu-central-1"

# Every role of this environment is bounded by this policy, which `orch bootstrap` creates.
permissions_boundary_arn = "arn:aws:iam::444444444444:policy/orch/shop-prod/boundary"

vpc_id                      = "vpc-0123456789abcdef0"
private_subnet_ids          = ["subnet-0123456789abcdef0", "subnet-0123456789abcdef1"]
endpoints_security_group_id = "sg-0123456789abcdef0"
s3_prefix_list_id           = "pl-0123456789abcdef0"

client_cidr_blocks = ["10.0.0.0/8"]
certificate_arn    = "arn:aws:acm:eu-central-1:444444444444:certificate/00000000-0000-4000-8000-000000000000"
access_logs_bucket = "shop-access-logs"

database_security_group_id = "sg-0123456789abcdef1"
database_secret_arn        = "arn:aws:secretsmanager:eu-central-1:444444444444:secret:shop/database-a1b2c3"
database_kms_key_arns      = ["arn:aws:kms:eu-central-1:444444444444:key/00000000-0000-4000-8000-000000000000"]
orders_queue_arn           = "arn:aws:sqs:eu-central-1:444444444444:orders"
