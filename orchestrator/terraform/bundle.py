"""Sealed bundles: a plan file and the manifest of what it was made for, in one encrypted and authenticated blob.

Hides the container's format, the cryptography, KMS, and where a plan file keeps the identity of its state. Touches: KMS, and
the root module's lock file and backend record; a plan in clear only in memory (runner.restore puts it into a private folder).

    magic (8) · version (2) · length of the header (4) · header: JSON · nonce (12) · AES-256-GCM(plan file), tag (16)

Everything before the nonce is associated data, so that no byte of manifest, key information or plan can be changed. Each bundle
has a data key of its own: KMS's GenerateDataKey, bound to the manifest by its encryption context, or derived by HKDF over a
random salt from ORCH_SEAL_KEY. Hence 96 random bits are nonce enough (NIST SP 800-38D, 8.3, is about many messages a key). The
manifest can be read without the key, and holds no secret.

What a seal proves: the plan comes from someone who could seal. A plan runs code of whoever wrote the pull request, in a job that
can seal, so whoever applies a bundle holds it to the gates again, shows what is in *it*, and not what somebody said of it, and
prefers KMS, where the role of one environment cannot seal for another.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
import re
import struct
from dataclasses import asdict, dataclass, field
from datetime import UTC
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from orchestrator.aws import translated
from orchestrator.errors import AwsError, BundleError, SettingsError
from orchestrator.terraform.runner import StateIdentity

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from orchestrator.terraform.runner import RootModule

SCHEMA = 1
# The way out of nearly everything here.
AGAIN = "plan, seal and review again"
SECRET_VARIABLE = "ORCH_SEAL_KEY"  # noqa: S105  # the variable's name
_MAGIC = b"ORCHPLAN"
_VERSION = 1
_PREFIX = struct.Struct(">8sHI")
_NONCE_BYTES = 12
_TAG_BYTES = 16
_KEY_BYTES = 32
# 32 random bytes are about 30 different ones; fewer than 16 do not come by chance.
_DISTINCT_BYTES = 16
_PROVIDER = re.compile(r'^provider "([^"]+)" \{\s+version\s*=\s*"([^"]+)"', re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What a plan was made with: where the state lies, and which tools. `providers` are (address, version), for people; what
    counts is `lock_sha256`, of .terraform.lock.hcl, empty where there is none.
    """

    state_bucket: str
    state_key: str
    product: str
    version: str
    lock_sha256: str
    providers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What a plan is for, said alike by who seals it and by who applies it, so that both can be compared field by field.

    `pull_request` and `base_commit` may be empty for who applies: after a merge they are not known for sure.
    """

    environment: str
    repository: str
    head_commit: str
    account_id: str
    region: str
    lineage: str
    serial: int
    setup: Setup
    plan_sha256: str
    pull_request: str = ""
    base_commit: str = ""


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What stands in a bundle beside the plan file. Times are ISO 8601 in UTC; `ci_run` is the address of the run that sealed."""

    subject: Subject
    created_at: str
    expires_at: str
    created_by: str
    ci_run: str = ""
    orch_version: str = ""
    schema: int = SCHEMA

    def canonical(self) -> bytes:
        """JSON that is the same for equal manifests: sorted keys, no spaces, ASCII."""
        return _canonical(asdict(self))


# --- keys


class SealKey(Protocol):
    """Makes and finds again the data key of one bundle. `context` is what the key is bound to beside the header."""

    def make(self, context: Mapping[str, str], /) -> tuple[bytes, dict[str, str]]:
        """A new data key of 256 bits, and what the header must hold for finding it again."""
        ...

    def find(self, information: Mapping[str, str], context: Mapping[str, str], /) -> bytes:
        """The data key of a bundle whose header holds this. Raises BundleError when it is another key's."""
        ...


class Kms(Protocol):
    """What is used of boto3's KMS client."""

    def generate_data_key(self, **request: Any) -> Mapping[str, Any]: ...

    def decrypt(self, **request: Any) -> Mapping[str, Any]: ...


