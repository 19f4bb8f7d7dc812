"""terraform/bundle and terraform/compare: nothing changed passes unseen, every field is compared, nothing secret is told."""

from __future__ import annotations

import base64
import dataclasses
import io
import json
import os
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from botocore.exceptions import ClientError
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.errors import BundleError, SettingsError
from orchestrator.terraform import bundle, compare, plan_json
from orchestrator.terraform.binary import Binary
from orchestrator.terraform.bundle import Manifest, SecretKey, Setup, Subject
from orchestrator.terraform.runner import RootModule, StateIdentity

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
PLAN = b"PK plan file with canary-s3cret"
KEY = SecretKey(bytes(range(100, 132)))
SETUP = Setup(
    state_bucket="orch-state",
    state_key="dev/terraform.tfstate",
    product="terraform",
    version="1.11.4",
    lock_sha256="c" * 64,
    providers=(("registry.terraform.io/hashicorp/aws", "6.1.0"),),
)
SUBJECT = Subject(
    environment="dev",
    repository="acme/shop",
    pull_request="12",
    head_commit="a" * 40,
    base_commit="b" * 40,
    account_id="111111111111",
    region="eu-central-1",
    lineage="3f2a",
    serial=22,
    setup=SETUP,
    plan_sha256=bundle.sha256(PLAN),
)
MANIFEST = Manifest(
    subject=SUBJECT,
    created_at=bundle.written(NOW),
    expires_at=bundle.written(NOW + timedelta(days=2)),
    created_by="ana",
    ci_run="https://github.com/acme/shop/actions/runs/118/attempts/1",
    orch_version="0.1.0",
)
BLOB = bundle.seal(PLAN, MANIFEST, KEY)


def header_of(blob):
    length = int.from_bytes(blob[10:14], "big")
    return json.loads(blob[14 : 14 + length])


def with_header(blob, header):
    """The blob with another header, as somebody without the key can write it."""
    length = int.from_bytes(blob[10:14], "big")
    text = json.dumps(header).encode()
    return blob[:10] + len(text).to_bytes(4, "big") + text + blob[14 + length :]


# --- the container


def test_what_was_sealed_comes_out():
    assert bundle.open_(BLOB, KEY) == (MANIFEST, PLAN)


def test_nothing_of_the_plan_or_the_key_stands_in_the_bundle():
    assert b"canary" not in BLOB
    assert KEY.secret not in BLOB
    assert "canary" not in repr(bundle.open_(BLOB, KEY)[0])
    assert repr(KEY) == "SecretKey()"


def test_the_manifest_can_be_read_without_the_key():
    assert header_of(BLOB)["manifest"]["subject"]["environment"] == "dev"


@settings(max_examples=30, deadline=None)
@given(plan=st.binary(max_size=2000), by=st.text(max_size=40), serial=st.integers(0, 2**40))
def test_round_trip(plan, by, serial):
    subject = dataclasses.replace(SUBJECT, serial=serial, plan_sha256=bundle.sha256(plan))
    manifest = dataclasses.replace(MANIFEST, subject=subject, created_by=by)
    assert bundle.open_(bundle.seal(plan, manifest, KEY), KEY) == (manifest, plan)


def test_a_change_of_any_byte_is_refused():
    for index in range(len(BLOB)):
        altered = bytearray(BLOB)
        altered[index] ^= 1
        with pytest.raises(BundleError):
            bundle.open_(bytes(altered), KEY)


@settings(max_examples=200, deadline=None)
@given(index=st.integers(0, len(BLOB) - 1), byte=st.integers(0, 255))
def test_any_other_byte_anywhere_is_refused(index, byte):
    altered = bytearray(BLOB)
    altered[index] = byte
    if bytes(altered) == BLOB:
        return
    with pytest.raises(BundleError):
        bundle.open_(bytes(altered), KEY)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, len(BLOB) - 1))
def test_a_bundle_cut_off_anywhere_is_refused(length):
    with pytest.raises(BundleError):
        bundle.open_(BLOB[:length], KEY)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=400))
def test_anything_else_is_refused_and_no_bug(content):
    for blob in (content, BLOB + content if content else b"", BLOB[:14] + content):
        with pytest.raises(BundleError):
            bundle.open_(blob, KEY)


