"""What changes mean: containers, policies, and the rights that grow. A truth table, and what must hold for any JSON."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.model import Masked
from orchestrator.terraform import policy, semantic
from orchestrator.terraform.masking import Hidden
from orchestrator.terraform.semantic import Surroundings, attribute_differences, label_of

A, U = Masked.ABSENT, Masked.UNKNOWN
SUB = "token.actions.githubusercontent.com:sub"
GITHUB = "arn:aws:iam::111111111111:oidc-provider/token.actions.githubusercontent.com"


def told(kind: str, before: dict, after: dict) -> list[tuple]:
    return [
        (found.label or label_of(found.path), found.before, found.after)
        for found in semantic.differences(kind, before, after)
    ]


def widened(kind: str, before, after, created=(), deleted=()) -> list[str]:
    around = Surroundings(frozenset(created), frozenset(deleted))
    return list(semantic.widenings(kind, before, after, around))


def statement(sid="Do", actions="s3:GetObject", resources="arn:b/*", effect="Allow", **more) -> dict:
    made = {"Sid": sid, "Effect": effect, "Action": actions, "Resource": resources, **more}
    return {key: value for key, value in made.items() if value is not None}


def document(*statements: dict) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


# --- any attribute


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({"memory": 512}, {"memory": 1024}, [("memory", 512, 1024)]),
        ({"tags": {"Team": "a", "x": "1"}}, {"tags": {"Team": "b", "x": "1"}}, [("tags.Team", "a", "b")]),
        ({"tags": None}, {"tags": {"a.b": "1"}}, [('tags["a.b"]', A, "1")]),
        ({"a": 1}, {"a": True}, [("a", 1, True)]),
        ({"a": 1}, {}, [("a", 1, A)]),
        ({"a": None, "b": "", "c": []}, {"a": "", "b": {}, "c": None}, []),
        ({"a": "x"}, {"a": U}, [("a", "x", U)]),
        (
            {"ingress": [{"from_port": 80}]},
            {"ingress": [{"from_port": 81}]},
            [("ingress[0].from_port", 80, 81)],
        ),
        # Sets are sorted, so that one more moves the others: they have not changed.
        (
            {"r": [{"n": "b"}, {"n": "c"}]},
            {"r": [{"n": "a"}, {"n": "b"}, {"n": "c"}]},
            [("r[0].n", A, "a")],
        ),
        ({"r": [{"n": "a"}, {"n": "b"}]}, {"r": [{"n": "b"}]}, [("r[0].n", "a", A)]),
        (
            {"r": [{"n": "a"}, {"n": "b"}]},
            {"r": [{"n": "b"}, {"n": "a"}]},
            [("r", [{"n": "a"}, {"n": "b"}], [{"n": "b"}, {"n": "a"}])],
        ),
        ({"l": ["a"]}, {"l": ["a", "b"]}, [("l", ["a"], ["a", "b"])]),
        ({"l": list("abcdefg")}, {"l": list("abcdefgh")}, [("l[7]", A, "h")]),
        # JSON in a text is looked into; a text that is none is a text.
        ({"p": '{"a": 1, "b": 2}'}, {"p": '{"b":2,"a":3}'}, [("p.a", 1, 3)]),
        ({"p": '{"a": 1}'}, {"p": '{"a":1}'}, []),
        ({"p": "{no"}, {"p": "{yes"}, [("p", "{no", "{yes")]),
        # The same tags once more.
        ({"tags": {"a": "1"}, "tags_all": {"a": "1"}}, {"tags": {"a": "2"}, "tags_all": {"a": "2"}}, [("tags.a", "1", "2")]),
        ({"tags_all": {"d": "1"}}, {"tags_all": {"d": "2"}}, [("tags_all.d", "1", "2")]),
    ],
)  # fmt: skip
def test_attributes(before, after, expected):
    assert told("aws_x", before, after) == expected


def test_a_change_between_two_secrets_is_a_change():
    assert told("aws_x", {"p": Hidden("a")}, {"p": Hidden("a")}) == []
    assert [label for label, _, _ in told("aws_x", {"p": Hidden("a")}, {"p": Hidden("b")})] == ["p"]


def test_long_lists_are_compared_place_by_place():
    before = [{"n": number} for number in range(200)]
    after = [{"n": number if number != 7 else -1} for number in range(200)]
    assert [label_of(found.path) for found in attribute_differences(("l",), before, after)] == ["l[7].n"]


# --- containers

WEB = {
    "name": "web",
    "image": "registry/web@sha256:aa",
    "cpu": 256,
    "memory": 512,
    "essential": True,
    "portMappings": [{"containerPort": 8080, "hostPort": 8080, "protocol": "tcp"}],
    "environment": [{"name": "LEVEL", "value": "debug"}, {"name": "OLD", "value": "canary"}],
    "secrets": [{"name": "DB", "valueFrom": "arn:a"}],
}


def containers(*definitions: dict) -> dict:
    return {"container_definitions": json.dumps(list(definitions))}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"image": "registry/web@sha256:bb"}, [("container web: image", "registry/web@sha256:aa", "registry/web@sha256:bb")]),
        ({"memory": 1024}, [("container web: memory", 512, 1024)]),
        ({"cpu": None}, [("container web: cpu", 256, A)]),
        ({"memoryReservation": 128}, [("container web: memoryReservation", A, 128)]),
        (
            {"portMappings": [{"containerPort": 80, "hostPort": 0, "name": "http"}, {"containerPort": 53, "hostPort": 5353, "protocol": "udp"}]},
            [("container web: ports", ["8080/tcp"], ["80/tcp http", "5353→53/udp"])],
        ),
        (
            {"secrets": [{"name": "DB", "valueFrom": "arn:b"}, {"name": "KEY", "valueFrom": "arn:c"}]},
            [("container web: secret DB", "arn:a", "arn:b"), ("container web: secret KEY", A, "arn:c")],
        ),
        ({"command": ["serve"]}, [("container web: command", A, ["serve"])]),
        ({"logConfiguration": {"logDriver": "awslogs"}}, [("container web: logConfiguration.logDriver", A, "awslogs")]),
        # What ECS fills in, and another order, is no change.
        ({"essential": None, "mountPoints": [], "volumesFrom": [], "systemControls": []}, []),
        ({"portMappings": [{"containerPort": 8080}]}, []),
        ({"environment": WEB["environment"][::-1]}, []),
    ],
)  # fmt: skip
def test_a_container(change, expected):
    assert told("aws_ecs_task_definition", containers(WEB), containers(WEB | change)) == expected


def test_environment_variables_by_name_never_by_value():
    environment = [{"name": "LEVEL", "value": "info"}, {"name": "NEW", "value": "canary"}]
    found = told("aws_ecs_task_definition", containers(WEB), containers(WEB | {"environment": environment}))
    assert [(label, before is A, after is A) for label, before, after in found] == [
        ("container web: environment LEVEL", False, False),
        ("container web: environment NEW", True, False),
        ("container web: environment OLD", False, True),
    ]
    for value in ("debug", "info", "canary"):
        assert value not in repr(found)


def test_containers_come_and_go_by_name():
    side = {"name": "side", "image": "side:1"}
    assert told("aws_ecs_task_definition", containers(side, WEB), containers(WEB)) == [
        ("container side", "side:1", A)
    ]
    assert told("aws_ecs_task_definition", containers(WEB), containers(WEB, side)) == [
        ("container side: image", A, "side:1")
    ]
    assert told("aws_ecs_task_definition", containers(WEB), {"container_definitions": U}) == [
        ("container_definitions", ["web"], U)
    ]


# --- policies, as differences

TWO = document(statement("Read"), statement("Write", "s3:PutObject"))


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (TWO, document(statement("Write", "s3:PutObject"), statement("Read")), []),
        (
            TWO,
            document(
                statement("Read", ["s3:GetObject", "s3:ListBucket"]), statement("Write", "s3:PutObject")
            ),
            [("statement Read: actions", A, ["s3:ListBucket"])],
        ),
        (
            TWO,
            document(statement("Read")),
            [
                ("statement Write: actions", ["s3:PutObject"], A),
                ("statement Write: resources", ["arn:b/*"], A),
            ],
        ),
        (
            document(statement("Read", Condition={"StringEquals": {"aws:SourceAccount": "1"}})),
            document(statement("Read", effect="Deny")),
            [
                ("statement Read: effect", "Allow", "Deny"),
                ("statement Read: condition StringEquals aws:SourceAccount", ["1"], A),
            ],
        ),
        # Without a Sid: by content, then by what they share.
        (
            document(statement(None, "a:B"), statement(None, "c:D", "arn:c")),
            document(statement(None, "c:D", ["arn:c", "arn:d"]), statement(None, "a:B")),
            [("statement #1: resources", A, ["arn:d"])],
        ),
        (TWO, U, [("policy", "2 statements", U)]),
        (None, U, [("policy", A, U)]),
        ("no policy", "none either", [("policy", "no policy", "none either")]),
    ],
)
def test_policies_by_statement(before, after, expected):
    assert told("aws_iam_policy", {"policy": before}, {"policy": after}) == expected


def trust(*subjects: str, operator="StringEquals", principal=None, **more) -> dict:
    condition = {"Condition": {operator: {SUB: list(subjects)}}} if subjects else {}
    who = principal or {"Federated": GITHUB}
    made = statement(None, "sts:AssumeRoleWithWebIdentity", None, Principal=who, **condition, **more)
    return {"name": "deploy", "assume_role_policy": document(made)}


MAIN, PROD = "repo:acme/demo:ref:refs/heads/main", "repo:acme/demo:environment:prod"


def test_trusts_by_what_they_let_in():
    assert told("aws_iam_role", trust(PROD), trust(PROD, MAIN)) == [
        (f"trust: condition StringEquals {SUB}", [PROD], [PROD, MAIN])
    ]


def test_registries_and_identity_providers():
    before = {"image_tag_mutability": "IMMUTABLE", "image_scanning_configuration": [{"scan_on_push": True}]}
    after = {"image_tag_mutability": "MUTABLE", "image_scanning_configuration": [{"scan_on_push": False}]}
    assert told("aws_ecr_repository", before, after) == [
        ("scan on push", True, False),
        ("tag mutability", "IMMUTABLE", "MUTABLE"),
    ]

    def rules(count: int) -> dict:
        chosen = {"rulePriority": 1, "selection": {"countNumber": count}}
        return {"policy": json.dumps({"rules": [chosen, {"rulePriority": 2, "selection": {}}]})}

    assert told("aws_ecr_lifecycle_policy", rules(10), rules(5)) == [("rule 1: selection.countNumber", 10, 5)]
    assert told(
        "aws_iam_openid_connect_provider", {"thumbprint_list": ["a"]}, {"thumbprint_list": ["b"]}
    ) == [("thumbprints", ["a"], ["b"])]


# --- rights that grow

SOURCE = {"StringEquals": {"aws:SourceAccount": "1"}}


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        # More actions, more resources, wildcards.
        ([statement("Deploy", "ecs:RunTask", "*")], [statement("Deploy", ["ecs:RunTask", "ecs:UpdateService"], "*")], ["statement Deploy may now ecs:UpdateService on *"]),
        ([statement()], [statement(resources="*")], ["statement Do may now s3:GetObject on *"]),
        ([statement()], [statement(actions="s3:*")], ["statement Do may now s3:* on arn:b/*"]),
        ([statement()], [statement(), statement("New", "*", "*")], ["new statement New may * on *"]),
        ([statement()], [statement(actions=None, NotAction="iam:*")], ["statement Do may now everything but iam:* on arn:b/*"]),
        ([statement()], [statement(resources=None, NotResource="arn:x")], ["statement Do may now s3:GetObject on everything but arn:x"]),
        ([statement(actions=None, NotAction=["iam:*", "s3:*"])], [statement(actions=None, NotAction="iam:*")], ["statement Do may now everything but iam:* on arn:b/*"]),
        ([statement(actions=["a:B", "a:C", "a:D", "a:E"])], [statement(actions=["x:B", "x:C", "x:D", "x:E"])], ["statement Do may now x:B, x:C, x:D and 1 more on arn:b/*"]),
        # Conditions lost and loosened.
        ([statement("Read", Condition=SOURCE)], [statement("Read")], ["statement Read lost its condition aws:SourceAccount"]),
        ([statement("Read", Condition=SOURCE)], [statement("Read", Condition={"StringEquals": {"aws:SourceAccount": ["1", "2"]}})], ["statement Read has a wider condition aws:SourceAccount: 2"]),
        ([statement("Read", Condition=SOURCE)], [statement("Read", Condition={"StringEqualsIfExists": {"aws:SourceAccount": "1"}})], ["statement Read has a wider condition aws:SourceAccount: StringEqualsIfExists"]),
        ([statement(Condition={"StringNotEquals": {"k": ["a", "b"]}})], [statement(Condition={"StringNotEquals": {"k": ["a"]}})], ["statement Do has a wider condition k: StringNotEquals"]),
        # Both at once are both told.
        ([statement(Condition=SOURCE)], [statement(actions=["s3:GetObject", "s3:PutObject"])], ["statement Do lost its condition aws:SourceAccount", "statement Do may now s3:PutObject on arn:b/*"]),
        # Denials.
        ([statement(), statement("No", effect="Deny")], [statement()], ["statement No no longer denies s3:GetObject on arn:b/*"]),
        ([statement("No", ["a:B", "a:C"], effect="Deny")], [statement("No", "a:B", effect="Deny")], ["statement No no longer denies a:C on arn:b/*"]),
        ([statement("No", effect="Deny")], [statement("No", effect="Deny", Condition=SOURCE)], ["statement No denies only under a condition now: aws:SourceAccount"]),
        ([statement("No", effect="Deny")], [statement("No")], ["new statement No may s3:GetObject on arn:b/*", "statement No no longer denies s3:GetObject on arn:b/*"]),
        # Narrowing, renaming, splitting and order are none.
        ([statement()], [statement("Other")], []),
        ([statement()], [], []),
        ([statement(actions="s3:*")], [statement(actions=["s3:GetObject", "s3:Put*"])], []),
        ([statement(actions="s3:get*")], [statement(actions="S3:GetObject")], []),
        ([statement(resources="*")], [statement(resources=["arn:a", "arn:b/?"])], []),
        ([statement(actions=["a:B", "a:C"])], [statement("X", "a:B"), statement("Y", "a:C")], []),
        ([statement()], [statement(Condition=SOURCE)], []),
        ([statement(Condition={"StringLike": {"k": "repo:*"}})], [statement(Condition={"StringEquals": {"k": "repo:a"}})], []),
        ([statement(Condition={"StringEqualsIfExists": {"k": "a"}})], [statement(Condition={"StringEquals": {"k": "a"}})], []),
        ([statement(Condition={"StringNotEquals": {"k": "a"}})], [statement(Condition={"StringNotEquals": {"k": ["a", "b"]}})], []),
        ([statement("No", effect="Deny", Condition=SOURCE)], [statement("No", effect="Deny")], []),
        ([statement("No", "a:B", effect="Deny")], [statement("No", "a:*", effect="Deny")], []),
        ([statement(actions=None, NotAction="iam:*")], [statement(actions="s3:GetObject")], []),
        # A wildcard beside an exclusion may be wider, and is told.
        ([statement(actions=None, NotAction="iam:*")], [statement(actions="i*:Get")], ["statement Do may now i*:Get on arn:b/*"]),
    ],
)  # fmt: skip
def test_what_widens_a_policy(before, after, expected):
    assert widened("aws_iam_policy", {"policy": document(*before)}, {"policy": document(*after)}) == expected


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (trust(PROD), trust(PROD, MAIN), [f"trust lets in {MAIN} as well"]),
        (trust(PROD), trust("repo:acme/*", operator="StringLike"), ["trust lets in repo:acme/* as well"]),
        (trust(PROD), trust(), [f"trust lost its condition {SUB}"]),
        (trust(PROD, MAIN), trust(PROD), []),
        (trust("repo:acme/*", operator="StringLike"), trust(PROD), []),
        (
            trust(principal={"AWS": "111111111111"}),
            trust(principal={"AWS": ["arn:aws:iam::111111111111:root", "222222222222"]}),
            ["trust lets in arn:aws:iam::222222222222:root as well"],
        ),
        (
            trust(principal={"Service": "ecs-tasks.amazonaws.com"}),
            trust(principal={"AWS": "*"}),
            ["trust lets in * as well"],
        ),
        (
            trust(PROD),
            {"name": "deploy", "assume_role_policy": U},
            ["assume_role_policy not known until apply"],
        ),
        # A role that is itself new: only doors that stand open.
        (None, trust(PROD), []),
        (None, {"name": "x", "assume_role_policy": U}, []),
        (None, trust(), ["trust lets in every repository on GitHub"]),
        (None, trust("repo:*", operator="StringLike"), ["trust lets in repo:*"]),
        (None, trust(principal="*"), ["trust lets in everybody"]),
        (None, trust(principal={"AWS": "*"}, Condition={"StringEquals": {"aws:PrincipalOrgID": "o"}}), []),
        # Beside the trust.
        (
            {"permissions_boundary": "arn:b"},
            {"permissions_boundary": None},
            ["lost its permissions boundary"],
        ),
        (
            {"managed_policy_arns": []},
            {"managed_policy_arns": ["arn:aws:iam::aws:policy/ReadOnlyAccess"]},
            ["policy ReadOnlyAccess is attached"],
        ),
        (
            {"inline_policy": [{"name": "p", "policy": document(statement())}]},
            {"inline_policy": [{"name": "p", "policy": document(statement(resources="*"))}]},
            ["statement Do may now s3:GetObject on *"],
        ),
    ],
)
def test_what_widens_a_role(before, after, expected):
    assert widened("aws_iam_role", before, after) == expected


WIDE = {"role": "app", "policy": document(statement("W", "s3:*", "arn:b"))}
READS = {"role": "app", "policy": document(statement("R", ["s3:Get*", "ecr:GetAuthorizationToken"], "*"))}


@pytest.mark.parametrize(
    ("policy_of", "created", "expected"),
    [
        (READS, ["app"], []),
        (WIDE, ["app"], ["statement W may s3:* on arn:b"]),
        ({"role": U, "policy": READS["policy"]}, [], []),
        (
            {"role": U, "policy": document(statement("W", "a:Update", "*"))},
            [],
            ["statement W may a:Update on *"],
        ),
        ({"role": "app", "policy": U}, ["app"], []),
        # To a role that is there already, everything is more than before.
        (READS, [], ["new statement R may s3:Get*, ecr:GetAuthorizationToken on *"]),
        ({"role": "app", "policy": U}, [], ["policy not known until apply"]),
        ({"role": "app", "policy": "{"}, [], ["policy cannot be read as a policy"]),
    ],
)
def test_a_new_policy_of_an_old_or_a_new_role(policy_of, created, expected):
    assert widened("aws_iam_role_policy", None, policy_of, created) == expected


def test_a_denial_that_goes_with_what_it_hung_on_is_no_widening():
    gone = {"bucket": "b", "policy": document(statement("Tls", effect="Deny", Principal="*"))}
    assert widened("aws_s3_bucket_policy", gone, None, deleted=["b"]) == []
    assert widened("aws_s3_bucket_policy", gone, None) == [
        "statement Tls no longer denies s3:GetObject on arn:b/*"
    ]


def test_policies_of_resources():
    def key(*principals: str) -> dict:
        return {"policy": document(statement("Root", "kms:*", "*", Principal={"AWS": list(principals)}))}

    assert widened("aws_kms_key", None, key("111111111111")) == []
    assert widened("aws_kms_key", None, key("*")) == ["statement Root lets in everybody"]
    assert widened("aws_kms_key", key("111111111111"), key("111111111111", "222222222222")) == [
        "statement Root lets in arn:aws:iam::222222222222:root as well"
    ]
    pull = statement("Pull", "ecr:BatchGetImage", None, Principal={"AWS": "222222222222"})
    none, some = ({"repository": "r", "policy": document(*statements)} for statements in ([], [pull]))
    assert widened("aws_ecr_repository_policy", none, some) == [
        "new statement Pull lets in arn:aws:iam::222222222222:root: ecr:BatchGetImage"
    ]


def test_a_policy_under_a_mask_says_only_that_it_grew():
    def hidden(**more) -> dict:
        return {"policy": Hidden(document(statement(resources=["arn:b/*", "arn:canary"], **more)))}

    before = {"policy": Hidden(document(statement()))}
    assert widened("aws_iam_policy", before, hidden()) == ["policy is sensitive, and allows more than before"]
    assert widened("aws_iam_policy", hidden(), before) == []


@pytest.mark.parametrize(
    ("arn", "created", "expected"),
    [
        ("arn:aws:iam::aws:policy/AdministratorAccess", ["app"], ["ADMINISTRATOR: AdministratorAccess is attached to app"]),
        ("arn:aws:iam::aws:policy/AmazonS3FullAccess", ["app"], ["policy AmazonS3FullAccess is attached to app"]),
        ("arn:aws:iam::aws:policy/ReadOnlyAccess", ["app"], []),
        ("arn:aws:iam::aws:policy/ReadOnlyAccess", [], ["policy ReadOnlyAccess is attached to app"]),
        (U, [], ["a policy not known until apply is attached to app"]),
        (U, ["app"], []),
    ],
)  # fmt: skip
def test_attachments(arn, created, expected):
    kind = "aws_iam_role_policy_attachment"
    assert widened(kind, None, {"role": "app", "policy_arn": arn}, created) == expected
    assert widened(kind, {"role": "app", "policy_arn": arn}, {"role": "app", "policy_arn": arn}) == []
    assert widened(kind, {"role": "app", "policy_arn": arn}, None) == []


def door(cidr="0.0.0.0/0", first=443, last=443, protocol="tcp") -> dict:
    return {"cidr_ipv4": cidr, "from_port": first, "to_port": last, "ip_protocol": protocol}


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (None, door(), ["opened to 0.0.0.0/0 on tcp 443"]),
        (door("10.0.0.0/8"), door(), ["opened to 0.0.0.0/0 on tcp 443"]),
        (door(), door(last=500), ["opened to 0.0.0.0/0 on tcp 443-500"]),
        (door(), door(protocol="-1"), ["opened to 0.0.0.0/0 on every port"]),
        (None, {"cidr_ipv6": "::/0", "ip_protocol": "-1"}, ["opened to ::/0 on every port"]),
        (door(protocol="-1"), door(), []),
        (door(first=1, last=500), door(), []),
        (door(), door("10.0.0.0/8"), []),
        (None, door("10.0.0.0/8"), []),
        (door(), None, []),
    ],
)
def test_doors_to_the_internet(before, after, expected):
    assert widened("aws_vpc_security_group_ingress_rule", before, after) == expected


def test_doors_of_security_groups_with_rules_inside():
    rule = {"cidr_blocks": ["0.0.0.0/0"], "from_port": 22, "to_port": 22, "protocol": "tcp"}
    assert widened("aws_security_group", {"ingress": []}, {"ingress": [rule]}) == [
        "opened to 0.0.0.0/0 on tcp 22"
    ]
    assert widened("aws_security_group_rule", None, rule | {"type": "ingress"}) == [
        "opened to 0.0.0.0/0 on tcp 22"
    ]
    assert widened("aws_security_group_rule", None, rule | {"type": "egress"}) == []


def test_audiences_of_an_identity_provider():
    before, after = {"client_id_list": ["a"]}, {"client_id_list": ["a", "b"]}
    kind = "aws_iam_openid_connect_provider"
    assert widened(kind, before, after) == ["tokens for the audience b are accepted as well"]
    assert widened(kind, after, before) == widened(kind, None, after) == []


def test_a_statement_too_big_to_multiply_is_told_and_not_passed_over():
    def large(actions: int) -> dict:
        names = [f"arn:{number}" for number in range(1_000)]
        return {
            "policy": document(
                statement(actions=[f"a:{number}" for number in range(actions)], resources=names)
            )
        }

    assert widened("aws_iam_policy", large(100), large(101)) == [
        "statement Do may now a:100 on arn:0, arn:1, arn:2 and 997 more"
    ]
    assert widened("aws_iam_policy", large(500), large(501)) == ["statement Do is too large to be compared"]
    assert widened("aws_iam_policy", large(500), large(500)) == []


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        ("*", "", True), ("a*c", "abbc", True), ("a*c", "abbd", False), ("a?c", "abc", True), ("a?c", "a*c", False),
        ("a*", "a*b", True), ("ab", "a*", False), ("*b*", "abc", True), ("", "", True), ("a", "", False), ("a**", "a", True),
    ],
)  # fmt: skip
def test_patterns_of_iam(pattern, text, expected):
    assert policy.matches(pattern, text) is expected


# --- for any JSON

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.sampled_from([U, Hidden("x")]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=12,
)
WORDS = ["Statement", "Sid", "Effect", "Action", "NotAction", "Resource", "Principal", "Condition", "AWS", "Allow", "Deny",
         "*", "s3:*", "s3:GetObject", "name", "environment", "value", "secrets", "portMappings", "image", "rules", "rulePriority"]  # fmt: skip
LIKELY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from(WORDS),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=5),
    max_leaves=25,
)
KINDS = sorted({*semantic._POLICIES, *semantic._ATTACHMENTS, "aws_ecs_task_definition", "aws_ecr_lifecycle_policy",
                "aws_vpc_security_group_ingress_rule", "aws_security_group", "aws_iam_openid_connect_provider"})  # fmt: skip
ATTRIBUTES = ["policy", "assume_role_policy", "container_definitions", "policy_arn", "role", "ingress", "cidr_ipv4",
              "inline_policy", "managed_policy_arns", "client_id_list"]  # fmt: skip
VALUES = st.dictionaries(st.sampled_from(ATTRIBUTES), JSON | LIKELY | LIKELY.map(json.dumps))


@settings(deadline=None)
@given(st.sampled_from(KINDS), VALUES, VALUES)
def test_nothing_stops_the_comparison(kind, before, after):
    found = told(kind, before, after)
    assert bool(found) <= (before != after)
    assert told(kind, before, before) == []
    assert widened(kind, before, before) == []
    for old, new in ((before, after), (None, after), (before, None)):
        assert all(isinstance(sentence, str) for sentence in widened(kind, old, new))


NAMES = st.sampled_from(["s3:GetObject", "s3:PutObject", "s3:*", "*", "ecs:Run*", "ecs:RunTask"])
PLACES = st.sampled_from(["*", "arn:a", "arn:a/*", "arn:b"])
STATEMENTS = st.lists(
    st.builds(
        statement,
        st.sampled_from([None, "A", "B", "C"]),
        st.lists(NAMES, min_size=1, max_size=3),
        st.lists(PLACES, min_size=1, max_size=2),
        st.sampled_from(["Allow", "Allow", "Deny"]),
    ),
    max_size=4,
)


def allowed(statements: list[dict]) -> set[tuple[str, str]]:
    """By brute force: what of a few actions on a few resources the statements allow."""
    rights = set()
    for action in ("s3:GetObject", "s3:PutObject", "s3:Other", "ecs:RunTask", "ecs:RunOther", "iam:PassRole"):
        for place in ("arn:a", "arn:a/x", "arn:b", "arn:c"):
            effects = {
                found["Effect"]
                for found in statements
                if any(policy.matches(name, action) for name in found["Action"])
                and any(policy.matches(name, place) for name in found["Resource"])
            }
            if effects == {"Allow"}:
                rights.add((action, place))
    return rights


@settings(deadline=None)
@given(STATEMENTS, STATEMENTS)
def test_no_right_grows_in_silence(before, after):
    sentences = widened("aws_iam_policy", {"policy": document(*before)}, {"policy": document(*after)})
    assert sentences or allowed(after) <= allowed(before)
