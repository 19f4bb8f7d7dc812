"""What general scanners miss: exact trust in GitHub's OIDC provider, and no long-lived keys.

    checkov -d ROOT --external-checks-dir terraform/checks     judges the configuration, as far as it is literal
    python terraform/checks/plan_trusts.py PLAN.json           judges a plan, where every value is known

checkov loads checks only from a folder that has this file. `web_identity` holds the rules, once for both; it and
`plan_trusts` need the standard library alone. Nothing here reads more than it is given, or changes anything.
"""
