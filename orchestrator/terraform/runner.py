"""Runs Terraform in one root module: init (only when its inputs changed), plan, apply of that saved plan.

Comes in: a Binary, a root module, backend settings, a clean environment. Goes out: Plan, SavedPlan, outputs, events.
Touches: the root module's data folder (.terraform), AWS and the state through Terraform. argv come from python_terraform's
`generate_cmd_string`, with flags alone: its other calls are broken with Terraform 1.x, and a dict would make it write
variables to a file that nobody removes. Nothing but a saved plan is ever applied.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import re
import shutil
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from orchestrator import aws, process
from orchestrator.errors import Mark, StateLockedError, TerraformError
from orchestrator.events import Emit, Warned
from orchestrator.terraform import masking, mirror, plan_json
from orchestrator.terraform.stream import Diagnostic, Stream

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from orchestrator.model import Plan
    from orchestrator.terraform.binary import Binary

# Variables that would silently change what a command does. TF_VAR_* and TF_PLUGIN_CACHE_DIR stay: they are inputs.
_DROPPED = (
    "TF_CLI_ARGS",
    "TF_LOG",
    "TF_WORKSPACE",
    "TF_DATA_DIR",
    "TF_CLI_CONFIG_FILE",
    "TF_IN_AUTOMATION",
    "TF_INPUT",
    # A plan runs code of whoever wrote it (providers, `data "external"`), which must not be able to seal another one.
    "ORCH_SEAL_KEY",
)
_INIT_NEEDED = (
    "Backend initialization required",
    "Required plugins are not installed",
    "Inconsistent dependency lock file",
    "Module not installed",
    "Module source has changed",
    "Module version requirements have changed",
    "Initialization required",
)
# How Go's runtime and Terraform begin what they say when they crash, and the functions of the stack that follows. Terraform exits
# with 11 then (hashicorp/terraform, internal/logging/panic.go), or with 2 where Go's runtime ends it.
_CRASH = re.compile(
    r"(?m)^(?:!{3,} TERRAFORM CRASH|panic: |fatal error: |SIG[A-Z]+: |goroutine \d+ [^\n]*\[)"
)
_FRAME = re.compile(r"(?m)^(?!runtime[./]|panic\()([\w./~*()\[\]-]+)\([^()\n]*\)\n\s+\S+\.go:\d+")
_SHOWN_FRAMES = 5
_INIT_INPUT = re.compile(r'^\s*(module\s+"|source\s*=|version\s*=|required_version|backend\s+")')


@dataclass(frozen=True)
class RootModule:
    """Where Terraform runs and with what: everything a command needs, made once per run."""

    binary: Binary
    path: Path
    backend_config: Mapping[str, str]
    env: Mapping[str, str]
    lock_timeout_s: int

    @property
    def data_dir(self) -> Path:
        return self.path / ".terraform"

    @property
    def nets(self) -> masking.Nets:
        """What no text of a command may show: credentials, and variables whose names say that they are secret."""
        return masking.Nets(masking.secrets_in(self.env))


@dataclass(frozen=True)
class StateIdentity:
    """Which state it is, and how often it was written: what Terraform itself compares before it applies a saved plan. A state
    that was never written has serial 0 and no lineage.
    """

    lineage: str = ""
    serial: int = 0


@dataclass(frozen=True)
class SavedPlan:
    """A plan file, and what is in it. The file holds secrets in clear: it lives in a private folder until `discard`. `nets` keep
    them out of what its apply says. `outputs` are what the plan makes of them, `prior_outputs` what they are.
    """

    file: Path
    plan: Plan
    outputs: Mapping[str, object]
    nets: masking.Nets | None = field(default=None, repr=False, compare=False)
    prior_outputs: Mapping[str, object] = field(default_factory=dict)

    def discard(self) -> None:
        shutil.rmtree(self.file.parent, ignore_errors=True)


def open_root_module(
    binary: Binary,
    path: Path,
    *,
    backend_config: Mapping[str, str],
    environ: Mapping[str, str],
    aws_environ: Mapping[str, str],
    role: str,
    provider_mirror: str,
    lock_timeout_s: int,
    emit: Emit,
) -> RootModule:
    """Prepares a root module for commands, run as the work of this pipeline role (see aws.Aws). Raises TerraformError
    when the folder holds no configuration.
    """
    if not any(path.glob("*.tf")):
        raise TerraformError(
            f"there is no Terraform configuration in {path}",
            hint="set `root_module` of the environment in orch.toml",
        )
    data_dir = path / ".terraform"
    config = mirror.cli_config(provider_mirror, environ, folder=data_dir / "orch")
    if config.warning:
        emit(Warned(config.warning))
    env = clean_environment(environ) | dict(aws_environ) | {"TF_DATA_DIR": str(data_dir)}
    # Read by the AWS provider and by the S3 backend.
    env["TF_APPEND_USER_AGENT"] = " ".join(
        part for part in (environ.get("TF_APPEND_USER_AGENT"), aws.user_agent(role)) if part
    )
    if config.path is not None:
        env["TF_CLI_CONFIG_FILE"] = config.path
    return RootModule(binary, path, backend_config, env, lock_timeout_s)


def clean_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The caller's environment without what would change Terraform's commands, and with automation settings."""
    kept = {key: value for key, value in environ.items() if not key.startswith(_DROPPED)}
    return kept | {"TF_IN_AUTOMATION": "1", "TF_INPUT": "0", "CHECKPOINT_DISABLE": "1"}


