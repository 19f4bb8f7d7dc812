"""How much orch adds to Terraform: `orch plan` and `orch apply` side by side with plain Terraform, in one run.

    python bench/plan.py [ROUNDS]

Starts a sandbox of its own, applies `dev` in a copy of this project, and then measures on the warm folder, taking turns, so
that both sides meet the same machine:

    plain      terraform init && terraform plan -out && terraform show -json
    orch plan  the same answer through orch, which skips init
    no change  orch apply with nothing to do, against terraform plan -out && terraform show -json
    orch's own the time of orch plan in which no Terraform ran (a shim on PATH records when Terraform runs)
    --help     orch --help, against python -c pass

Medians and their spread are printed; ratios are from the same rounds. Touches: a temporary folder, 127.0.0.1.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from orchestrator.sandbox import control
from orchestrator.terraform import binary, mirror

REPOSITORY = Path(__file__).parents[1]
ORCH = str(Path(sys.executable).parent / "orch")
SHIM = """#!/bin/sh
began=$(date +%s%N)
"{terraform}" "$@"
code=$?
echo "$began $(date +%s%N)" >> "{log}"
exit $code
"""


def main(rounds: int) -> None:
    with tempfile.TemporaryDirectory(prefix="orch-bench-") as folder:
        base = Path(folder)
        sandbox = control.start(base / "sandbox", port=0, task_seconds=0.2)
        try:
            bench(base, sandbox, rounds)
        finally:
            control.stop(base / "sandbox")


def bench(base: Path, sandbox: control.Sandbox, rounds: int) -> None:
    project, environ, log = prepare(base, sandbox)
    root = project / "terraform/envs/dev"
    print(f"Preparing: orch apply --env dev ({base})", flush=True)
    run([ORCH, "apply", "--env", "dev", "--yes", "--sandbox"], project, environ)
    by_hand = environ | control.aws_environment(sandbox, account_id="111111111111", region="eu-central-1")
    backend = [
        "-backend-config=bucket=orch-state-111111111111-eu-central-1",
        "-backend-config=region=eu-central-1",
        "-backend-config=use_path_style=true",
    ]
    plan_file = str(base / "by-hand.tfplan")
    times: dict[str, list[float]] = {}

    def measure(name: str, command: list[str], cwd: Path, env: dict[str, str]) -> float:
        duration_s = run(command, cwd, env)
        times.setdefault(name, []).append(duration_s)
        return duration_s

    for number in range(1, rounds + 1):
        print(f"round {number} of {rounds}", flush=True)
        init = measure("terraform init", ["terraform", "init", "-input=false", *backend], root, by_hand)
        plan = measure(
            "terraform plan -out", ["terraform", "plan", "-input=false", f"-out={plan_file}"], root, by_hand
        )
        show = measure("terraform show -json", ["terraform", "show", "-json", plan_file], root, by_hand)
        times.setdefault("plain: init + plan + show", []).append(init + plan + show)
        times.setdefault("plain: plan + show", []).append(plan + show)
        log.write_text("")
        total = measure("orch plan", [ORCH, "plan", "--env", "dev", "--sandbox"], project, environ)
        times.setdefault("orch plan, its own time", []).append(total - terraform_s(log))
        measure(
            "orch apply, no change", [ORCH, "apply", "--env", "dev", "--yes", "--sandbox"], project, environ
        )
        for _ in range(5):
            measure("orch --help", [ORCH, "--help"], project, environ)
            measure("python -c pass", [sys.executable, "-c", "pass"], project, environ)
        # A yardstick for the machine: importing boto3 takes 0.15 s on the one that the goals were set on.
        measure("python -c 'import boto3'", [sys.executable, "-c", "import boto3"], project, environ)
    report(times)


def prepare(base: Path, sandbox: control.Sandbox) -> tuple[Path, dict[str, str], Path]:
    """A committed copy of the project, the environment to run in, and the log of the Terraform shim."""
    project, tools, log = base / "project", base / "bin", base / "terraform.log"
    project.mkdir()
    tools.mkdir()
    for name in ("orch.toml", ".gitignore"):
        shutil.copy2(REPOSITORY / name, project / name)
    for name in ("terraform", "examples"):
        shutil.copytree(REPOSITORY / name, project / name, ignore=shutil.ignore_patterns(".terraform"))
    git = ["git", "-c", "user.name=bench", "-c", "user.email=bench@example.com"]
    for arguments in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "bench"]):
        subprocess.run([*git, *arguments], cwd=project, check=True)
    environ = {key: value for key, value in os.environ.items() if not key.startswith(("AWS_", "ORCH_"))}
    found = binary.find("auto", environ)
    shim = tools / "terraform"
    shim.write_text(SHIM.format(terraform='" "'.join(found.argv), log=log))
    shim.chmod(0o755)
    config = mirror.cli_config("", environ, folder=base)
    environ |= {"PATH": f"{tools}:{environ['PATH']}", "ORCH_SANDBOX_DIR": str(sandbox.log_path.parent)}
    environ.pop("TF_CLI_CONFIG_FILE", None)
    if config.path is not None:
        environ["TF_CLI_CONFIG_FILE"] = config.path
    return project, environ, log


def run(command: list[str], cwd: Path, environ: dict[str, str]) -> float:
    began = time.perf_counter()
    done = subprocess.run(command, cwd=cwd, env=environ, capture_output=True, text=True, check=False)
    duration_s = time.perf_counter() - began
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)} failed:\n{done.stdout}\n{done.stderr}")
    return duration_s


def terraform_s(log: Path) -> float:
    """Seconds in which Terraform ran, from the shim's log."""
    spans = [line.split() for line in log.read_text().splitlines()]
    return sum((int(end) - int(began)) / 1e9 for began, end in spans)


def report(times: dict[str, list[float]]) -> None:
    print(f"\n{'':32}{'median':>10}{'least':>10}{'most':>10}")
    for name, values in times.items():
        print(f"{name:32}{statistics.median(values):>8.2f} s{min(values):>8.2f} s{max(values):>8.2f} s")
    median = {name: statistics.median(values) for name, values in times.items()}
    ratio = median["orch plan"] / median["plain: init + plan + show"]
    extra_s = median["orch apply, no change"] - median["plain: plan + show"]
    print(f"\norch plan takes {ratio:.2f} of init + plan + show (goal: below 1)")
    print(f"orch plan's own time is {median['orch plan, its own time']:.2f} s (goal: below 0.4 s)")
    print(f"orch apply with nothing to do takes {extra_s:+.2f} s on top of plan + show (goal: at most 1.5 s)")
    print(f"orch --help takes {median['orch --help']:.2f} s (goal: below 0.2 s)")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
