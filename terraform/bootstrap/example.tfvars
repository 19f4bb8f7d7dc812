# What `orch bootstrap` hands over for two environments in one account; scanners and people without orch use it.
project      = "demo"
account_id   = "111111111111"
region       = "eu-central-1"
state_bucket = "orch-state-111111111111-eu-central-1"
repository   = "acme/demo"

environments = {
  dev  = { services = ["hello"] }
  prod = { services = ["hello", "worker"], protected = true, trusted_accounts = ["444444444444"] }
}