def test_two_seals_of_one_plan_have_nothing_random_in_common():
    other = bundle.seal(PLAN, MANIFEST, KEY)
    assert other != BLOB
    assert header_of(other)["key"]["salt"] != header_of(BLOB)["key"]["salt"]
    start = len(BLOB) - len(PLAN) - 28
    assert other[start : start + 12] != BLOB[start : start + 12]
    assert bundle.open_(other, KEY)[1] == PLAN


def test_the_header_of_another_bundle_is_refused():
    other_plan = PLAN[::-1]
    subject = dataclasses.replace(SUBJECT, environment="prod", plan_sha256=bundle.sha256(other_plan))
    other = bundle.seal(other_plan, dataclasses.replace(MANIFEST, subject=subject), KEY)
    swapped = with_header(BLOB, header_of(other))
    with pytest.raises(BundleError, match="altered"):
        bundle.open_(swapped, KEY)


@pytest.mark.parametrize(
    ("field", "value"),
    [("expires_at", "2099-01-01T00:00:00Z"), ("created_by", "mallory")],
)
def test_an_altered_manifest_is_refused(field, value):
    header = header_of(BLOB)
    header["manifest"][field] = value
    with pytest.raises(BundleError, match="contents are not those that were sealed"):
        bundle.open_(with_header(BLOB, header), KEY)


def test_the_same_header_written_otherwise_is_refused():
    with pytest.raises(BundleError, match="contents are not those that were sealed"):
        bundle.open_(with_header(BLOB, header_of(BLOB)), KEY)


def test_another_key_is_told_as_that():
    with pytest.raises(BundleError, match="sealed with another ORCH_SEAL_KEY") as caught:
        bundle.open_(BLOB, SecretKey(bytes(range(32))))
    assert caught.value.exit_code == 21


def test_a_bundle_does_not_choose_the_kind_of_key():
    with pytest.raises(BundleError, match="kind 'secret', not 'kms'"):
        bundle.open_(BLOB, bundle.KmsKey(None, "alias/shop-dev"))


def test_a_newer_format_and_a_newer_schema_are_told_as_that():
    newer = bytearray(BLOB)
    newer[9] = 2
    with pytest.raises(BundleError, match="has format 2, and this version of orch reads format 1"):
        bundle.open_(bytes(newer), KEY)
    header = header_of(BLOB)
    header["manifest"] |= {"schema": 7, "invented_later": 1}
    with pytest.raises(BundleError, match="schema 7"):
        bundle.open_(with_header(BLOB, header), KEY)


def test_a_header_of_other_fields_names_them_and_shows_no_value():
    header = header_of(BLOB)
    header["manifest"]["subject"]["serial"] = "canary"
    del header["manifest"]["created_by"]
    with pytest.raises(BundleError) as caught:
        bundle.open_(with_header(BLOB, header), KEY)
    assert "manifest.created_by, manifest.subject.serial" in caught.value.message
    assert "canary" not in caught.value.message


def test_the_manifest_of_another_plan_file_is_a_bug_when_sealing():
    with pytest.raises(ValueError, match="another plan file"):
        bundle.seal(b"other", MANIFEST, KEY)


# --- the secret


def test_every_usual_writing_of_a_secret_is_read():
    secret = os.urandom(32)
    plain = base64.b64encode(secret).decode()
    for text in (
        plain,
        plain.rstrip("="),
        plain + "\n",
        base64.urlsafe_b64encode(secret).decode(),
        secret.hex(),
    ):
        assert SecretKey.parse(text).secret == secret


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("correct horse battery staple", "neither base64 nor 64 hexadecimal digits"),
        (base64.b64encode(bytes(range(16))).decode(), "holds 16 bytes"),
        (base64.b64encode(bytes(range(64))).decode(), "holds 64 bytes"),
        ("00" * 32, "not random"),
        ("0123456789abcdef" * 4, "not random"),
        (base64.b64encode(b"a passphrase that has 32 letters").decode(), "not random"),
    ],
)
def test_a_weak_secret_is_refused_without_being_shown(text, why):
    with pytest.raises(SettingsError) as caught:
        SecretKey.parse(text)
    assert why in caught.value.message
    assert "openssl rand -base64 32" in caught.value.hint
    assert text not in repr((caught.value.message, caught.value.hint, caught.value.details))


