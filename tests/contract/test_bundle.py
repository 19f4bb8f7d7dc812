"""Sealed bundles with the real Terraform, KMS and S3: exactly the reviewed plan is applied, or a reason is told for each thing
that does not fit, and no plan in clear stays anywhere.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from datetime import UTC, datetime, timedelta

import pytest

from orchestrator import store
from orchestrator.aws import Aws
from orchestrator.errors import AwsError, BundleError, TerraformError
from orchestrator.sandbox import control
from orchestrator.terraform import binary, bundle, compare, runner
from orchestrator.terraform.bundle import KmsKey, Manifest, SecretKey, Subject
from orchestrator.terraform.runner import StateIdentity
from tests.conftest import require_tool

pytest_plugins = ("tests.contract.sandbox_fixtures",)
ACCOUNT, REGION = "111111111111", "eu-central-1"
ENVIRON = {key: value for key, value in os.environ.items() if not key.startswith("TF_")}
CANARY = "canary-s3cret-2f81"
CONFIG = """
variable "password" {
  type      = string
  sensitive = true
}
resource "terraform_data" "one" {
  input = "v1"
}
resource "terraform_data" "two" {
  input = var.password
}
output "orch" {
  value = { contract = 1, id = terraform_data.one.output }
}
"""
UNRELATED = 'resource "terraform_data" "unrelated" {\n  input = "x"\n}\n'
COMMIT, BASE = "a1" * 20, "b2" * 20
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
KEY = SecretKey(bytes(range(100, 132)))


def nothing(_event):
    pass


@pytest.fixture(scope="session")
def terraform():
    require_tool("terraform")
    return binary.find("terraform", ENVIRON)


@pytest.fixture
def open_root(tmp_path, terraform):
    def open_root(text=CONFIG, *, folder="root", environ=ENVIRON, password=CANARY):
        path = tmp_path / folder
        path.mkdir(exist_ok=True)
        (path / "main.tf").write_text(text)
        root = runner.open_root_module(
            terraform,
            path,
            backend_config={},
            environ=environ | {"TF_VAR_password": password},
            aws_environ={},
            role="plan",
            provider_mirror="",
            lock_timeout_s=0,
            emit=nothing,
        )
        runner.init_if_needed(root)
        return root

    return open_root


def apply(root):
    saved = runner.plan(root, nothing)
    try:
        return runner.apply(root, saved, nothing)
    finally:
        saved.discard()


def subject(root, plan_file, state, **more):
    """As operations do: the state of the plan file when sealing, that of `terraform state pull` when applying."""
    facts = {
        "environment": "dev",
        "repository": "acme/shop",
        "pull_request": "12",
        "head_commit": COMMIT,
        "base_commit": BASE,
        "account_id": ACCOUNT,
        "region": REGION,
        "lineage": state.lineage,
        "serial": state.serial,
        "setup": bundle.setup(root),
        "plan_sha256": bundle.sha256(plan_file),
    }
    return Subject(**(facts | more))


def manifest_of(sealed):
    return Manifest(
        subject=sealed,
        created_at=bundle.written(NOW),
        expires_at=bundle.written(NOW + timedelta(days=1)),
        created_by="ana",
    )


def seal(root, key=KEY):
    saved = runner.plan(root, nothing)
    try:
        content = saved.file.read_bytes()
    finally:
        saved.discard()
    return bundle.seal(content, manifest_of(subject(root, content, bundle.planned_on(content))), key)


def refusals(root, blob, *, key=KEY, now=NOW, **more):
    manifest, content = bundle.open_(blob, key)
    actual = subject(root, content, runner.state_identity(root), **more)
    return compare.check(manifest, actual, now=now)


def only(found):
    (refusal,) = found
    return refusal


def files_with_canary(folder):
    return [path for path in folder.rglob("*") if path.is_file() and CANARY.encode() in path.read_bytes()]


# --- the happy path


def test_exactly_the_reviewed_plan_is_applied(open_root, tmp_path):
    root = open_root()
    blob = seal(root)
    # What came later into the folder is in no plan that was reviewed.
    open_root(CONFIG.replace('"v1"', '"v2"') + UNRELATED)
    assert refusals(root, blob) == ()
    manifest, content = bundle.open_(blob, KEY)
    restored = runner.restore(root, content)
    assert restored.file.stat().st_mode & 0o777 == 0o600
    assert restored.file.parent.stat().st_mode & 0o777 == 0o700
    assert restored.plan.is_applicable
    assert CANARY not in repr((restored.plan, restored.outputs, manifest))
    assert runner.apply(root, restored, nothing)["orch"] == {"contract": 1, "id": "v1"}
    restored.discard()
    assert not restored.file.parent.exists()
    state = json.loads((root.path / "terraform.tfstate").read_text())
    assert {
        item["name"]: item["instances"][0]["attributes"]["input"]["value"] for item in state["resources"]
    } == {
        "one": "v1",
        "two": CANARY,
    }


def test_it_is_applied_in_another_checkout_on_another_machine(open_root):
    first = open_root()
    apply(first)
    changed = open_root(CONFIG.replace('"v1"', '"v2"'))
    blob = seal(changed)
    other = open_root(CONFIG.replace('"v1"', '"v2"'), folder="other")
    shutil.copy(first.path / "terraform.tfstate", other.path)
    assert refusals(other, blob) == ()
    restored = runner.restore(other, bundle.open_(blob, KEY)[1])
    assert runner.apply(other, restored, nothing)["orch"]["id"] == "v2"
    restored.discard()


def test_no_plan_in_clear_stays(open_root, tmp_path):
    root = open_root()
    blob = seal(root)
    (tmp_path / "stored.bundle").write_bytes(blob)
    restored = runner.restore(root, bundle.open_(blob, KEY)[1])
    assert restored.file in [path for path in tmp_path.rglob("*") if path.is_file()]
    restored.discard()
    with pytest.raises(TerraformError):
        runner.restore(root, b"no plan file " + CANARY.encode())
    assert files_with_canary(tmp_path) == []


def test_sealed_plans_of_dead_runs_are_removed(open_root):
    root = open_root()
    left = root.data_dir / "orch" / "sealed-4194305"
    left.mkdir()
    (left / "plan.tfplan").write_text("secret")
    runner.plan(root, nothing).discard()
    assert not left.exists()


def test_a_restored_plan_stands_beside_a_fresh_one(open_root):
    root = open_root()
    restored = runner.restore(root, bundle.open_(seal(root), KEY)[1])
    fresh = runner.plan(root, nothing)
    assert restored.file.exists()
    assert fresh.file.exists()
    assert (
        compare.differences(
            compare.Reading(restored.plan, runner.show(root, restored.file)),
            compare.Reading(fresh.plan, runner.show(root, fresh.file)),
        )
        == ()
    )
    fresh.discard()
    restored.discard()


# --- twelve that are refused, each with its own reason


def test_another_commit(open_root):
    root = open_root()
    refusal = only(refusals(root, seal(root), head_commit="d4" * 20))
    assert (refusal.field, refusal.said, refusal.expected) == ("head commit", COMMIT, "d4" * 20)


def test_an_altered_plan_file(open_root):
    root = open_root()
    blob = bytearray(seal(root))
    blob[-500] ^= 1
    with pytest.raises(BundleError, match="its contents are not those that were sealed") as caught:
        refusals(root, bytes(blob))
    assert caught.value.exit_code == 21


def test_an_altered_field_of_the_manifest(open_root):
    root = open_root()
    blob = seal(root)
    altered = blob.replace(b'"environment":"dev"', b'"environment":"prd"')
    assert altered != blob
    with pytest.raises(BundleError, match="its contents are not those that were sealed"):
        refusals(root, altered, environment="prd")


def test_another_environment(open_root):
    root = open_root()
    refusal = only(refusals(root, seal(root), environment="prod"))
    assert (refusal.field, refusal.said, refusal.expected) == ("environment", "dev", "prod")


def test_another_repository(open_root):
    root = open_root()
    refusal = only(refusals(root, seal(root), repository="mallory/shop"))
    assert (refusal.field, refusal.said, refusal.expected) == ("repository", "acme/shop", "mallory/shop")


def test_a_state_that_was_changed_since(open_root):
    root = open_root()
    apply(root)
    changed = open_root(CONFIG.replace('"v1"', '"v2"'))
    blob = seal(changed)
    before = runner.state_identity(root)
    apply(open_root(CONFIG + UNRELATED))
    found = refusals(changed, blob)
    after = runner.state_identity(root)
    assert after.lineage == before.lineage
    assert after.serial > before.serial
    assert compare.is_stale_only(found)
    assert (only(found).said, only(found).expected) == (str(before.serial), str(after.serial))
    # Terraform's own word on it.
    restored = runner.restore(changed, bundle.open_(blob, KEY)[1])
    with pytest.raises(TerraformError) as caught:
        runner.apply(changed, restored, nothing)
    restored.discard()
    assert "Saved plan is stale" in "\n".join(caught.value.details)


def test_a_plan_for_the_first_apply_after_the_first_apply(open_root):
    root = open_root()
    blob = seal(root)
    assert bundle.open_(blob, KEY)[0].subject.serial == 0
    apply(root)
    assert compare.is_stale_only(refusals(root, blob))


def test_another_state(open_root):
    root = open_root()
    apply(root)
    blob = seal(open_root(CONFIG.replace('"v1"', '"v2"')))
    (root.path / "terraform.tfstate").unlink()
    apply(root)
    refusal = only(refusals(root, blob))
    assert refusal.field == "lineage"
    assert refusal.expected == runner.state_identity(root).lineage


def test_a_plan_that_has_expired(open_root):
    root = open_root()
    refusal = only(refusals(root, seal(root), now=NOW + timedelta(days=1)))
    assert (refusal.field, refusal.said) == ("expires", "2026-03-02T12:00:00Z")


def test_another_terraform(open_root):
    root = open_root()
    blob = seal(root)
    newer = dataclasses.replace(root, binary=dataclasses.replace(root.binary, version="1.99.0"))
    refusal = only(refusals(newer, blob))
    assert refusal.field == "version"
    assert refusal.said == f"terraform {root.binary.version}"
    assert refusal.expected == "terraform 1.99.0"


def test_a_changed_lock_file(open_root):
    root = open_root()
    blob = seal(root)
    (root.path / ".terraform.lock.hcl").write_text("# Another one.\n")
    refusal = only(refusals(root, blob))
    assert refusal.field == "providers"
    assert refusal.said == "a lock file of sha256 none"
    assert refusal.expected == f"a lock file of sha256 {bundle.sha256(b'# Another one.' + bytes([10]))[:16]}"


def test_another_key(open_root):
    root = open_root()
    with pytest.raises(BundleError, match="sealed with another ORCH_SEAL_KEY"):
        refusals(root, seal(root), key=SecretKey(bytes(range(32))))


@pytest.fixture
def session(cloud, tmp_path):
    environ = control.aws_environment(cloud.sandbox, account_id=ACCOUNT, region=REGION)
    return Aws(REGION, {"HOME": str(tmp_path), **environ})


def make_key(cloud, alias):
    kms = cloud.client("kms")
    key_id = kms.create_key()["KeyMetadata"]["KeyId"]
    kms.create_alias(AliasName=alias, TargetKeyId=key_id)
    return KmsKey(kms, alias)


def test_a_key_of_kms_that_was_made_for_another_manifest(open_root, cloud):
    root = open_root()
    key = make_key(cloud, "alias/shop-dev")
    blob = seal(root, key)
    altered = blob.replace(b'"environment":"dev"', b'"environment":"prd"')
    with pytest.raises(BundleError, match="encryption context"):
        refusals(root, altered, key=key, environment="prd")


# --- KMS


def test_a_bundle_sealed_with_kms_is_opened_by_its_context_alone(open_root, cloud):
    root = open_root()
    key = make_key(cloud, "alias/shop-dev")
    blob = seal(root, key)
    assert refusals(root, blob, key=key) == ()
    length = int.from_bytes(blob[10:14], "big")
    information = json.loads(blob[14 : 14 + length])["key"]
    assert information["kind"] == "kms"
    assert information["key_arn"].startswith(f"arn:aws:kms:{REGION}:{ACCOUNT}:key/")
    # The sandbox holds to the context by itself: the same ciphertext opens under no other.
    with pytest.raises(BundleError, match="encryption context"):
        key.find(information, {"orch:environment": "dev"})
    said = [call["operation"] for call in cloud.calls()]
    assert said.count("GenerateDataKey") == 1


def test_another_key_of_kms(open_root, cloud):
    root = open_root()
    blob = seal(root, make_key(cloud, "alias/shop-dev"))
    other = make_key(cloud, "alias/shop-prod")
    # AWS says IncorrectKeyException (API_Decrypt), the sandbox AccessDeniedException; nobody gets the key.
    with pytest.raises((BundleError, AwsError)):
        refusals(root, blob, key=other)


def test_a_secret_does_not_pass_where_kms_is_asked_for(open_root, cloud):
    root = open_root()
    with pytest.raises(BundleError, match="kind 'secret', not 'kms'"):
        refusals(root, seal(root), key=make_key(cloud, "alias/shop-dev"))


def test_a_key_that_is_not_there_yet(open_root, cloud):
    with pytest.raises(AwsError) as caught:
        seal(open_root(), KmsKey(cloud.client("kms"), "alias/shop-dev"))
    assert caught.value.code == "NotFoundException"
    assert "made by its first apply" in caught.value.hint


# --- what Terraform says of the state


def test_only_lineage_and_serial_leave_the_state(open_root):
    root = open_root()
    assert runner.state_identity(root) == StateIdentity("", 0)
    apply(root)
    found = runner.state_identity(root)
    state = json.loads((root.path / "terraform.tfstate").read_text())
    assert found == StateIdentity(state["lineage"], state["serial"])
    assert CANARY not in repr(found)


def test_a_state_that_cannot_be_read_is_not_quoted(open_root):
    root = open_root()
    (root.path / "terraform.tfstate").write_text('{"version": 4, "canary": "' + CANARY)
    with pytest.raises(TerraformError) as caught:
        runner.state_identity(root)
    assert CANARY not in repr((caught.value.message, caught.value.details))


def test_a_failure_does_not_quote_what_was_read_of_the_state(open_root, tmp_path):
    broken = tmp_path / "terraform"
    broken.write_text(f"#!/bin/sh\necho '{CANARY}'\necho 'Error: no such bucket' >&2\nexit 1\n")
    broken.chmod(0o755)
    root = dataclasses.replace(open_root(), binary=binary.Binary((str(broken),), str(broken), "1.11.4"))
    with pytest.raises(TerraformError) as caught:
        runner.state_identity(root)
    assert caught.value.details == ("Error: no such bucket",)
    assert CANARY not in repr((caught.value.message, caught.value.details))


def test_what_is_planned_on_is_the_state_that_is_there(open_root):
    root = open_root()
    apply(root)
    saved = runner.plan(root, nothing)
    content = saved.file.read_bytes()
    saved.discard()
    assert bundle.planned_on(content) == runner.state_identity(root)


def test_a_plan_does_not_see_the_key_it_is_sealed_with(open_root):
    text = CONFIG + (
        'resource "terraform_data" "spy" {\n  provisioner "local-exec" {\n'
        '    command = "echo ${length(local.x)}; printenv ORCH_SEAL_KEY > seen || true"\n  }\n}\nlocals {\n  x = "y"\n}\n'
    )
    root = open_root(text, environ=ENVIRON | {"ORCH_SEAL_KEY": "the-key"})
    apply(root)
    assert (root.path / "seen").read_text() == ""


# --- equivalence


def reviewed_and_fresh(root, blob):
    restored = runner.restore(root, bundle.open_(blob, KEY)[1])
    fresh = runner.plan(root, nothing)
    try:
        return compare.differences(
            compare.Reading(restored.plan, runner.show(root, restored.file)),
            compare.Reading(fresh.plan, runner.show(root, fresh.file)),
        )
    finally:
        restored.discard()
        fresh.discard()


def test_a_stale_plan_may_be_the_same_as_a_new_one(open_root):
    text = CONFIG + UNRELATED
    root = open_root(text)
    apply(root)
    changed = text.replace('"v1"', '"v2"')
    blob = seal(open_root(changed))
    # Somebody changes, and changes back, what this plan does not touch.
    apply(open_root(text.replace('"x"', '"y"')))
    apply(open_root(text))
    root = open_root(changed)
    assert compare.is_stale_only(refusals(root, blob))
    assert reviewed_and_fresh(root, blob) == ()


def test_a_stale_plan_that_is_not_the_same_any_more_shows_the_difference(open_root):
    text = CONFIG + UNRELATED
    root = open_root(text)
    apply(root)
    changed = text.replace('"v1"', '"v2"')
    blob = seal(open_root(changed))
    apply(open_root(text.replace('"x"', '"y"')))
    found = reviewed_and_fresh(open_root(changed), blob)
    assert found == ("terraform_data.unrelated: update in the new plan alone",)


def test_a_secret_that_changed_since_is_a_difference_without_being_shown(open_root):
    root = open_root()
    apply(root)
    first = open_root(password="canary-first")
    blob = seal(first)
    second = open_root(password="canary-second")
    found = reviewed_and_fresh(second, blob)
    assert any(line.startswith("terraform_data.two: ") for line in found)
    assert "the values of input variables are not the same" in found
    assert "canary" not in repr(found)


# --- the store


def put(session, environment, commit, content=b"sealed"):
    return store.put_plan(
        session.s3, "orch-state", content, environment=environment, commit=commit, account_id=ACCOUNT
    )


@pytest.fixture
def bucket(session):
    store.create_bucket(session.s3, "orch-state", region=REGION, account_id=ACCOUNT)
    return {"bucket": "orch-state", "account_id": ACCOUNT}


def test_a_plan_is_stored_by_environment_and_commit(session, bucket):
    key = put(session, "dev", COMMIT)
    assert key == f"orch/plans/dev/{COMMIT}.bundle"
    found = session.s3.head_object(Bucket="orch-state", Key=key)
    assert found["Metadata"] == {"orch-environment": "dev", "orch-commit": COMMIT}
    assert store.get_plan(session.s3, environment="dev", commit=COMMIT, **bucket) == b"sealed"
    put(session, "dev", COMMIT, b"sealed again")
    assert store.get_plan(session.s3, environment="dev", commit=COMMIT, **bucket) == b"sealed again"


def test_a_plan_is_found_by_the_beginning_of_its_commit(session, bucket):
    for commit in (COMMIT, BASE, "a1b2" + COMMIT[4:]):
        put(session, "dev", commit)
    put(session, "prod", "c3" * 20)
    s3 = session.s3
    assert store.find_plan(s3, environment="dev", commit="b2b2", **bucket) == BASE
    assert store.find_plan(s3, environment="dev", commit=COMMIT, **bucket) == COMMIT
    with pytest.raises(BundleError, match="there is no sealed plan of commit c3c3") as caught:
        store.find_plan(s3, environment="dev", commit="c3c3", **bucket)
    assert caught.value.exit_code == 21
    assert "orch plan --env dev --seal" in caught.value.hint
    assert f"there is one of {BASE}" in caught.value.details
    assert "c3" * 20 not in repr(caught.value.details)
    put(session, "dev", "a1a1" + "0" * 36)
    with pytest.raises(BundleError, match="2 sealed plans") as caught:
        store.find_plan(s3, environment="dev", commit="a1a1", **bucket)
    assert set(caught.value.details) == {COMMIT, "a1a1" + "0" * 36}
    for nonsense in ("", "HEAD", "../x", "A1A1"):
        with pytest.raises(BundleError, match="is no commit"):
            store.find_plan(s3, environment="dev", commit=nonsense, **bucket)


def test_a_plan_that_is_not_there(session, bucket):
    with pytest.raises(BundleError, match="there is no sealed plan of commit a1a1"):
        store.get_plan(session.s3, environment="dev", commit=COMMIT, **bucket)


def test_every_request_names_the_account_that_the_bucket_must_belong_to(session, bucket):
    # The sandbox does not hold to it, so what S3 would refuse is told by what is sent.
    said = []
    session.s3.meta.events.register(
        "before-send.s3", lambda request, **_rest: said.append(request.headers["x-amz-expected-bucket-owner"])
    )
    put(session, "dev", COMMIT)
    store.get_plan(session.s3, environment="dev", commit=COMMIT, **bucket)
    store.find_plan(session.s3, environment="dev", commit=COMMIT, **bucket)
    store.last_modified(session.s3, key="dev/terraform.tfstate", **bucket)
    assert said == [ACCOUNT.encode()] * 4


def test_when_the_state_last_changed(session, bucket):
    assert store.last_modified(session.s3, key="dev/terraform.tfstate", **bucket) is None
    session.s3.put_object(Bucket="orch-state", Key="dev/terraform.tfstate", Body=b"{}")
    at = store.last_modified(session.s3, key="dev/terraform.tfstate", **bucket)
    assert at is not None
    assert at.tzinfo is not None


def test_old_sealed_plans_expire(session, bucket):
    rules = session.s3.get_bucket_lifecycle_configuration(Bucket="orch-state")["Rules"]
    (rule,) = [rule for rule in rules if rule.get("Expiration", {}).get("Days")]
    assert rule["Filter"] == {"Prefix": "orch/plans/"}
    assert rule["Expiration"] == {"Days": 30}


def test_from_the_plan_through_the_store_to_the_apply(open_root, session, cloud, bucket):
    root = open_root()
    key = make_key(cloud, "alias/shop-dev")
    put(session, "dev", COMMIT, seal(root, key))
    commit = store.find_plan(session.s3, environment="dev", commit=COMMIT[:8], **bucket)
    blob = store.get_plan(session.s3, environment="dev", commit=commit, **bucket)
    assert refusals(root, blob, key=key) == ()
    restored = runner.restore(root, bundle.open_(blob, key)[1])
    assert runner.apply(root, restored, nothing)["orch"]["id"] == "v1"
    restored.discard()
