"""terraform/checks: one truth table of trust policies, judged as JSON, by checkov on configurations, and on plans.

checkov and Terraform each run once for all: every row of the table stands in one generated root.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.terraform.mirror import cli_config
from tests.conftest import require_tool

REPOSITORY = Path(__file__).parents[2]
CHECKS = REPOSITORY / "terraform" / "checks"
CHECKOV = REPOSITORY / ".venv-scanners" / "bin" / "checkov"

ISSUER = "token.actions.githubusercontent.com"
PROVIDER = f"arn:aws:iam::123456789012:oidc-provider/{ISSUER}"
GOOD = "repo:acme/demo:environment:prod"
ROOT = "arn:aws:iam::123456789012:root"


def load(name: str):
    """A file of terraform/checks as a module: no package, since checkov too finds the files by their folder."""
    spec = importlib.util.spec_from_file_location(name, CHECKS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


web_identity = load("web_identity")
plan_trusts = load("plan_trusts")


def trust(sub=GOOD, aud="sts.amazonaws.com", operator="StringEquals", **elements):
    """One statement, good but for what is given; a value of None leaves its key out."""
    asked = {f"{ISSUER}:aud": aud, f"{ISSUER}:sub": sub}
    statement = {
        "Effect": "Allow",
        "Action": "sts:AssumeRoleWithWebIdentity",
        "Principal": {"Federated": PROVIDER},
        "Condition": {operator: {key: value for key, value in asked.items() if value is not None}},
    } | elements
    return {key: value for key, value in statement.items() if value is not None}


def condition(**operators):
    """A condition from OPERATOR={claim: value}."""
    return {
        operator.replace("__", ":"): {f"{ISSUER}:{claim}": value for claim, value in claims.items()}
        for operator, claims in operators.items()
    }


BOTH = {"aud": "sts.amazonaws.com", "sub": GOOD}
OTHER = trust(Action="sts:AssumeRole", Principal={"Service": "ecs-tasks.amazonaws.com"}, Condition=None)

# Name → the statements of one policy.
UNSAFE = {
    # Of these, checkov's own check passes the two with StringLike, ForAllValues, and all where the provider is a reference.
    "no_sub": [trust(sub=None)],
    "sub_star": [trust("*")],
    "sub_any_repository": [trust("repo:*")],
    "like_owner_without_aud": [trust("repo:acme/*", aud=None, operator="StringLike")],
    "like_repository": [trust("repo:acme/demo:*", operator="StringLike")],
    "for_all_values": [trust(operator="ForAllValues:StringEquals")],
    "no_condition": [trust(Condition=None)],
    # The audience.
    "no_aud": [trust(aud=None)],
    "other_aud": [trust(aud="https://github.com/acme")],
    "aud_of_two": [trust(aud=["sts.amazonaws.com", "https://github.com/acme"])],
    "aud_star": [trust(aud="*")],
    "aud_none": [trust(aud=[])],
    "like_aud_only": [
        trust(Condition=condition(StringLike={"aud": "sts.amazonaws.com"}, StringEquals={"sub": GOOD}))
    ],
    # The operator.
    "like_without_wildcard": [trust(operator="StringLike")],
    "if_exists": [trust(operator="StringEqualsIfExists")],
    "ignore_case": [trust(operator="StringEqualsIgnoreCase")],
    "not_equals": [trust(operator="StringNotEquals")],
    "for_any_value": [trust(operator="ForAnyValue:StringEquals")],
    "like_beside_equals": [trust(Condition=condition(StringEquals=BOTH, StringLike={"sub": "repo:acme/*"}))],
    "if_exists_sub_only": [
        trust(
            Condition=condition(StringEquals={"aud": "sts.amazonaws.com"}, StringEqualsIfExists={"sub": GOOD})
        )
    ],
    # The subject.
    "sub_none": [trust([])],
    "sub_empty": [trust("")],
    "sub_question_mark": [trust("repo:acme/demo:environment:pro?")],
    "sub_star_in_equals": [trust("repo:acme/demo:*")],
    "sub_star_in_environment": [trust("repo:acme/demo:environment:*")],
    "sub_star_in_branch": [trust("repo:acme/demo:ref:refs/heads/release/*")],
    "sub_star_in_immutable": [trust("repo:acme@12/demo@34:*")],
    "sub_one_bad_of_two": [trust([GOOD, "repo:acme/demo:*"])],
    "sub_one_bad_of_three": [trust([GOOD, "repo:acme/demo:pull_request", "repo:acme/demo"])],
    "no_context": [trust("repo:acme/demo")],
    "no_context_but_colon": [trust("repo:acme/demo:")],
    "no_context_immutable": [trust("repo:acme@12/demo@34")],
    "no_context_value": [trust("repo:acme/demo:environment")],
    "empty_environment": [trust("repo:acme/demo:environment:")],
    "no_repository_name": [trust("repo:acme:environment:prod")],
    "half_immutable": [trust("repo:acme@12/demo:environment:prod")],
    "immutable_by_dash": [trust("repo:acme-12/demo-34/x:environment:prod")],
    "bare_branch_name": [trust("repo:acme/demo:ref:main")],
    "anybodys_environment": [trust("environment:prod")],
    "anybodys_branch": [trust("ref:refs/heads/main")],
    "anybodys_workflow_name": [trust("workflow:deploy")],
    "owner_only": [trust("repository_owner:acme")],
    "owner_and_environment": [trust("repository_owner:acme:environment:prod")],
    "repository_id_only": [trust("repository_id:34")],
    "repository_and_its_owner": [trust("repo:acme/demo:repository_owner:acme")],
    "policy_variable": [trust("repo:acme/demo:environment:${aws:PrincipalTag/env}")],
    "policy_variable_without_colon": [trust("repo:acme/demo:environment:${environment}")],
    "job_workflow_ref_star": [trust("job_workflow_ref:acme/ci/.github/workflows/deploy.yml@*")],
    "job_workflow_ref_without_ref": [trust("job_workflow_ref:acme/ci/.github/workflows/deploy.yml")],
    # The action.
    "action_sts_star": [trust(Action="sts:*")],
    "action_star": [trust(Action="*")],
    "action_pattern": [trust(Action="sts:AssumeRoleWith*")],
    "action_question_marks": [trust(Action="sts:AssumeRoleWithWebIdentit?")],
    "action_wide_beside_exact": [trust(Action=["sts:AssumeRoleWithWebIdentity", "sts:*"])],
    "action_in_lower_case": [trust("repo:acme/*", Action="sts:assumerolewithwebidentity")],
    "action_one_of_two": [trust("repo:acme/*", Action=["sts:TagSession", "sts:AssumeRoleWithWebIdentity"])],
    "not_action": [trust(Action=None, NotAction="s3:GetObject")],
    # Whom it lets in.
    "aws_root_in_one_statement": [trust(Principal={"Federated": PROVIDER, "AWS": ROOT})],
    "aws_star_in_one_statement": [trust(Principal={"Federated": PROVIDER, "AWS": "*"})],
    "aws_root_in_another": [trust(), trust(Action="sts:AssumeRole", Principal={"AWS": ROOT}, Condition=None)],
    "aws_star_in_another": [
        trust(),
        trust(Action="sts:AssumeRole", Principal={"AWS": ["*"]}, Condition=None),
    ],
    "aws_account_in_another": [
        trust(),
        trust(Action="sts:AssumeRole", Principal={"AWS": "123456789012"}, Condition=None),
    ],
    "no_federated_principal": [trust(Principal={"AWS": "arn:aws:iam::123456789012:role/x"})],
    "no_federated_principal_in_lower_case": [
        trust(Action="sts:assumerolewithwebidentity", Principal={"AWS": "arn:aws:iam::123456789012:role/x"})
    ],
    "not_principal_and_wide_action": [
        trust(Action="sts:*", Principal=None, NotPrincipal={"AWS": "arn:aws:iam::123456789012:role/x"})
    ],
    "federated_star": [trust(Principal={"Federated": "*"})],
    "not_principal": [trust(Principal=None, NotPrincipal={"AWS": "arn:aws:iam::123456789012:role/x"})],
    # Issuers and statements.
    "claims_of_two_issuers": [
        trust(
            Condition={
                "StringEquals": {f"{ISSUER}:aud": "sts.amazonaws.com", "oidc.example.com:sub": GOOD},
            }
        )
    ],
    "claims_of_another_issuer": [
        trust(
            Condition={
                "StringEquals": {"oidc.example.com:aud": "sts.amazonaws.com", "oidc.example.com:sub": GOOD},
            }
        )
    ],
    "second_statement_loose": [trust(), trust("repo:acme/*", operator="StringLike")],
    "last_statement_loose": [trust(), OTHER, trust(Condition=None)],
}

SAFE = {
    "environment": [trust()],
    "environment_as_list": [trust([GOOD], aud=["sts.amazonaws.com"])],
    "environment_with_colon": [trust("repo:acme/demo:environment:Production%3AV1")],
    "environment_with_space": [trust("repo:acme/demo:environment:prod eu")],
    "branch": [trust("repo:acme/demo:ref:refs/heads/main")],
    "branch_with_slash": [trust("repo:acme/demo:ref:refs/heads/release/1.x")],
    "tag": [trust("repo:acme/demo:ref:refs/tags/v1.2.3")],
    "pull_request": [trust("repo:acme/demo:pull_request")],
    "immutable_environment": [trust("repo:acme@12/demo@34:environment:prod")],
    "immutable_branch": [trust("repo:acme@12/demo@34:ref:refs/heads/main")],
    "immutable_pull_request": [trust("repo:acme@12/demo@34:pull_request")],
    "job_workflow_ref": [trust("job_workflow_ref:acme/ci/.github/workflows/deploy.yml@refs/heads/main")],
    "repository_and_workflow": [
        trust("repo:acme/demo:job_workflow_ref:acme/ci/.github/workflows/deploy.yml@refs/tags/v1")
    ],
    "customised": [trust("repository_owner:acme:repository_id:34:environment:prod")],
    "several_exact": [trust([GOOD, "repo:acme/demo:environment:staging"])],
    "narrowed_further": [
        trust(Condition=condition(StringEquals=BOTH, StringLike={"job_workflow_ref": "acme/ci/*"}))
    ],
    "keys_in_upper_case": [
        trust(Condition={"StringEquals": {f"{ISSUER}:AUD": "sts.amazonaws.com", f"{ISSUER}:Sub": GOOD}})
    ],
    "beside_a_service": [trust(), OTHER],
    "beside_one_role": [
        trust(),
        trust(Action="sts:AssumeRole", Principal={"AWS": "arn:aws:iam::123456789012:role/x"}, Condition=None),
    ],
    "denied": [trust(), trust("repo:acme/*", Effect="Deny", operator="StringLike")],
    "everybody_denied_beside_it": [
        trust(),
        trust(Effect="Deny", Action="sts:AssumeRole", Principal={"AWS": "*"}, Condition=None),
    ],
    "no_web_identity": [OTHER],
    "whole_account_without_web_identity": [
        trust(Action="sts:AssumeRole", Principal={"AWS": ROOT}, Condition=None)
    ],
    "not_action_that_leaves_it_out": [
        trust(Action=None, NotAction="sts:AssumeRole*", Condition=None),
    ],
}
TABLE = UNSAFE | SAFE

# Configurations that no JSON can say. Each is the body of an aws_iam_policy_document, and whether it must pass.
PLAIN = f"""
    actions = ["sts:AssumeRoleWithWebIdentity"]
    principals {{
      type        = "Federated"
      identifiers = [aws_iam_openid_connect_provider.github.arn]
    }}
    condition {{
      test     = "StringEquals"
      variable = "{ISSUER}:aud"
      values   = ["sts.amazonaws.com"]
    }}
