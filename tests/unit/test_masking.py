from __future__ import annotations

import base64
import json
import urllib.parse

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator import masks
from orchestrator.model import Masked
from orchestrator.terraform import masking
from orchestrator.terraform.masking import Hidden, Nets

SECRET = "hunter2-canary&<x>"
S = Masked.SENSITIVE


def test_the_marker_of_text_is_that_of_the_model():
    assert str(Masked.SENSITIVE) == masks.SENSITIVE


@pytest.mark.parametrize(
    ("mask", "expected"),
    [
        (True, S),
        (False, {"a": [{"b": 1, "c": 2}, 3], "n": None}),
        ({}, {"a": [{"b": 1, "c": 2}, 3], "n": None}),
        ({"a": True}, {"a": S, "n": None}),
        ({"a": [{"b": True}]}, {"a": [{"b": S, "c": 2}, 3], "n": None}),
        ({"a": [{}, True]}, {"a": [{"b": 1, "c": 2}, S], "n": None}),
        ({"a": [False, False]}, {"a": [{"b": 1, "c": 2}, 3], "n": None}),
        # Nothing is there to be hidden, and a mask that does not fit hides what it can.
        ({"n": True, "absent": True}, {"a": [{"b": 1, "c": 2}, 3], "n": None}),
        ([True], {"a": [{"b": 1, "c": 2}, 3], "n": None}),
    ],
)
def test_terraforms_masks_at_any_level(mask, expected):
    value = {"a": [{"b": 1, "c": 2}, 3], "n": None}
    assert Nets().mask(masking.hide(value, mask)) == expected
    assert value == {"a": [{"b": 1, "c": 2}, 3], "n": None}


@pytest.mark.parametrize(
    ("value", "unknown", "expected"),
    [
        ({"a": 1}, {"b": True}, {"a": 1, "b": Masked.UNKNOWN}),
        ({"a": 1}, {"b": {}, "c": [], "d": [{"e": False}]}, {"a": 1}),
        ({"a": [{"x": 1}]}, {"a": [{"y": True}]}, {"a": [{"x": 1, "y": Masked.UNKNOWN}]}),
        ({"a": ["k", None]}, {"a": [False, True]}, {"a": ["k", Masked.UNKNOWN]}),
        (None, {"a": [True]}, {"a": [Masked.UNKNOWN]}),
        (1, True, Masked.UNKNOWN),
        (1, False, 1),
    ],
)
def test_what_apply_decides_is_unknown(value, unknown, expected):
    assert masking.with_unknown(value, unknown) == expected


def test_two_hidden_values_are_compared_and_never_shown():
    assert Hidden("a") == Hidden("a")
    assert Hidden("a") != Hidden("b")
    assert {"x": [Hidden("a")]} != {"x": [Hidden("b")]}
    assert f"{Hidden('a')} {Hidden('a')!r} {[Hidden('a')]}" == "(sensitive) (sensitive) [(sensitive)]"


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    "text",
    [
        SECRET,
        f"before {SECRET} after",
        f"{SECRET}{SECRET}",
        json.dumps({"k": SECRET}) + ",",
        json.dumps(json.dumps(SECRET)) + "!",
        f"x {SECRET.replace('&', chr(92) + 'u0026').replace('<', chr(92) + 'u003c').replace('>', chr(92) + 'u003e')}",
        f"https://example.com/?q={urllib.parse.quote(SECRET, safe='')}",
        f"q={urllib.parse.quote(SECRET, safe='').lower()}",
        b64(SECRET),
        b64(f"user:{SECRET}"),
        b64(f"a{SECRET}zz"),
        b64(f"ab{SECRET}"),
        f"x: {base64.urlsafe_b64encode(f'??>{SECRET}'.encode()).decode()}",
    ],
)
def test_a_known_secret_is_found_in_every_form(text):
    masked = Nets([SECRET]).text(text)
    assert "(sensitive)" in masked
    for part in ("hunter2", "canary", b64(SECRET)[2:-4], b64(f"a{SECRET}")[4:-4], b64(f"ab{SECRET}")[4:-4]):
        assert part not in masked
    # The encoded forms leave no rest from which the first or last characters could be told.
    if "://" not in text and " " not in text and "{" not in text and "\\" not in text and "%" not in text:
        assert masked.replace("(sensitive)", "") == ""


@pytest.mark.parametrize(
    ("secrets", "text", "expected"),
    [
        # Short ones whole only, long ones anywhere.
        (["abc"], "abc", "(sensitive)"),
        (["abc"], "abcdef", "abcdef"),
        (["abcdef"], "xabcdefx", "x(sensitive)x"),
        # Overlapping, and one within the other: all that any of them covers goes.
        (["abcabc"], "abcabcabc!", "(sensitive)!"),
        (["secret-one", "one-more"], "a secret-one-more", "a (sensitive)"),
        (["inner-secret", "an inner-secret of mine"], "an inner-secret of mine", "(sensitive)"),
        # Several lines, indented by somebody.
        (["first-line-of-key\nsecond-line-of-key"], "  first-line-of-key\n", "  (sensitive)\n"),
        # A type other than text, at any depth; names are no secrets.
        (
            [{"password": ["deep-secret"], "pin": 123456}],
            "password deep-secret 123456",
            "password (sensitive) (sensitive)",
        ),
        (['{"inner": "json-secret"}'], "inner json-secret", "inner (sensitive)"),
        ([True, None, "", "  ", 1.5], "True None   1", "True None   1"),
    ],
)
def test_how_secrets_are_matched(secrets, text, expected):
    assert Nets(secrets).text(text) == expected


