# Bucket and region stand in orch.toml alone; orch hands them over at init, and by hand it is
#   terraform init -backend-config=bucket=NAME -backend-config=region=REGION
terraform {
  backend "s3" {
    key          = "shop/terraform.tfstate"
    encrypt      = true
    use_lockfile = true
  }
}