def test_which_key_is_taken():
    environ = {"ORCH_SEAL_KEY": base64.b64encode(KEY.secret).decode()}

    def no_client():
        raise AssertionError("no client is made without kms_key")

    assert bundle.key_from(environ, kms_key="", kms=no_client) == KEY
    assert bundle.key_from(environ, kms_key="alias/a", kms=lambda: None) == bundle.KmsKey(None, "alias/a")
    for without in ({}, {"ORCH_SEAL_KEY": " "}):
        with pytest.raises(SettingsError, match="no key to seal plans with"):
            bundle.key_from(without, kms_key="", kms=no_client)


def test_the_encryption_context_fits_kms_whatever_the_manifest_holds():
    long = dataclasses.replace(MANIFEST, created_by="x" * 10_000, ci_run="y" * 10_000)
    subject = dataclasses.replace(SUBJECT, repository="o" * 39 + "/" + "n" * 100, environment="e" * 32)

    class Kms:
        def generate_data_key(self, **request):
            self.context = request["EncryptionContext"]
            return {"Plaintext": bytes(32), "CiphertextBlob": b"blob", "KeyId": "arn"}

    kms = Kms()
    bundle.seal(PLAN, dataclasses.replace(long, subject=subject), bundle.KmsKey(kms, "alias/a"))
    assert sum(len(name) + len(value) for name, value in kms.context.items()) < 1024
    assert all(kms.context.values())


def test_another_key_of_kms_is_told_as_that():
    class Kms:
        def decrypt(self, **request):
            # As AWS answers; the sandbox says AccessDeniedException.
            raise ClientError({"Error": {"Code": "IncorrectKeyException", "Message": "no"}}, "Decrypt")

    information = {"kind": "kms", "ciphertext": "YmxvYg=="}
    with pytest.raises(BundleError, match="under another KMS key than alias/shop-dev"):
        bundle.KmsKey(Kms(), "alias/shop-dev").find(information, {})


# --- what the plan is for


def zipped(**members):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    return stream.getvalue()


def test_the_state_of_a_plan_file():
    state = json.dumps({"version": 4, "lineage": "3f2a", "serial": 22, "resources": []})
    assert bundle.planned_on(zipped(tfplan="", tfstate=state)) == StateIdentity("3f2a", 22)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"PK",
        zipped(tfplan=""),
        zipped(tfstate="{"),
        zipped(tfstate="[]"),
        zipped(tfstate='{"serial": 1}'),
    ],
)
def test_a_plan_file_in_another_form_tells_no_state(content):
    assert bundle.planned_on(content) is None


def test_a_damaged_member_and_a_strange_compression_tell_no_state():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("tfstate", '{"lineage": "3f2a", "serial": 22}' * 20)
    whole = buffer.getvalue()
    begin = 30 + len("tfstate")
    damaged = whole[:begin] + b"\xff" * 8 + whole[begin + 8 :]
    assert bundle.planned_on(damaged) is None
    # The method stands in the member's own header and in the directory at the end.
    local, central = 8, whole.index(b"PK\x01\x02") + 10
    strange = bytearray(whole)
    strange[local] = strange[central] = 99
    assert bundle.planned_on(bytes(strange)) is None


def root(path, binary="/usr/bin/terraform"):
    return RootModule(Binary((binary,), binary, "1.11.4"), path, {}, {}, 0)