def init_if_needed(root: RootModule) -> bool:
    """Runs `terraform init` unless lock file, backend settings, modules and binary are as at the last one; says whether
    it ran. Raises TerraformError.
    """
    fingerprint = _fingerprint(root)
    stamp = root.data_dir / "orch" / "init.sha256"
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == fingerprint:
        return False
    _init(root)
    stamp.parent.mkdir(parents=True, exist_ok=True)
    # Computed again: init itself may write the lock file and the module manifest.
    stamp.write_text(_fingerprint(root), encoding="utf-8")
    return True


def plan(root: RootModule, emit: Emit, *, is_destroy: bool = False) -> SavedPlan:
    """Plans, saves the plan file, and decodes it; with `is_destroy` a plan to destroy everything, whose outputs are those
    of the state. Raises TerraformError with Terraform's diagnostics, StateLockedError.
    """
    file = _private_folder(root) / "plan.tfplan"
    try:
        stream = _run_plan(root, file, emit, is_destroy=is_destroy)
        saved = _decoded(root, file, is_destroy=is_destroy)
        stream.nets = saved.nets or root.nets
        stream.warn()
        return saved
    except BaseException:
        shutil.rmtree(file.parent, ignore_errors=True)
        raise


def restore(root: RootModule, content: bytes) -> SavedPlan:
    """A saved plan from the content of a plan file that was made elsewhere; it may stand beside one that `plan` makes. Reads
    neither state nor AWS. Raises TerraformError when this Terraform cannot read it.
    """
    file = _private_folder(root, "sealed") / "plan.tfplan"
    try:
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as opened:
            opened.write(content)
        return _decoded(root, file, is_destroy=False)
    except BaseException:
        shutil.rmtree(file.parent, ignore_errors=True)
        raise


def state_identity(root: RootModule) -> StateIdentity:
    """Lineage and serial of the state as it is now, by `terraform state pull`, which takes no lock and reads nothing else. All
    the rest of the state is dropped here, secrets included. Raises TerraformError.
    """
    done = _run(root, argv(root.binary, "state", "pull"))
    if done.code != 0:
        raise _error("state pull", root, replace(done, stdout=""), _silent(root))
    if not done.stdout.strip():
        return StateIdentity()
    try:
        state = json.loads(done.stdout)
        return StateIdentity(str(state["lineage"]), int(state["serial"]))
    except (ValueError, KeyError, TypeError):
        # Not chained: the exception of json quotes what it read.
        raise TerraformError(f"the state of {root.path} is not in Terraform's format") from None


def show(root: RootModule, file: Path) -> dict[str, Any]:
    """`terraform show -json` of a plan file. Holds every secret in clear: decode it at once, never print or store it."""
    done = _run(root, argv(root.binary, "show", str(file), json=True))
    if done.code != 0:
        raise _error("show", root, done, _silent(root))
    decoded: dict[str, Any] = json.loads(done.stdout)
    return decoded


def apply(root: RootModule, saved: SavedPlan, emit: Emit) -> dict[str, object]:
    """Applies a saved plan and returns the non-sensitive outputs, name → value. Raises TerraformError, StateLockedError."""
    stream = Stream(emit, saved.nets or root.nets)
    command = argv(
        root.binary, "apply", str(saved.file), json=True, input=False, lock_timeout=f"{root.lock_timeout_s}s"
    )
    done = _run(root, command, stream)
    stream.warn()
    if done.code != 0:
        raise _error("apply", root, done, stream)
    return stream.outputs


def outputs(root: RootModule) -> dict[str, object]:
    """The non-sensitive outputs in the state, name → value; empty before the first apply. Raises TerraformError."""
    done = _run(root, argv(root.binary, "output", json=True))
    if done.code != 0:
        raise _error("output", root, done, _silent(root))
    return plan_json.open_values(json.loads(done.stdout))


