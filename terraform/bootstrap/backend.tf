# Bucket and region stand in orch.toml alone; `orch bootstrap` creates the bucket and hands both over at init.
terraform {
  backend "s3" {
    key          = "bootstrap/terraform.tfstate"
    encrypt      = true
    use_lockfile = true
  }
}