def test_the_setup_of_a_root_module(tmp_path):
    lock = (
        '# This file is maintained automatically by "terraform init".\n\n'
        'provider "registry.terraform.io/hashicorp/aws" {\n  version     = "6.1.0"\n  constraints = ">= 6.0.0"\n'
        '  hashes = [\n    "h1:x",\n  ]\n}\n\nprovider "registry.terraform.io/hashicorp/random" {\n  version = "3.7.2"\n}\n'
    )
    (tmp_path / ".terraform.lock.hcl").write_text(lock)
    data = tmp_path / ".terraform"
    data.mkdir()
    config = {"bucket": "orch-state", "key": "dev/terraform.tfstate", "secret_key": "canary", "path": None}
    (data / "terraform.tfstate").write_text(json.dumps({"backend": {"type": "s3", "config": config}}))
    found = bundle.setup(root(tmp_path))
    assert found == Setup(
        state_bucket="orch-state",
        state_key="dev/terraform.tfstate",
        product="terraform",
        version="1.11.4",
        lock_sha256=bundle.sha256(lock.encode()),
        providers=(
            ("registry.terraform.io/hashicorp/aws", "6.1.0"),
            ("registry.terraform.io/hashicorp/random", "3.7.2"),
        ),
    )


def test_the_setup_without_backend_and_lock_file(tmp_path):
    found = bundle.setup(root(tmp_path, "/opt/tofu"))
    assert (found.product, found.state_bucket, found.state_key, found.lock_sha256) == (
        "opentofu",
        "",
        "terraform.tfstate",
        "",
    )


def test_a_backend_record_that_says_nothing(tmp_path):
    (tmp_path / ".terraform").mkdir()
    (tmp_path / ".terraform" / "terraform.tfstate").write_text('{"backend": 1}')
    with pytest.raises(BundleError, match="does not say where the state lies"):
        bundle.setup(root(tmp_path))


# --- check


def fields(actual, manifest=MANIFEST, now=NOW, **more):
    return [refusal.field for refusal in compare.check(manifest, actual, now=now, **more)]


def test_what_fits_is_not_refused():
    assert fields(SUBJECT) == []


OTHER = {
    "environment": "prod",
    "repository": "acme/fork",
    "head_commit": "d" * 40,
    "base_commit": "d" * 40,
    "pull_request": "13",
    "account_id": "222222222222",
    "region": "us-east-1",
    "lineage": "other",
    "serial": 25,
    "plan_sha256": "e" * 64,
}
OTHER_SETUP = {
    "state_bucket": "other",
    "state_key": "prod/terraform.tfstate",
    "product": "opentofu",
    "version": "1.11.5",
    "lock_sha256": "f" * 64,
}


@pytest.mark.parametrize("name", OTHER)
def test_each_field_is_compared_alone(name):
    actual = dataclasses.replace(SUBJECT, **{name: OTHER[name]})
    (refusal,) = compare.check(MANIFEST, actual, now=NOW)
    assert str(OTHER[name]) in refusal.expected
    assert refusal.said == str(getattr(SUBJECT, name))
    assert refusal.hint


@pytest.mark.parametrize("name", OTHER_SETUP)
def test_each_part_of_the_setup_is_compared_alone(name):
    actual = dataclasses.replace(SUBJECT, setup=dataclasses.replace(SETUP, **{name: OTHER_SETUP[name]}))
    assert len(fields(actual)) == 1


def test_no_field_of_a_subject_is_left_out():
    covered = OTHER.keys() | {"setup"}
    assert {field.name for field in dataclasses.fields(Subject)} == covered
    assert {field.name for field in dataclasses.fields(Setup)} == OTHER_SETUP.keys() | {"providers"}


def test_all_refusals_come_at_once_with_a_line_each():
    actual = dataclasses.replace(SUBJECT, **OTHER, setup=dataclasses.replace(SETUP, **OTHER_SETUP))
    refusals = compare.check(MANIFEST, actual, now=NOW + timedelta(days=3))
    assert [refusal.field for refusal in refusals] == [
        "environment",
        "repository",
        "head commit",
        "base commit",
        "pull request",
        "account",
        "region",
        "state bucket",
        "state key",
        "version",
        "providers",
        "plan file",
        "lineage",
        "expires",
    ]
    error = compare.refused(MANIFEST, refusals)
    assert error.exit_code == 21
    assert "for 14 reasons" in error.message
    assert len(error.details) == 14
    assert (
        error.details[0]
        == "environment: the sealed plan says dev, but it is prod; apply it to the environment it was made for"
    )
    assert not compare.is_stale_only(refusals)