def test_values_of_every_type_and_keys_are_matched():
    nets = Nets(["abc", 42, "long-canary"])
    value = {"long-canary": 1, "x long-canary": "abc", "n": [42, 43, 42.0, True, None], "abc": "abc."}
    assert nets.mask(value) == {
        "(sensitive)": 1,
        "x (sensitive)": S,
        "n": [S, 43, 42.0, True, None],
        "(sensitive) 2": "abc.",
    }
    assert nets.address('aws_x.y["abc"].z["q"]') == 'aws_x.y["(sensitive)"].z["q"]'


def definitions(*environment: dict) -> str:
    return json.dumps([{"name": "web", "cpu": 1, "environment": list(environment)}])


@pytest.mark.parametrize(
    ("value", "path", "expected"),
    [
        # The environment of containers: names, never values; in JSON text as anywhere.
        (
            definitions({"name": "LEVEL", "value": "debug"}),
            ("container_definitions",),
            [{"name": "web", "cpu": 1, "environment": [{"name": "LEVEL", "value": S}]}],
        ),
        ("debug", ("container_definitions", 0, "environment", 0, "value"), S),
        ({"environment": [{"variables": {"LEVEL": "debug"}}]}, (), {"environment": [{"variables": {"LEVEL": S}}]}),
        ({"environment": {"LEVEL": "debug"}}, (), {"environment": {"LEVEL": S}}),
        ("debug", ("environment", 0, "variables", "LEVEL"), S),
        (
            {"environment": [{"image": "i", "environment_variable": [{"name": "A", "value": "b", "type": "PLAINTEXT"}]}]},
            (),
            {"environment": [{"image": "i", "environment_variable": [{"name": "A", "value": S, "type": "PLAINTEXT"}]}]},
        ),
        ({"environment": "prod", "value": "open"}, (), {"environment": "prod", "value": "open"}),
        ({"tags": {"environment": "prod"}}, (), {"tags": {"environment": "prod"}}),
        # Names of attributes.
        ({"password": "a", "db_password": "b", "password_wo": "c"}, (), {"password": S, "db_password": S, "password_wo": S}),
        ({"userData": "a", "user_data_base64": "b", "secret_string": "c"}, (), dict.fromkeys(("userData", "user_data_base64", "secret_string"), S)),
        ({"private_key": ["a"], "token": {"x": 1}, "token2": "x"}, (), {"private_key": S, "token": S, "token2": "x"}),
        ({"options": {"splunk-token": "x", "splunk-url": "y"}}, (), {"options": {"splunk-token": S, "splunk-url": "y"}}),
        ({"password": None, "secrets": [{"name": "A", "valueFrom": "arn"}]}, (), {"password": None, "secrets": [{"name": "A", "valueFrom": "arn"}]}),
        ("x", ("settings", "password", 0), S),
        # JSON in JSON, and text that only looks like it.
        (json.dumps({"a": json.dumps({"password": "x"})}), (), {"a": {"password": S}}),
        ('{"password": ', (), '{"password": '),
        ("[NaN]", (), "[NaN]"),
    ],
)  # fmt: skip
def test_rules_by_names(value, path, expected):
    assert Nets().mask(value, path) == expected


def test_secrets_are_those_that_a_plan_declares():
    data = {
        "variables": {"v": {"value": {"deep": ["in-variable"]}}, "open": {"value": "open-variable"}},
        "configuration": {
            "root_module": {
                "variables": {"v": {"sensitive": True, "default": "in-default"}, "open": {"default": "x"}}
            }
        },
        "planned_values": {"outputs": {"a": {"sensitive": True, "value": "in-planned"}, "b": {"value": "open"}}},
        "prior_state": {"values": {"outputs": {"a": {"sensitive": True, "value": ["in-prior"]}}}},
        "output_changes": {
            "c": {"before": "in-before", "before_sensitive": True, "after": {"x": "in-after", "y": "open"}, "after_sensitive": {"x": True}}
        },
    }  # fmt: skip
    masked = Nets(masking.secrets_of(data)).text(json.dumps(data))
    for secret in ("in-variable", "in-default", "in-planned", "in-prior", "in-before", "in-after"):
        assert secret not in masked
    assert "open-variable" in masked