def argv(binary: Binary, command: str, *arguments: str, **flags: str | bool | list[str]) -> list[str]:
    """The command line of one Terraform command; `True` is a flag alone, a list repeats the flag."""
    import python_terraform

    # Its constructor reads a state file below working_dir; there is none below the null device.
    builder = python_terraform.Terraform(working_dir=os.devnull, terraform_bin_path=binary.argv[0])
    values = {key: python_terraform.IsFlagged if value is True else value for key, value in flags.items()}
    built: list[str] = builder.generate_cmd_string(command, *arguments, **values)
    return [*binary.argv, *built[1:]]


def _decoded(root: RootModule, file: Path, *, is_destroy: bool) -> SavedPlan:
    data = show(root, file)
    prior = plan_json.prior_outputs(data)
    outputs = prior if is_destroy else plan_json.outputs(data)
    plan = plan_json.decode(data, secrets=masking.secrets_in(root.env, data))
    return SavedPlan(file, plan, outputs, masking.nets_of(data, root.env), prior)


def _run_plan(root: RootModule, file: Path, emit: Emit, *, is_destroy: bool) -> Stream:
    """Plans into the file. What is returned has not said its warnings yet."""
    flags: dict[str, str | bool] = {
        "json": True,
        "input": False,
        "detailed_exitcode": True,
        "lock_timeout": f"{root.lock_timeout_s}s",
        "out": str(file),
    }
    if is_destroy:
        flags["destroy"] = True
    command = argv(root.binary, "plan", **flags)
    stream = Stream(emit, root.nets)
    done = _run(root, command, stream)
    if done.code == 1 and _init_was_needed(done, stream):
        _init(root)
        stream = Stream(emit, root.nets)
        done = _run(root, command, stream)
    # Without a file it was a crash that ended with 2, too.
    if done.code not in (0, 2) or not file.is_file():
        stream.nets = _nets_of_failed(root, file)
        stream.warn()
        raise _error("plan", root, done, stream)
    return stream


def _nets_of_failed(root: RootModule, file: Path) -> masking.Nets:
    """The nets for a plan that failed: Terraform saves it as far as it came, so that it can tell what is secret."""
    if file.is_file():
        with suppress(TerraformError, ValueError):
            return masking.nets_of(show(root, file), root.env)
    return root.nets


def _init(root: RootModule) -> None:
    has_lock_file = (root.path / ".terraform.lock.hcl").is_file()
    flags: dict[str, str | bool | list[str]] = {
        "input": False,
        "no_color": True,
        "reconfigure": True,
        "backend_config": [f"{key}={value}" for key, value in root.backend_config.items()],
    }
    if has_lock_file:
        # A committed lock file is the reviewed truth about providers: init may not change it.
        flags["lockfile"] = "readonly"
    done = _run(root, argv(root.binary, "init", **flags))
    if done.code != 0:
        raise _error("init", root, done, _silent(root))


def _run(root: RootModule, command: list[str], stream: Stream | None = None) -> process.Completed:
    try:
        # Killed in the middle, Terraform would leave its lock on the state, and what it made out of the state.
        return process.run(
            command,
            cwd=root.path,
            env=root.env,
            on_stdout=stream.take if stream is not None else None,
            outlives=True,
        )
    except OSError as error:
        raise TerraformError(f"{root.binary.path} cannot be started: {error.strerror or error}") from error


def _silent(root: RootModule) -> Stream:
    """For commands that do not speak line by line."""
    return Stream(lambda _event: None, root.nets)


def _init_was_needed(done: process.Completed, stream: Stream) -> bool:
    said = " ".join([*(error.summary for error in stream.errors), *stream.raw, done.stderr])
    return any(text in said for text in _INIT_NEEDED)


def _error(command: str, root: RootModule, done: process.Completed, stream: Stream) -> TerraformError:
    where = f"terraform {command} failed in {root.path}"
    for error in stream.errors:
        if error.summary == "Error acquiring the state lock":
            return _locked(root, error)
    details = [line for error in stream.errors for line in error.lines()]
    if _CRASH.search(said := stream.nets.text("\n".join([*stream.raw, done.stderr]))):
        return _crashed(command, root, done.code, details or _frames(said))
    if not details:
        said = stream.nets.text(f"{done.stdout}\n{done.stderr}")
        details = _plain_tail([*stream.raw, *said.splitlines()])
    marks = tuple(
        Mark(root.path / file, int(line), error.summary, error.detail)
        for error in stream.errors
        for file, _colon, line in [error.place.rpartition(":")]
        if file and line.isdecimal()
    )
    return TerraformError(
        f"{where} (exit code {done.code})", hint=_hint(details), details=tuple(details), marks=marks
    )