def test_what_the_applier_cannot_know_is_not_compared():
    assert fields(dataclasses.replace(SUBJECT, base_commit="", pull_request="")) == []


def test_a_stale_plan_says_both_serials_and_when():
    actual = dataclasses.replace(SUBJECT, serial=25)
    refusals = compare.check(
        MANIFEST, actual, now=NOW, state_changed_at=datetime(2026, 2, 28, 14, 2, tzinfo=UTC)
    )
    assert compare.is_stale_only(refusals)
    assert "says 22, but it is 25, last changed at 2026-02-28T14:02:00Z" in str(refusals[0])


def test_a_plan_for_no_state_is_stale_once_there_is_one():
    first = dataclasses.replace(MANIFEST, subject=dataclasses.replace(SUBJECT, lineage="", serial=0))
    assert fields(dataclasses.replace(SUBJECT, lineage="", serial=0), first) == []
    assert fields(SUBJECT, first) == ["serial"]
    assert fields(dataclasses.replace(SUBJECT, serial=0), first) == ["lineage"]


def test_a_state_that_is_gone_is_another_state():
    assert fields(dataclasses.replace(SUBJECT, lineage="", serial=0)) == ["lineage"]


def test_the_changed_provider_is_named():
    newer = (("registry.terraform.io/hashicorp/aws", "6.2.0"),)
    actual = dataclasses.replace(
        SUBJECT, setup=dataclasses.replace(SETUP, lock_sha256="f" * 64, providers=newer)
    )
    (refusal,) = compare.check(MANIFEST, actual, now=NOW)
    assert refusal.said == "registry.terraform.io/hashicorp/aws 6.1.0"
    assert refusal.expected == "registry.terraform.io/hashicorp/aws 6.2.0"


def test_times():
    assert fields(SUBJECT, now=NOW + timedelta(days=2) - timedelta(seconds=1)) == []
    assert fields(SUBJECT, now=NOW + timedelta(days=2)) == ["expires"]
    assert fields(SUBJECT, now=NOW - timedelta(minutes=4)) == []
    assert fields(SUBJECT, now=NOW - timedelta(minutes=6)) == ["created"]
    for text in ("", "soon", "2099-01-01T00:00:00"):
        assert fields(SUBJECT, dataclasses.replace(MANIFEST, expires_at=text)) == ["expires"]


# --- differences


def change(address, actions=("update",), before=None, after=None, **more):
    inner = {"actions": list(actions), "before": before, "after": after, "after_unknown": {}}
    inner |= {
        name: more.pop(name) for name in ("before_sensitive", "after_sensitive", "importing") if name in more
    }
    kind, name = address.split("[")[0].rsplit(".", 2)[-2:]
    return {"address": address, "mode": "managed", "type": kind, "name": name, "change": inner, **more}


def shown(*changes, **more):
    return {
        "terraform_version": "1.11.4",
        "applyable": True,
        "resource_changes": list(changes),
        "configuration": {"root_module": {}},
        **more,
    }


def differences(reviewed, fresh):
    return compare.differences(*(compare.Reading(plan_json.decode(data), data) for data in (reviewed, fresh)))


ONE = change("terraform_data.one", before={"input": "a"}, after={"input": "b"})
TWO = change("terraform_data.two", ("create",), after={"input": "x"})
SAME = change("terraform_data.same", ("no-op",), before={"input": 1}, after={"input": 1})


def test_the_same_changes_in_another_order_are_the_same():
    newer = change("terraform_data.same", ("no-op",), before={"input": 2}, after={"input": 2})
    assert differences(shown(ONE, TWO, SAME), shown(newer, TWO, ONE)) == ()


def test_resources_of_one_plan_alone_and_other_actions():
    replaced = change("terraform_data.one", ("delete", "create"), before={"input": "a"}, after={"input": "b"})
    assert differences(shown(ONE), shown(ONE, TWO)) == ("terraform_data.two: create in the new plan alone",)
    assert differences(shown(ONE, TWO), shown(ONE)) == (
        "terraform_data.two: create in the reviewed plan alone",
    )
    assert differences(shown(ONE), shown(replaced)) == (
        "terraform_data.one: update in the reviewed plan, delete then create in the new one",
    )


