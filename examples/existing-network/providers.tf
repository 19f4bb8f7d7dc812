provider "aws" {
  region = var.region

  # Credentials for another account are refused before anything is read or changed.
  allowed_account_ids = [var.account_id]

  default_tags {
    tags = {
      Project     = var.project
      Environment = var.environment
      ManagedBy   = "terraform"
    }
  }
}