def test_secrets_of_the_environment():
    environ = {
        "TF_VAR_db_password": "long-password",
        "TF_VAR_token": "short",
        "TF_VAR_region": "eu-central-1",
        "TF_VAR_pin": "1",
        "AWS_SECRET_ACCESS_KEY": "k" * 40,
        "AWS_SESSION_TOKEN": "t" * 99,
        "GITHUB_TOKEN": "g" * 20,
        "PATH": "/usr/bin:/bin",
        "TF_VAR_once": "only-here",
    }
    by_name = {"long-password", "k" * 40, "t" * 99, "g" * 20}
    assert masking.secrets_in(environ) == by_name
    variables = {"pin": {"sensitive": True}, "once": {"ephemeral": True}, "region": {}}
    declared = {"configuration": {"root_module": {"variables": variables}}}
    assert masking.secrets_in(environ, declared) == by_name | {"1", "only-here"}


JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"
PEM = "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----"
KEY = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("id AKIAIOSFODNN7EXAMPLE.", "id (sensitive)."),
        ("ASIAIOSFODNN7EXAMPLE", "(sensitive)"),
        (f"aws_secret_access_key = {KEY}", "aws_secret_access_key = (sensitive)"),
        (f'"SecretAccessKey": "{KEY}"', '"SecretAccessKey": "(sensitive)"'),
        (f"token {JWT}, end", "token (sensitive), end"),
        (f"a {PEM} b", "a (sensitive) b"),
        (f"a {PEM[:40]}", "a (sensitive)"),
        (PEM.replace("\n", "\\n"), "(sensitive)"),
        ("postgres://ana:pa:ss@w@db/x", "postgres://(sensitive)@db/x"),
        ("redis://:pw@db", "redis://(sensitive)@db"),
        ("ghp_" + "a" * 36, "(sensitive)"),
        ("ghs_" + "a" * 36, "(sensitive)"),
        ("github_pat_" + "a" * 40, "(sensitive)"),
        ("glpat-" + "a" * 20, "(sensitive)"),
        ("npm_" + "a" * 36, "(sensitive)"),
        ("AIza" + "a" * 35, "(sensitive)"),
        ("sk_live_" + "a" * 24, "(sensitive)"),
        ("xoxb-1234567890-abc", "(sensitive)"),
        ("xapp-1-A0-1-abc", "(sensitive)"),
        ("https://hooks.slack.com/services/T0/B0/abc", "https://hooks.slack.com/services/(sensitive)"),
        ("Authorization: Bearer abc", "Authorization: Bearer (sensitive)"),
        ('"authorization": "Basic abc"', '"authorization": "Basic (sensitive)"'),
        ("bearer 0123456789abcdef", "bearer (sensitive)"),
        ("mysql --password=abc --host=h", "mysql --password=(sensitive) --host=h"),
        ("mysql --password abc", "mysql --password (sensitive)"),
        ("DB_PASSWORD=abc&x=1", "DB_PASSWORD=(sensitive)&x=1"),
        ("api_key=abc", "api_key=(sensitive)"),
    ],
)
def test_the_last_net(text, expected):
    assert masks.scrub(text) == expected
    assert masks.scrub(expected) == expected


@pytest.mark.parametrize(
    "text",
    [
        "arn:aws:secretsmanager:eu-central-1:111111111111:secret:db-AbCdEf",
        "111111111111.dkr.ecr.eu-central-1.amazonaws.com/web@sha256:" + "a" * 64,
        "https://example.com:8443/a@b",
        "the token is missing; set a password",
        "aws_secretsmanager_secret.db will be created",
        "commit " + "c" * 40,
    ],
)
def test_what_no_net_catches(text):
    assert masks.scrub(text) == text


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@settings(deadline=None)
@given(JSON, JSON, JSON)
def test_nothing_stops_the_masking(value, mask, secret):
    nets = Nets([secret])
    for shape in (mask, {"environment": mask}, [mask, True]):
        masked = nets.mask(masking.hide(masking.with_unknown(value, shape), shape))
        assert "Hidden" not in repr(masked)
        assert "object at" not in repr(masked)


# Nothing that the marker itself contains.
SECRETS = st.text(min_size=6, max_size=40).filter(lambda text: text.strip() and text not in "(sensitive)")


@settings(deadline=None)
@given(st.lists(SECRETS, min_size=1, max_size=4), st.text(max_size=10), st.text(max_size=10))
def test_no_secret_survives_in_text(secrets, before, after):
    nets = Nets(secrets)
    for secret in secrets:
        for form in (
            secret,
            json.dumps(secret)[1:-1],
            urllib.parse.quote(secret, safe="", errors="surrogatepass"),
        ):
            masked = nets.text(f"{before}{form}{after}")
            assert form not in masked.split("(sensitive)")
            assert not any(secret in part for part in masked.split("(sensitive)"))


PIECES = (
    "://",
    "a",
    ":",
    "@",
    " ",
    "password=",
    "Bearer ",
    "secret ",
    KEY,
    JWT,
    PEM,
    PEM[:30],
    "AKIA" + "A" * 16,
    '"',
    "--token ",
    "xoxb-",
)


@settings(deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=12).map("".join))
def test_scrubbing_twice_changes_nothing_more(text):
    assert masks.scrub(masks.scrub(text)) == masks.scrub(text)