"""
ANY_AUDIENCE = PLAIN.replace('["sts.amazonaws.com"]', '["*"]')


def sub(values: str, test: str = '"StringEquals"', variable: str = f'"{ISSUER}:sub"') -> str:
    return f"condition {{\n test = {test}\n variable = {variable}\n values = {values}\n}}\n"


def dynamic(kind: str, content: str, each: str = "var.unknown_list") -> str:
    return f'dynamic "{kind}" {{\n for_each = {each}\n content {{\n{content}}}\n}}\n'


def statement(content: str) -> str:
    return f"statement {{\n{content}}}\n"


EXPRESSIONS = {
    # Only a plan knows the value.
    "value_from_variable": (statement(PLAIN + sub("[var.unknown]")), True),
    "values_from_variable": (statement(PLAIN + sub("var.unknown_list")), True),
    "values_from_function": (statement(PLAIN + sub("[for e in var.unknown_list : e]")), True),
    "value_from_template": (statement(PLAIN + sub('["repo:${var.unknown}:environment:prod"]')), True),
    "issuer_from_local": (statement(PLAIN + sub("[var.unknown]", variable='"${local.issuer}:sub"')), True),
    "statement_per_value": (dynamic("statement", PLAIN + sub("[statement.value]")), True),
    "more_conditions_per_value": (
        statement(
            PLAIN
            + sub("[var.unknown]")
            + dynamic(
                "condition",
                f'test="StringEquals"\n variable="{ISSUER}:job_workflow_ref"\n values=[condition.value]\n',
            )
        ),
        True,
    ),
    # What checkov can resolve counts as literal.
    "good_default": (statement(PLAIN + sub("[var.good]")), True),
    "bad_default": (statement(PLAIN + sub("[var.bad]")), False),
    "bad_local": (statement(PLAIN + sub("local.bad")), False),
    "bad_local_in_template": (statement(PLAIN + sub('["repo:${local.owner}/*"]')), False),
    # An unknown value beside a wildcard, or beside a bad one.
    "template_with_star": (statement(PLAIN + sub('["repo:${var.unknown}:*"]')), False),
    "template_with_question_mark": (
        statement(PLAIN + sub('["repo:${var.unknown}:environment:pro?"]')),
        False,
    ),
    "function_with_star": (statement(PLAIN + sub('concat(["repo:acme/*"], var.unknown_list)')), False),
    "known_bad_beside_unknown": (statement(PLAIN + sub('[var.unknown, "repo:acme/demo"]')), False),
    "known_bad_audience": (statement(ANY_AUDIENCE + sub("[var.unknown]")), False),
    "policy_variable_escaped": (
        statement(PLAIN + sub('["repo:acme/demo:environment:$${aws:userid}"]')),
        False,
    ),
    "policy_variable_ampersand": (
        statement(PLAIN + sub('["repo:acme/demo:environment:&{aws:userid}"]')),
        False,
    ),
    # Structure must be literal.
    "operator_from_variable": (statement(PLAIN + sub("[var.unknown]", test="var.unknown")), False),
    "key_from_variable": (statement(PLAIN + sub("[var.unknown]", variable="var.unknown")), False),
    "sub_in_dynamic_block": (
        statement(
            PLAIN
            + dynamic(
                "condition", f'test="StringEquals"\n variable="{ISSUER}:sub"\n values=[condition.value]\n'
            )
        ),
        False,
    ),
    "sub_added_in_dynamic_block": (
        statement(
            PLAIN
            + sub(f'["{GOOD}"]')
            + dynamic(
                "condition", f'test="StringEquals"\n variable="{ISSUER}:sub"\n values=[condition.value]\n'
            )
        ),
        False,
    ),
    "root_in_dynamic_block": (
        statement(
            PLAIN + sub(f'["{GOOD}"]') + dynamic("principals", f'type = "AWS"\n identifiers = ["{ROOT}"]\n')
        ),
        False,
    ),
    "account_by_reference": (
        statement(
            PLAIN
            + sub(f'["{GOOD}"]')
            + 'principals {\n type = "AWS"\n identifiers = [data.aws_caller_identity.this.account_id]\n}\n'
        ),
        False,
    ),
    "wide_action_of_unknown_provider": (
        statement(
            PLAIN.replace("[aws_iam_openid_connect_provider.github.arn]", "var.unknown_list").replace(
                "sts:AssumeRoleWithWebIdentity", "sts:*"
            )
            + sub(f'["{GOOD}"]')
        ),
        False,
    ),
    "providers_from_variable": (
        statement(
            PLAIN.replace("[aws_iam_openid_connect_provider.github.arn]", "var.unknown_list")
            + sub(f'["{GOOD}"]')
        ),
        True,
    ),
    "actions_from_variable": (
        statement(PLAIN.replace('["sts:AssumeRoleWithWebIdentity"]', "var.unknown_list")),
        False,
    ),
    "loose_dynamic_statement": (dynamic("statement", PLAIN), False),
    "loose_second_statement": (statement(PLAIN + sub(f'["{GOOD}"]')) + statement(PLAIN), False),
    "loose_json_taken_in": (
        (
            'source_policy_documents = [jsonencode({ Statement = { Effect = "Allow", Principal = { Federated = "x" }, '
            'Action = "sts:AssumeRoleWithWebIdentity" } })]\n'
        ),
        False,
    ),
}

# The same for the argument of a role.
ROLE_EXPRESSIONS = {
    "role_takes_a_document": ("data.aws_iam_policy_document.good_default.json", True),
    "role_takes_a_variable": ("var.unknown", True),
    "role_value_from_variable": (
        (
            'jsonencode({ Statement = [{ Effect = "Allow", Action = "sts:AssumeRoleWithWebIdentity", '
            "Principal = { Federated = var.unknown }, Condition = { StringEquals = { "
            f'"{ISSUER}:aud" = "sts.amazonaws.com", "{ISSUER}:sub" = var.unknown_list }} }} }}] }})'
        ),
        True,
    ),
    "role_heredoc_loose": (
        "<<-JSON\n" + json.dumps({"Statement": [trust("repo:acme/*", operator="StringLike")]}) + "\nJSON",
        False,
    ),
    "role_heredoc_good": ("<<-JSON\n" + json.dumps({"Statement": [trust()]}) + "\nJSON", True),
    "role_statements_by_function": (
        (
            'jsonencode({ Statement = concat([{ Effect = "Allow", Action = "sts:AssumeRoleWithWebIdentity", '
            "Principal = { Federated = var.unknown } }], []) })"
        ),
        False,
    ),
}


def hcl(value: object) -> str:
    """JSON is HCL, but for `${`, which HCL would read as an expression."""
    return json.dumps(value, ensure_ascii=False).replace("${", "$${")


def listed(value: object) -> list[object]:
    return value if isinstance(value, list) else [value]


def document(statements: list[dict]) -> str:
    """The body of an aws_iam_policy_document that says the same as the JSON."""
    text = ""
    for item in statements:
        body = f"effect = {hcl(item['Effect'])}\n"
        for element, argument in (("Action", "actions"), ("NotAction", "not_actions")):
            if element in item:
                body += f"{argument} = {hcl(listed(item[element]))}\n"
        for element, block in (("Principal", "principals"), ("NotPrincipal", "not_principals")):
            for kind, names in item.get(element, {}).items():
                body += f"{block} {{\n type = {hcl(kind)}\n identifiers = {hcl(listed(names))}\n}}\n"
        for operator, keys in item.get("Condition", {}).items():
            for key, values in keys.items():
                body += sub(hcl(listed(values)), hcl(operator), hcl(key))
        text += statement(body)
    return text


COMMON = f"""
variable "unknown" {{ type = string }}
variable "unknown_list" {{ type = list(string) }}
variable "good" {{ default = "{GOOD}" }}
variable "bad" {{ default = "repo:acme/*" }}
locals {{
  issuer = "{ISSUER}"
  owner  = "acme"
  bad    = ["repo:acme/*"]
}}
data "aws_caller_identity" "this" {{}}
resource "aws_iam_openid_connect_provider" "github" {{
  url            = "https://{ISSUER}"
  client_id_list = ["sts.amazonaws.com"]
}}
"""


@pytest.fixture(scope="module")
def rejected(tmp_path_factory) -> dict[str, list[str]]:
    """Address → the details of every finding of our checks, over each table as documents and as roles."""
    parts = [COMMON.replace(" {{", " {")]
    for name, statements in TABLE.items():
        parts.append(f'data "aws_iam_policy_document" "{name}" {{\n{document(statements)}}}\n')
        # In roles the provider is a reference: there checkov's own check sees nothing.
        policy = hcl({"Version": "2012-10-17", "Statement": statements})
        policy = policy.replace(f'"{PROVIDER}"', "aws_iam_openid_connect_provider.github.arn")
        parts.append(f'resource "aws_iam_role" "{name}" {{\n assume_role_policy = jsonencode({policy})\n}}\n')
    for name, (body, _) in EXPRESSIONS.items():
        parts.append(f'data "aws_iam_policy_document" "{name}" {{\n{body}}}\n')
    for name, (policy, _) in ROLE_EXPRESSIONS.items():
        parts.append(f'resource "aws_iam_role" "{name}" {{\n assume_role_policy = {policy}\n}}\n')
    parts += [f'resource "{kind}" "key" {{\n user = "x"\n}}\n' for kind in web_identity.LONG_LIVED]
    root = tmp_path_factory.mktemp("trusts")
    (root / "main.tf").write_text("\n".join(parts))
    command = [str(CHECKOV), "-d", str(root), "--framework", "terraform", "--skip-download", "-o", "json"]
    ours = ["--external-checks-dir", str(CHECKS), "--check", "CKV_ORCH_1,CKV_ORCH_2,CKV_ORCH_3"]
    done = subprocess.run([*command, *ours], capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    assert done.stderr == ""
    answer = json.loads(done.stdout)
    assert answer["summary"]["parsing_errors"] == 0
    results = answer["results"]
    judged = {record["resource"] for record in results["passed_checks"] + results["failed_checks"]}
    wanted = {f"{kind}.{name}" for kind in ("aws_iam_policy_document", "aws_iam_role") for name in TABLE}
    assert wanted <= judged
    return {record["resource"]: record["details"] for record in results["failed_checks"]}


@pytest.mark.parametrize("name", UNSAFE)
def test_unsafe_trust_is_told(name):
    assert web_identity.problems({"Statement": UNSAFE[name]})


@pytest.mark.parametrize("name", SAFE)
def test_safe_trust_passes(name):
    assert web_identity.problems({"Statement": SAFE[name]}) == []


def findings(rejected, kind: str, others: dict) -> dict[str, set[str]]:
    found = {address.removeprefix(f"{kind}."): set(details) for address, details in rejected.items()}
    return {name: details for name, details in found.items() if "." not in name and name not in others}


def as_written(provider: str) -> dict[str, set[str]]:
    """What the rules say of each unsafe policy as it stands in a configuration."""
    table = json.loads(json.dumps(UNSAFE).replace(PROVIDER, provider).replace("${", "$${"))
    said = {name: set(web_identity.problems({"Statement": statements})) for name, statements in table.items()}
    # An empty list may be one that checkov could not resolve: a plan tells.
    return {name: problems for name, problems in said.items() if name not in {"sub_none", "aud_none"}}


def test_checkov_says_of_documents_what_the_rules_say(rejected):
    assert findings(rejected, "aws_iam_policy_document", EXPRESSIONS) == as_written(PROVIDER)


def test_checkov_says_of_roles_what_the_rules_say(rejected):
    wanted = as_written("aws_iam_openid_connect_provider.github.arn")
    # Which issuer a reference stands for, only a plan tells.
    assert wanted.pop("claims_of_another_issuer") == set()
    assert findings(rejected, "aws_iam_role", ROLE_EXPRESSIONS) == wanted


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_checkov_lets_through_only_values_that_a_plan_must_tell(name, rejected):
    assert (f"aws_iam_policy_document.{name}" not in rejected) is EXPRESSIONS[name][1]


@pytest.mark.parametrize("name", ROLE_EXPRESSIONS)
def test_checkov_lets_through_only_role_values_that_a_plan_must_tell(name, rejected):
    assert (f"aws_iam_role.{name}" not in rejected) is ROLE_EXPRESSIONS[name][1]


def test_checkov_says_why(rejected):
    assert rejected["aws_iam_policy_document.like_owner_without_aud"] == [
        "asks sub by StringLike, not by plain StringEquals",
        "subject 'repo:acme/*' holds a wildcard",
        "does not ask aud",
    ]


def test_checkov_rejects_every_long_lived_credential(rejected):
    assert {f"{kind}.key" for kind in web_identity.LONG_LIVED} <= set(rejected)
    assert {"aws_iam_user", "aws_iam_access_key", "aws_iam_user_login_profile", "aws_iam_group"} <= set(
        web_identity.LONG_LIVED
    )


def test_the_whole_of_one_problem_is_said_once():
    loose = trust(["repo:acme/*", "environment:prod"], aud="x", operator="ForAllValues:StringLike")
    assert web_identity.problems({"Statement": [loose, loose]}) == [
        "asks aud by ForAllValues:StringLike, not by plain StringEquals",
        "audience 'x' is not sts.amazonaws.com",
        "asks sub by ForAllValues:StringLike, not by plain StringEquals",
        "subject 'repo:acme/*' holds a wildcard",
        "subject 'environment:prod' names no repository, so that any repository can claim it",
    ]


def test_elements_are_known_in_any_case():
    statement = {key.lower(): value for key, value in trust("repo:acme/*").items()}
    assert web_identity.problems({"statement": [statement]}) == ["subject 'repo:acme/*' holds a wildcard"]


KEYS = [
    "Statement",
    "Action",
    "NotAction",
    "Principal",
    "Federated",
    "Condition",
    "StringEquals",
    "statement",
    "actions",
    "principals",
    "condition",
    "type",
    "test",
    "variable",
    "values",
    "dynamic",
    "content",
    "token.actions.githubusercontent.com:aud",
]
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from(
        ["*", "Allow", "StringEquals", GOOD, f"{ISSUER}:sub", "sts:AssumeRoleWithWebIdentity", "${x", ""]
    )
    | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(KEYS),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(deadline=None)
@given(JSON, st.booleans())
def test_no_policy_makes_it_raise(value, expressions):
    # checkov takes a check that raises for one that has nothing to say.
    assert isinstance(web_identity.problems(value, expressions=expressions), list)
    if isinstance(value, dict):
        block = web_identity.statement_of_block(value)
        assert isinstance(web_identity.problems({"Statement": block}, expressions=expressions), list)


#### Plans


def plan_of(resources: list[dict], children: list[dict] = ()) -> dict:
    module = {"resources": resources, "child_modules": list(children)}
    return {"format_version": "1.2", "planned_values": {"root_module": module}}


def role(address: str, statements: list[dict] | None) -> dict:
    values = {"name": address}
    if statements is not None:
        values["assume_role_policy"] = json.dumps({"Version": "2012-10-17", "Statement": statements})
    return {"address": address, "mode": "managed", "type": "aws_iam_role", "values": values}


@pytest.mark.parametrize("name", TABLE)
def test_plan_is_judged_by_the_same_rules(name):
    found = plan_trusts.findings(plan_of([role("aws_iam_role.x", TABLE[name])]))
    assert [line.removeprefix("aws_iam_role.x: ") for line in found] == web_identity.problems(
        {"Statement": TABLE[name]}
    )


def test_plan_of_nested_modules_is_judged():
    inner = {"resources": [role("module.a.module.b.aws_iam_role.x", [trust("repo:acme/*")])]}
    outer = {"resources": [role("module.a.aws_iam_role.x", [trust()])], "child_modules": [inner]}
    assert plan_trusts.findings(plan_of([], [outer])) == [
        "module.a.module.b.aws_iam_role.x: subject 'repo:acme/*' holds a wildcard"
    ]


def test_plan_with_a_policy_that_is_not_known_yet_fails():
    assert plan_trusts.findings(plan_of([role("aws_iam_role.x", None)])) == [
        "aws_iam_role.x: trust policy is not known until apply: pass the provider's ARN as a variable"
    ]


def test_in_a_plan_nothing_is_an_expression():
    subjects = ["var.subject", "${var.subject}", "local.subjects[0]"]
    found = plan_trusts.findings(plan_of([role("aws_iam_role.x", [trust(subjects)])]))
    assert len(found) == len(subjects)


@pytest.mark.parametrize("kind", web_identity.LONG_LIVED)
def test_plan_with_a_long_lived_credential_fails(kind):
    key = {"address": f"{kind}.x", "mode": "managed", "type": kind, "values": {}}
    assert plan_trusts.findings(plan_of([key])) == [f"{kind}.x: is a long-lived credential, or serves one"]


def test_data_sources_make_no_credential():
    user = {"address": "data.aws_iam_user.x", "mode": "data", "type": "aws_iam_user", "values": {}}
    assert plan_trusts.findings(plan_of([user])) == []


def judge_file(path: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(CHECKS / "plan_trusts.py"), str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "Expecting value"),
        ("[]", "no planned_values"),
        ("{}", "no planned_values"),
        ('{"format_version": "1.0", "values": {"root_module": {}}}', "no planned_values"),
        ('{"format_version": "1.2", "errored": true, "planned_values": {}}', "ended in an error"),
    ],
)
def test_what_is_no_whole_plan_does_not_pass(text, reason, tmp_path):
    path = tmp_path / "plan.json"
    path.write_text(text)
    done = judge_file(path)
    assert done.returncode == 2
    assert reason in done.stderr


def test_a_missing_plan_does_not_pass(tmp_path):
    assert judge_file(tmp_path / "none.json").returncode == 2


# In place of the provider that terraform/bootstrap has, which asks AWS whose account it is.
OFFLINE = """
provider "aws" {
  region                      = var.region
  access_key                  = "unused"
  secret_key                  = "unused"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_requesting_account_id  = true
}
"""
LOOSE = f"""
resource "aws_iam_openid_connect_provider" "other" {{
  url            = "https://oidc.example.com"
  client_id_list = ["sts.amazonaws.com"]
}}