def test_two_masked_values_are_not_taken_for_equal_and_not_told():
    def secret(value):
        return change(
            "terraform_data.one",
            before={"input": "old"},
            after={"input": value},
            before_sensitive={"input": True},
            after_sensitive={"input": True},
        )

    found = differences(shown(secret("canary-1")), shown(secret("canary-2")))
    assert len(found) == 1
    assert found[0].startswith("terraform_data.one: ")
    assert "canary" not in repr(found)
    assert "canary" not in repr(compare.Reading(plan_json.decode(shown()), shown(secret("canary-1"))))


def test_a_move_an_import_and_a_deposed_object_are_told_apart():
    moved = change("a.b", ("no-op",), before={}, after={}, previous_address="a.c")
    imported = change("a.b", ("no-op",), before={}, after={}, importing={"id": "i"})
    assert differences(shown(), shown(moved)) == ("a.b: move and no-op in the new plan alone",)
    assert differences(shown(), shown(imported)) == ("a.b: import and no-op in the new plan alone",)
    deposed = change("a.b", ("delete",), before={}, deposed="x1")
    assert differences(shown(), shown(deposed)) == ("a.b (deposed x1): delete in the new plan alone",)


def test_outputs_variables_configuration_and_data_sources_count():
    def output(actions, after):
        return {"output_changes": {"url": {"actions": actions, "before": None, "after": after}}}

    def data(value):
        read = {"address": "module.m.data.x.y", "mode": "data", "values": {"v": value}}
        return {"prior_state": {"values": {"root_module": {"child_modules": [{"resources": [read]}]}}}}

    assert differences(shown(**output(["no-op"], "a")), shown(**output(["no-op"], "b"))) == ()
    assert differences(shown(**output(["create"], "a")), shown(**output(["create"], "b"))) == (
        "output url: not the same in both plans",
    )
    assert differences(shown(variables={"a": {"value": 1}}), shown(variables={"a": {"value": 2}})) == (
        "the values of input variables are not the same",
    )
    assert differences(shown(), shown(configuration={"root_module": {"resources": []}})) == (
        "the configuration is not the same",
    )
    assert differences(shown(**data(1)), shown(**data(1))) == ()
    assert differences(shown(**data(1)), shown(**data(2))) == ("module.m.data.x.y: does not read the same",)
    assert differences(shown(**data(1)), shown()) == ("module.m.data.x.y: does not read the same",)


def configured(**more):
    return shown(ONE, configuration={"root_module": {}, **more})


def test_what_leaves_no_trace_in_a_plan_is_never_the_same():
    inner = {"resources": [{"address": "a.b", "provisioners": [{"type": "local-exec"}]}]}
    data = configured(root_module={"module_calls": {"m": {"module": inner}}})
    assert differences(data, data) == (
        "module.m.a.b: it has provisioners, and what they would do stands in no plan",
    )

    def provider(*references, **more):
        expressions = {
            "region": {"constant_value": "x"},
            "tags": [{"tags": {"references": list(references)}}],
        }
        return configured(provider_config={"aws": {"expressions": expressions, **more}})

    for fine in (provider("var.project", "data.x.y"), provider()):
        assert differences(fine, fine) == ()
    for bad in (
        provider("aws_eks_cluster.a.endpoint"),
        provider("local.x"),
        provider("var.x", module_address="module.m"),
    ):
        assert differences(bad, bad) == (
            "provider aws: it is configured from resources or locals, whose values stand in no plan",
        )


def test_a_difference_is_shown_in_words_of_the_masked_plan():
    from orchestrator.model import Action, Change, Detail, Plan

    def reading(after):
        data = shown(change("a.b", before={"memory": 512}, after={"memory": after}))
        details = (Detail("memory", 512, after),)
        return compare.Reading(
            Plan((Change("a.b", Action.UPDATE, details=details),), (), (), True, "1.11.4", {}), data
        )

    assert compare.differences(reading(1024), reading(2048)) == (
        "a.b: memory: 512 → 1024 in the reviewed plan, 512 → 2048 in the new one",
    )


def test_opening_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    bundle.open_(BLOB, KEY)
    assert list(Path().rglob("*")) == []