@dataclass(frozen=True)
class SecretKey:
    """The secret of ORCH_SEAL_KEY: HKDF-SHA256 (RFC 5869) over a random salt makes each bundle's key from it.

    32 more bytes of it stand in the header: they tell a wrong key from an altered bundle, and bind the bundle to one key, which
    GCM alone does not do (https://eprint.iacr.org/2020/1456).
    """

    secret: bytes = field(repr=False)

    @classmethod
    def parse(cls, text: str) -> SecretKey:
        """The secret as base64 or hex. Raises SettingsError that does not show it when it is no 32 random bytes."""
        return cls(_strong(_decoded_secret(text.strip())))

    def make(self, _context: Mapping[str, str], /) -> tuple[bytes, dict[str, str]]:
        salt = os.urandom(_KEY_BYTES)
        key, check = self._derive(salt)
        return key, {"kind": "secret", "salt": _text(salt), "check": _text(check)}

    def find(self, information: Mapping[str, str], _context: Mapping[str, str], /) -> bytes:
        import hmac

        _require_kind(information, "secret", f"{SECRET_VARIABLE} opens bundles that were sealed with it")
        key, check = self._derive(_bytes(information, "salt"))
        if not hmac.compare_digest(check, _bytes(information, "check")):
            raise BundleError(
                f"the sealed plan was sealed with another {SECRET_VARIABLE}, or its header was altered",
                hint=f"give plan and apply the same {SECRET_VARIABLE}; after changing it, {AGAIN}",
            )
        return key

    def _derive(self, salt: bytes) -> tuple[bytes, bytes]:
        from cryptography.hazmat.primitives.hashes import SHA256
        from cryptography.hazmat.primitives.kdf.hkdf import HKDF

        # Nothing of the header goes in: the seal holds that already, and a wrong key stays apart from an altered header.
        both = HKDF(SHA256(), 2 * _KEY_BYTES, salt, b"orch sealed plan 1").derive(self.secret)
        return both[:_KEY_BYTES], both[_KEY_BYTES:]


@dataclass(frozen=True)
class KmsKey:
    """A key in KMS, by ARN, id or alias. It is named when decrypting too, so that a bundle cannot bring along a key of its own
    (https://docs.aws.amazon.com/kms/latest/APIReference/API_Decrypt.html).
    """

    kms: Kms
    key_id: str

    def make(self, context: Mapping[str, str], /) -> tuple[bytes, dict[str, str]]:
        try:
            with translated("kms:GenerateDataKey"):
                made = self.kms.generate_data_key(
                    KeyId=self.key_id, KeySpec="AES_256", EncryptionContext=dict(context)
                )
        except AwsError as error:
            self._explain(error)
            raise
        return made["Plaintext"], {
            "kind": "kms",
            "key_arn": str(made["KeyId"]),
            "ciphertext": _text(made["CiphertextBlob"]),
        }

    def find(self, information: Mapping[str, str], context: Mapping[str, str], /) -> bytes:
        _require_kind(information, "kms", f"kms_key is {self.key_id}")
        try:
            with translated("kms:Decrypt"):
                answer = self.kms.decrypt(
                    KeyId=self.key_id,
                    CiphertextBlob=_bytes(information, "ciphertext"),
                    EncryptionContext=dict(context),
                )
        except AwsError as error:
            self._explain(error)
            raise
        key: bytes = answer["Plaintext"]
        return key

    def _explain(self, error: AwsError) -> None:
        """Raises what says more than KMS does, if there is any."""
        if error.code == "InvalidCiphertextException":
            raise BundleError(
                "KMS refuses the sealed plan's key: it was made for another manifest (encryption context), or was altered",
                hint=AGAIN,
                details=error.details,
            ) from error
        if error.code == "IncorrectKeyException":
            raise BundleError(
                f"the sealed plan was sealed under another KMS key than {self.key_id}",
                hint=f"mend kms_key, or {AGAIN}",
                details=error.details,
            ) from error
        if error.code == "NotFoundException":
            raise AwsError(
                error.message,
                code=error.code,
                hint=f"there is no KMS key {self.key_id}; the environment's own is made by its first apply, which cannot be"
                " sealed with it: name a key that is there, or apply unsealed the first time",
                details=error.details,
            ) from error


def has_key(environ: Mapping[str, str], *, kms_key: str) -> bool:
    """Whether `key_from` finds a key, good or not."""
    return bool(kms_key or environ.get(SECRET_VARIABLE, "").strip())


