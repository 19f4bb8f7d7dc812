"""Which trust policies let in the runs that a role is for, and what `orch doctor` prints."""

from __future__ import annotations

import pytest

from orchestrator.github import trust
from orchestrator.model import Checkup, Finding, Outcome
from orchestrator.permissions import Role
from orchestrator.report import doctor

PROVIDER = trust.provider_arn("111111111111", "eu-central-1")
PLAIN = "repo:acme/shop:environment:dev"
IMMUTABLE = "repo:acme@12/shop@34:environment:dev"


def policy(sub=PLAIN, test="StringEquals", aud="sts.amazonaws.com", refs=None, **elements):
    claims = {"aud": aud, "sub": sub, "job_workflow_ref": refs}
    asked = {f"{trust.ISSUER}:{key}": value for key, value in claims.items() if value is not None}
    statement = {
        "Effect": "Allow",
        "Action": "sts:AssumeRoleWithWebIdentity",
        "Principal": {"Federated": PROVIDER},
        "Condition": {test: asked},
    } | elements
    return {"Version": "2012-10-17", "Statement": [statement]}


def judged(document, *subjects, refs=()):
    return trust.judge(document, trust.Wanted(PROVIDER, frozenset(subjects or {PLAIN}), frozenset(refs)))


@pytest.mark.parametrize(
    ("role", "repository", "expected"),
    [
        (
            Role.PLAN,
            "acme/shop",
            {
                "repo:acme/shop:pull_request",
                "repo:acme/shop:ref:refs/heads/main",
                "repo:acme/shop:ref:refs/heads/next",
                "repo:acme/shop:environment:dev",
            },
        ),
        (
            Role.PUSH,
            "acme/shop",
            {
                "repo:acme/shop:ref:refs/heads/main",
                "repo:acme/shop:ref:refs/heads/next",
                "repo:acme/shop:environment:dev",
            },
        ),
        (Role.APPLY, "acme@12/shop@34", {IMMUTABLE}),
        (Role.DEPLOY, "acme@12/shop@34", {IMMUTABLE, "repo:acme@12/shop@34:environment:prod"}),
    ],
)
def test_each_role_is_for_the_runs_that_the_module_trusts(role, repository, expected):
    found = trust.subjects(
        role,
        subject_repository=repository,
        environment="dev",
        branches=("main", "next"),
        promotes_to=("prod",),
    )
    assert found == expected


@pytest.mark.parametrize(
    ("document", "subjects", "refs"),
    [
        (policy(), (PLAIN,), ()),
        (policy([IMMUTABLE]), (IMMUTABLE,), ()),
        (policy(test="StringLike"), (PLAIN,), ()),  # without a wildcard it asks for the same
        (policy(["a", "b"]), ("a", "b"), ()),
        (
            policy(refs=["acme/ci/.github/workflows/x.yml@v1"]),
            (PLAIN,),
            ("acme/ci/.github/workflows/x.yml@v1",),
        ),
    ],
)
def test_a_trust_that_lets_in_these_and_nobody_else_is_good(document, subjects, refs):
    assert judged(document, *subjects, refs=refs) == trust.Judged()


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({}, "it does not let the identity provider"),
        (
            policy(Principal={"Federated": "arn:aws:iam::1:oidc-provider/other"}),
            "it does not let the identity",
        ),
        (policy(Effect="Deny"), "it does not let the identity provider"),
        (policy(Action="sts:AssumeRole"), "it does not let the identity provider"),
        (policy(Principal="*"), "it does not let the identity provider"),
        (policy(aud="other"), "does not ask for the audience sts.amazonaws.com alone"),
        (policy(aud=None), "does not ask for the audience"),
        (policy(sub=None), "any repository on GitHub may take the role on"),
        (policy(Condition=None), "does not ask for the audience"),
        (policy("repo:acme/*", test="StringLike"), "by StringLike `repo:acme/*`, which may let others in"),
        (policy(test="StringEqualsIfExists"), "StringEqualsIfExists"),
        (policy(test="ForAllValues:StringEquals"), "ForAllValues"),
        (policy("repo:acme/shop:environment:prod"), "and the tokens say `repo:acme/shop:environment:dev`"),
        (policy(IMMUTABLE), "the same repository in the other of GitHub's two forms"),
        (policy("repo:Acme/shop:environment:dev"), "the case differs"),
        (
            policy([PLAIN, "repo:evil/shop:environment:dev"]),
            "lets others in too: `repo:evil/shop:environment:dev`",
        ),
        (policy(refs="acme/ci/.github/workflows/x.yml@v1"), "asks for the workflow `acme/ci"),
    ],
)
def test_a_trust_that_does_not_is_told_in_words(document, said):
    assert said in judged(document).problem


def test_the_older_form_is_told_where_the_tokens_have_ids():
    found = judged(policy(), IMMUTABLE)
    assert "the same repository in the other" in found.problem
    assert PLAIN in found.problem
    assert IMMUTABLE in found.problem


def test_who_else_may_come_in_is_worth_knowing():
    document = policy()
    root = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": "arn:aws:iam::1:root"}}
    document["Statement"].append(root)
    assert judged(document) == trust.Judged(
        remark="it lets in without a token of GitHub: arn:aws:iam::1:root"
    )
    document["Statement"][1]["Effect"] = "Deny"
    assert "Deny" in judged(document).remark


def test_environments_stand_side_by_side_above_their_checks():
    fine = Finding("account", "account", "1", Outcome.OK, "111111111111, as orch.toml says")
    bad = Finding("account", "account", "2", Outcome.FAIL, "other account", "log in to 222222222222")
    unasked = Finding("role_trust", "trust of plan", "arn", Outcome.SKIP, "may not call iam:GetRole")
    found = (
        Checkup("machine", "this machine", (fine,)),
        Checkup("environment", "dev", (fine,), "111111111111", "eu-central-1", "arn:aws:iam::1:user/a"),
        Checkup("environment", "prod", (bad, unasked), "222222222222", "us-east-1"),
    )
    assert doctor.lines(found) == [
        "environment  account       region        credentials            checks",
        "dev          111111111111  eu-central-1  arn:aws:iam::1:user/a  1 OK",
        "prod         222222222222  us-east-1     -                      1 FAIL, 1 SKIP",
        "",
        "this machine: 1 OK",
        "  ✓ OK    account        111111111111, as orch.toml says",
        "dev · 111111111111 · eu-central-1: 1 OK",
        "  ✓ OK    account        111111111111, as orch.toml says",
        "prod · 222222222222 · us-east-1: 1 FAIL, 1 SKIP",
        "  ✗ FAIL  account        other account",
        "                         → log in to 222222222222",
        "  • SKIP  trust of plan  may not call iam:GetRole",
        "✗ 1 to mend; 1 could not be checked",
    ]
    assert doctor.lines(found[:2])[-1] == "✓ Nothing to mend"
    assert doctor.lines(found[:2])[0] == "this machine: 1 OK"