resource "aws_iam_role" "computed" {{
  assume_role_policy = jsonencode({{
    Statement = [{{
      Effect    = "Allow"
      Action    = "sts:AssumeRoleWithWebIdentity"
      Principal = {{ Federated = aws_iam_openid_connect_provider.other.arn }}
    }}]
  }})
}}

data "aws_iam_policy_document" "loose" {{
  {statement(PLAIN.replace("aws_iam_openid_connect_provider.github.arn", f'"{PROVIDER}"') + sub('["repo:${var.repository}"]'))}
}}

resource "aws_iam_role" "loose" {{
  assume_role_policy = data.aws_iam_policy_document.loose.json
}}

resource "aws_iam_user" "x" {{
  name = "x"
}}
"""


def test_plan_that_terraform_made_is_judged(tmp_path):
    """The roles that orch bootstraps are exact; beside them each thing that only a plan shows is told."""
    terraform = require_tool("terraform")
    config = cli_config("", os.environ, folder=tmp_path)
    environ = {key: value for key, value in os.environ.items() if not key.startswith(("TF_", "AWS_"))}
    environ |= {"TF_IN_AUTOMATION": "1", "CHECKPOINT_DISABLE": "1"}
    if config.path is not None:
        environ["TF_CLI_CONFIG_FILE"] = config.path
    for name in ("bootstrap", "modules"):
        shutil.copytree(
            REPOSITORY / "terraform" / name, tmp_path / name, ignore=shutil.ignore_patterns(".terraform")
        )
    root = tmp_path / "bootstrap"
    (root / "backend.tf").unlink()
    (root / "providers.tf").write_text(OFFLINE)
    (root / "loose.tf").write_text(LOOSE)

    def run(*arguments: str) -> str:
        done = subprocess.run(
            [terraform, *arguments], cwd=root, env=environ, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run("init", "-input=false", "-no-color")
    run("plan", "-input=false", "-no-color", "-var-file=example.tfvars", "-out=plan")
    text = run("show", "-json", "plan")
    (root / "plan.json").write_text(text)
    roles = [
        resource["address"]
        for resource in plan_trusts.planned_resources(json.loads(text))
        if resource["type"] == "aws_iam_role"
    ]
    # plan, push, apply and deploy of two environments, and ours.
    assert len(roles) >= 10
    done = judge_file(root / "plan.json")
    assert done.returncode == 1
    assert done.stdout.splitlines() == [
        "aws_iam_role.computed: trust policy is not known until apply: pass the provider's ARN as a variable",
        (
            "aws_iam_role.loose: subject 'repo:acme/demo' names no context (environment, ref or pull_request): "
            "every run of the repository has it"
        ),
        "aws_iam_user.x: is a long-lived credential, or serves one",
        f"{len(roles)} roles judged, 3 findings",
    ]


def test_nothing_in_the_repository_makes_a_long_lived_credential():
    block = re.compile(rf'resource\s+"(?:{"|".join(web_identity.LONG_LIVED)})"')
    files = [
        path
        for folder in ("terraform", "examples")
        for path in (REPOSITORY / folder).rglob("*.tf*")
        if ".terraform" not in path.parts and path.is_file()
    ]
    assert len(files) > 20
    assert [str(path) for path in files if block.search(path.read_text())] == []
    assert block.search('resource "aws_iam_access_key" "x" {')
