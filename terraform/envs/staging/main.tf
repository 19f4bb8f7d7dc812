module "environment" {
  source = "../../modules/environment"

  project                       = var.project
  environment                   = var.environment
  permissions_boundary_arn      = var.permissions_boundary_arn
  restrict_execution_role_trust = var.restrict_execution_role_trust
  force_delete_repositories     = var.force_delete_repositories
  network                       = var.network
  existing_network              = var.existing_network
  load_balancer                 = var.load_balancer
  services                      = var.services
}
