locals {
  # One role a task. A job with an environment has no branch in its subject: the environment's deployment branch rule on
  # GitHub decides which branches get that far. Such a job gets all roles of its environment, and of the one that its
  # releases come from the role that reads them.
  roles = merge([
    for name in keys(var.environments) : {
      "${var.project}-${name}-plan" = {
        description              = "Plans ${name}; reads, and locks the state."
        pull_request             = true
        environments             = [name]
        branches                 = var.push_branches
        job_workflow_refs        = []
        managed_policies         = { read = module.permissions[name].read_policy_arn }
        policies                 = { plan = module.permissions[name].plan_policy }
        permissions_boundary_arn = var.permissions_boundary_arn
      }
      "${var.project}-${name}-push" = {
        description              = "Pushes the images of ${name}."
        pull_request             = false
        environments             = [name]
        branches                 = var.push_branches
        job_workflow_refs        = []
        managed_policies         = {}
        policies                 = { push = module.permissions[name].push_policy }
        permissions_boundary_arn = var.permissions_boundary_arn
      }
      "${var.project}-${name}-apply" = {
        description              = "Applies Terraform to ${name}."
        pull_request             = false
        environments             = [name]
        branches                 = []
        job_workflow_refs        = var.job_workflow_refs
        managed_policies         = { read = module.permissions[name].read_policy_arn }
        policies                 = { apply = module.permissions[name].apply_policy }
        permissions_boundary_arn = var.permissions_boundary_arn
      }
      "${var.project}-${name}-deploy" = {
        description              = "Rolls out the services of ${name}."
        pull_request             = false
        environments             = setunion([name], var.environments[name].promotes_to)
        branches                 = []
        job_workflow_refs        = var.job_workflow_refs
        managed_policies         = { watch = module.permissions[name].watch_policy_arn }
        policies                 = { deploy = module.permissions[name].deploy_policy }
        permissions_boundary_arn = var.permissions_boundary_arn
      }
    }
  ]...)
}

module "permissions" {
  source   = "../modules/permissions"
  for_each = var.environments

  project          = var.project
  environment      = each.key
  services         = each.value.services
  protected        = each.value.protected
  trusted_accounts = each.value.trusted_accounts
  state_bucket     = var.state_bucket
  account_id       = var.account_id
  region           = var.region
  partition        = var.partition
}

module "oidc" {
  source = "../modules/oidc"

  account_id      = var.account_id
  partition       = var.partition
  issuer_url      = var.issuer_url
  create_provider = var.create_provider
  roles           = { for name, role in local.roles : name => merge(role, { repository = var.repository }) }

  # By this tag `orch bootstrap` knows whether the provider is in this state or in somebody else's.
  provider_tags = { "orch:state" = "${var.state_bucket}/bootstrap/terraform.tfstate" }
}