def key_from(environ: Mapping[str, str], *, kms_key: str, kms: Callable[[], Kms]) -> SealKey:
    """The key that this environment seals with: KMS's when `kms_key` is set, else that of ORCH_SEAL_KEY. `kms` makes the client
    when it is needed. Raises SettingsError with neither: nothing is ever stored unsealed.
    """
    if kms_key:
        return KmsKey(kms(), kms_key)
    if secret := environ.get(SECRET_VARIABLE, "").strip():
        return SecretKey.parse(secret)
    raise SettingsError(
        f"there is no key to seal plans with: neither kms_key nor {SECRET_VARIABLE} is set",
        hint=f"set kms_key in orch.toml, or make a secret {SECRET_VARIABLE} by `openssl rand -base64 32`",
    )


# --- the container


@dataclass(frozen=True)
class _Header:
    """What stands in clear before the ciphertext; `key` is what a SealKey finds its data key by."""

    manifest: Manifest
    key: dict[str, str]


def seal(plan_file: bytes, manifest: Manifest, key: SealKey) -> bytes:
    """The bundle of a plan file. Sealed twice, one plan gives two different bundles. Raises AwsError, BundleError."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    if manifest.subject.plan_sha256 != sha256(plan_file):
        raise ValueError("the manifest is that of another plan file")
    data_key, information = key.make(_context(manifest))
    header = _canonical(asdict(_Header(manifest, information)))
    associated = _PREFIX.pack(_MAGIC, _VERSION, len(header)) + header
    nonce = os.urandom(_NONCE_BYTES)
    return associated + nonce + AESGCM(data_key).encrypt(nonce, plan_file, associated)


def open_(blob: bytes, key: SealKey) -> tuple[Manifest, bytes]:
    """Manifest and plan file of a bundle, of which not one byte was changed. Whether it is what is to be applied now is for
    `compare.check`. Raises BundleError with the reason, AwsError.
    """
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    associated, rest = _split(blob)
    header = _header(associated[_PREFIX.size :])
    if header.manifest.schema > SCHEMA:
        raise BundleError(
            f"the sealed plan has a manifest of schema {header.manifest.schema}, and this version of orch knows {SCHEMA}",
            hint="use one version of orch for plan and apply",
        )
    data_key = key.find(header.key, _context(header.manifest))
    try:
        plan_file = AESGCM(data_key).decrypt(rest[:_NONCE_BYTES], rest[_NONCE_BYTES:], associated)
    except InvalidTag:
        raise _altered("its contents are not those that were sealed") from None
    return header.manifest, plan_file


def _split(blob: bytes) -> tuple[bytes, bytes]:
    """The associated data, and nonce with ciphertext."""
    if len(blob) < _PREFIX.size:
        raise _altered("it is cut off")
    magic, version, length = _PREFIX.unpack_from(blob)
    if magic != _MAGIC:
        raise BundleError("this is no sealed plan of orch", hint=AGAIN)
    if version != _VERSION:
        raise BundleError(
            f"the sealed plan has format {version}, and this version of orch reads format {_VERSION}",
            hint="use one version of orch for plan and apply",
        )
    end = _PREFIX.size + length
    if len(blob) < end + _NONCE_BYTES + _TAG_BYTES:
        raise _altered("it is cut off")
    return blob[:end], blob[end:]


def _header(text: bytes) -> _Header:
    from pydantic import TypeAdapter, ValidationError

    try:
        # Strict in types; a field that a newer schema adds is passed by, and the schema then refused.
        return TypeAdapter(_Header).validate_json(text, strict=True)
    except ValidationError as error:
        fields = {".".join(map(str, problem["loc"])) for problem in error.errors(include_input=False)}
        said = ", ".join(sorted(filter(None, fields)))
        raise _altered(f"its header is not as orch writes it{': ' if said else ''}{said}") from None


def _context(manifest: Manifest) -> dict[str, str]:
    """What the data key is bound to. The last entry covers the whole manifest; the others are for conditions in policies
    (`kms:EncryptionContext:orch:environment`) and for who reads CloudTrail.
    """
    subject = manifest.subject
    # All together far below KMS's limit of 8192 bytes, whatever the manifest holds.
    # https://docs.aws.amazon.com/kms/latest/APIReference/API_GenerateDataKey.html
    return {
        "orch:environment": subject.environment,
        "orch:repository": subject.repository,
        "orch:commit": subject.head_commit,
        "orch:account": subject.account_id,
        "orch:plan-sha256": subject.plan_sha256,
        "orch:manifest-sha256": sha256(manifest.canonical()),
    }


# --- what a plan is for


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def planned_on(plan_file: bytes) -> StateIdentity | None:
    """The state that a plan was made on, from the plan file's copy of it; None where it cannot be read.

    That a plan file is a zip with a member `tfstate` is documented nowhere (Terraform: internal/plans/planfile), and OpenTofu
    may encrypt it; callers then take `runner.state_identity` just after the plan. A state that changed in between is refused
    by Terraform itself, only later.
    """
    import io
    import zipfile
    import zlib

    try:
        with zipfile.ZipFile(io.BytesIO(plan_file)) as archive:
            state = json.loads(archive.read("tfstate"))
        return StateIdentity(str(state["lineage"]), int(state["serial"]))
    # RuntimeError is zipfile's for an encrypted member and, as NotImplementedError, for a compression it does not know.
    except (zipfile.BadZipFile, zlib.error, KeyError, ValueError, TypeError, RuntimeError, EOFError):
        return None


def setup(root: RootModule) -> Setup:
    """What a root module, after init, plans and applies with."""
    bucket, key = _backend(root.data_dir / "terraform.tfstate")
    lock_file = root.path / ".terraform.lock.hcl"
    lock = lock_file.read_bytes() if lock_file.is_file() else b""
    return Setup(
        state_bucket=bucket,
        state_key=key,
        product="opentofu" if "tofu" in Path(root.binary.path).name else "terraform",
        version=root.binary.version,
        lock_sha256=sha256(lock) if lock else "",
        providers=tuple(sorted(_PROVIDER.findall(lock.decode(errors="replace")))),
    )


def _backend(record: Path) -> tuple[str, str]:
    """Bucket and key, or path, of the backend that init noted down. The note may hold credentials; these two alone leave it."""
    if not record.is_file():
        return "", "terraform.tfstate"
    try:
        config = json.loads(record.read_text(encoding="utf-8"))["backend"]["config"]
        return str(config.get("bucket") or ""), str(
            config.get("key") or config.get("path") or "terraform.tfstate"
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        raise BundleError(
            f"{record} does not say where the state lies", hint="remove it, and plan again"
        ) from None


def written(at: datetime) -> str:
    """A time as it stands in a manifest."""
    return at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


# --- bytes and text


def _canonical(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode("ascii")


def _text(value: bytes) -> str:
    return base64.b64encode(value).decode("ascii")


def _bytes(information: Mapping[str, str], name: str) -> bytes:
    try:
        return base64.b64decode(information[name], validate=True)
    except (KeyError, binascii.Error, ValueError):
        raise _altered(f"its key information has no valid `{name}`") from None


def _require_kind(information: Mapping[str, str], kind: str, reason: str) -> None:
    """A bundle does not choose how it is opened: who can only make a secret must not pass where KMS is asked for."""
    if (said := information.get("kind")) != kind:
        raise BundleError(
            f"the sealed plan was sealed with a key of kind {said!r}, not {kind!r}: {reason}",
            hint=f"use one kind of key for plan and apply, and {AGAIN}",
        )


def _altered(what: str) -> BundleError:
    return BundleError(f"the sealed plan was altered: {what}", hint=AGAIN)


def _decoded_secret(text: str) -> bytes:
    if re.fullmatch(r"[0-9A-Fa-f]{64}", text):
        return bytes.fromhex(text)
    # Padding is often lost on the way; the alphabet of URLs is as good.
    digits = text.rstrip("=").translate(str.maketrans("-_", "+/"))
    try:
        return base64.b64decode(digits + "=" * (-len(digits) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise _weak("it is neither base64 nor 64 hexadecimal digits") from None


def _strong(secret: bytes) -> bytes:
    if len(secret) != _KEY_BYTES:
        raise _weak(f"it holds {len(secret)} bytes")
    if len(set(secret)) < _DISTINCT_BYTES or all(32 <= byte < 127 for byte in secret):
        raise _weak("its bytes are not random")
    return secret


def _weak(why: str) -> SettingsError:
    return SettingsError(
        f"{SECRET_VARIABLE} must be 32 random bytes, as base64 or hex: {why}",
        hint="make one by `openssl rand -base64 32`",
    )
