locals {
  prefix = "${var.project}-${var.environment}"

  # One path for what the environment's identities hang on; only roles under the same path may carry this boundary.
  path = "/orch/${local.prefix}/"
}

# Every role that Terraform makes in the environment must carry it (the role apply can make no other), and no
# role of the pipeline may change it.
resource "aws_iam_policy" "boundary" {
  name        = "boundary"
  path        = local.path
  description = "What the tasks of ${local.prefix} may at most do."
  policy      = data.aws_iam_policy_document.boundary.minified_json
  tags        = var.tags
}

# Managed, because both pipeline roles that read it would exceed what IAM allows in inline policies.
resource "aws_iam_policy" "read" {
  name        = "read"
  path        = local.path
  description = "What terraform plan reads of ${local.prefix}, its state, and the state's lock."
  policy      = data.aws_iam_policy_document.read.minified_json
  tags        = var.tags
}

# Managed, because it and what the role writes would exceed what IAM allows in inline policies.
resource "aws_iam_policy" "watch" {
  name        = "watch"
  path        = local.path
  description = "What orch reads of ${local.prefix} to roll its services out, and to tell why one fails."
  policy      = data.aws_iam_policy_document.watch.minified_json
  tags        = var.tags
}