def _crashed(command: str, root: RootModule, code: int, details: list[str]) -> TerraformError:
    """Terraform or a provider crashed. What they said then is not shown, for a panic quotes the value that it met."""
    left = (
        "some of it may be done and not in the state, which may still be locked; "
        if command == "apply"
        else ""
    )
    return TerraformError(
        f"terraform {command} crashed in {root.path} (exit code {code}): a fault of Terraform or of a provider",
        hint=f"{left}run `orch plan` to see where it stands; `terraform plan` in that folder shows all of a crash, for a"
        " report to its authors, but may show secrets with it",
        details=tuple(details),
    )


def _frames(said: str) -> list[str]:
    """Where a crash happened: functions of its stack, without their arguments."""
    return [f"in {frame[1]}" for frame in itertools.islice(_FRAME.finditer(said), _SHOWN_FRAMES)]


def _locked(root: RootModule, error: Diagnostic) -> StateLockedError:
    lock_id = re.search(r"ID:\s+(\S+)", error.detail)
    unlock = (
        f"`terraform force-unlock {lock_id[1]}` in {root.path}" if lock_id else "`terraform force-unlock`"
    )
    return StateLockedError(
        f"another run holds the state lock of {root.path}",
        hint=f"wait for it; if it is dead, remove its lock by {unlock}",
        details=error.lines(),
    )


def _hint(details: list[str]) -> str:
    said = "\n".join(details)
    if "NoSuchBucket" in said or ("S3 bucket" in said and "does not exist" in said):
        return "create the state bucket with `orch bootstrap --env NAME`"
    if "Failed to query available provider packages" in said or "no available releases match" in said:
        return "without internet, put a provider mirror in /opt or set terraform.provider_mirror in orch.toml"
    if "allowed_account_ids" in said or "AWS account ID not allowed" in said:
        return "the credentials belong to another account than the provider block allows"
    return ""


def _plain_tail(lines: list[str], count: int = 20) -> list[str]:
    """The end of a command's text, without its frames; from the first error on, when it names one."""
    plain = [line.strip("│╷╵ ") for line in lines if line.strip("│╷╵ ")]
    first = next((number for number, line in enumerate(plain) if line.startswith("Error: ")), 0)
    return plain[first:][-count:]


def _private_folder(root: RootModule, kind: str = "plan") -> Path:
    """A new folder for one plan file, closed to others; folders of dead runs are removed, for plans hold secrets."""
    base = root.data_dir / "orch"
    base.mkdir(parents=True, exist_ok=True)
    for old in (*base.glob("plan-*"), *base.glob("sealed-*")):
        if not _is_alive(old.name.partition("-")[2]):
            shutil.rmtree(old, ignore_errors=True)
    folder = base / f"{kind}-{os.getpid()}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    return folder


def _is_alive(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except (ValueError, ProcessLookupError):
        return False
    except PermissionError:
        return True
    return True


def _fingerprint(root: RootModule) -> str:
    """A hash over everything init depends on, and over whether what it installs is still there."""
    digest = hashlib.sha256()
    for part in (
        *root.binary.argv,
        root.binary.version,
        json.dumps(dict(root.backend_config), sort_keys=True),
    ):
        digest.update(part.encode() + b"\0")
    digest.update(root.env.get("TF_CLI_CONFIG_FILE", "").encode())
    manifest = root.data_dir / "modules" / "modules.json"
    for file in (root.path / ".terraform.lock.hcl", manifest):
        digest.update(file.read_bytes() if file.is_file() else b"absent")
    installed = (root.data_dir / "providers", root.data_dir / "terraform.tfstate")
    digest.update(repr([path.exists() for path in installed]).encode())
    for folder in (root.path, *_module_folders(root, manifest)):
        for file in sorted(folder.glob("*.tf")):
            digest.update("\n".join(_init_inputs(file.read_text(encoding="utf-8"))).encode() + b"\0")
    return digest.hexdigest()


def _module_folders(root: RootModule, manifest: Path) -> list[Path]:
    if not manifest.is_file():
        return []
    try:
        modules = json.loads(manifest.read_text(encoding="utf-8"))["Modules"]
    except (ValueError, KeyError):
        return []
    return [root.path / module["Dir"] for module in modules if module.get("Dir", ".") != "."]


def _init_inputs(text: str) -> list[str]:
    """The lines of a configuration that init reads; the whole text where it sets up a backend or provider versions."""
    if 'backend "' in text or "required_providers" in text:
        return [text]
    return [line.strip() for line in text.splitlines() if _INIT_INPUT.match(line)]
