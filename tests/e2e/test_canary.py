"""Secrets planted wherever a plan can carry one, and looked for wherever orch writes: none may come out.

The root modules are made for this test; AWS is the sandbox, GitHub the fake, Terraform and its AWS provider are real. Each
canary is a text of its own, so that a leak says which place it came from, and each is shown to have reached orch: what Terraform
prints is kept on its way there. dev is planned, sealed and applied; staging fails in every way.
"""

from __future__ import annotations

import base64
import json
import threading
import urllib.parse
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.conftest import require_tool
from tests.contract.github_fake import TOKEN, GitHub
from tests.e2e.conftest import Project, git

BUCKET = "orch-state-111111111111-eu-central-1"
SEAL_KEY = base64.b64encode(bytes(range(32))).decode()
# Where each canary is planted, by the run and the Terraform command whose output brings it to orch.
PLACES = {
    "planned/show": {
        # What is declared sensitive.
        "canary-variable-7f3a91": "a sensitive variable, copied into resources, a map's key, an output and a hash's input",
        "canary-nested-2c8e40": "a member of a sensitive object",
        "canary-file-6b0d52": "a sensitive variable of an .auto.tfvars file",
        "canary-default-c41e08": "the default of a sensitive variable",
        "canary-local-93f7ab": "a sensitive local",
        "canary-list-0e5c76": "a sensitive member of a list",
        "canary-set-d28b14": "a sensitive member of a set",
        "CANARY-DERIVED-4E19B7": "what upper() makes of a sensitive variable",
        "canary-joined-83d0a6": "what join() makes of a sensitive variable, in another resource",
        "canary-lines-f1\ncanary-lines-f2": "a sensitive value of two lines",
        "canary-ünïcode-¡5e2!": "a sensitive value beyond ASCII",
        'canary-quoted"-5a8d': "a sensitive value that JSON writes in another way",
        "canary-output-9d1b77": "a sensitive output",
        "canary-dropped-a7c3e9": "a sensitive output that the plan removes",
        "canary-deleted-5b0ce2": "a sensitive value of a resource that the plan deletes",
        "canary-removed-6e2f98": "a sensitive value that the plan removes",
        "canary-replaced-1a9c34": "a sensitive value that the plan replaces",
        "canary-policy-3b7d55": "a condition of a policy, from a sensitive variable",
        # What the AWS provider says is sensitive.
        "canary-parameter-2d6f1c": "a parameter of SSM",
        "canary-drift-b85e03": "what somebody else wrote into a parameter of SSM",
        "canary-manager-e06a94": "a version of a secret of Secrets Manager",
        # What nobody declares: names tell.
        "canary-container-5e6f02": "a container's plain environment",
        "canary-label-17d9c0": "a container's label",
        "canary-splunk-8c2e5f": "an option of a container's log driver",
        "canary-command-d4b7f3": "the value after `--password` in a container's command",
        "canary-entry-05ac6e": "`--api-key=` in a container's entry point",
        "canary-userdata-8a4c13": "user data",
        "canary-named-0c5e27": "an attribute whose name says what it is",
        # What nobody declares: shapes tell.
        "canary-url-4d8b60": "the password in a URL",
        "canary-query-9e3f21": "the token in a URL's query",
        "c0ffee5eed" * 6 + "feed": "the signature of a presigned URL",
        "canary-curl-7d05be": "the password that a container's health check hands to curl",
        "Y2FuYXJ5OmhlYWRlci02Zjky": "a header of basic authentication",
        "canary-check-7b1d83": "the message of a check that fails",
        "AKIAIOSFODNN7CANARY1": "an access key id in a plain value",
        "ghp_" + "c" * 36: "a GitHub token in a plain value",
        "glpat-canary-c4n4ry-c4n4": "a GitLab token that is a map's key",
        "xoxb-17653672481-canaryslack": "a Slack token that is the key of a resource",
        "eyJhbGciOiJIUzI1NiJ9.eyJjYW5hcnkiOjF9.c2lnbmF0dXJlLWNhbmFyeQ": "a JWT in a plain value",
        "MIICANARYPRIVATEKEYBODY": "a PEM key in a plain value",
    },
    "applied/apply": {
        "canary-provisioner-2e7c49": "what a provisioner prints",
    },
    "failed/plan": {
        "canary-diagnostic-9f4a16": "the message of a precondition that fails",
        "canary-snippet-58e7d1": "the source line that a diagnostic quotes",
        "canary-invalid-c95b20": "what the provider quotes of a sensitive variable that it does not take",
    },
    "refused/apply": {
        "canary-refused-31f8de": "AWS's error, which quotes a sensitive variable",
        "canary-once-74ab9c": "AWS's error, which quotes an ephemeral variable",
        "canary-literal-e2d610": "AWS's error, which quotes what only the provider calls sensitive",
    },
    "sealed/apply": {
        "canary-prints-6c1f47": "the error of a provisioner, which holds what it printed",
        "canary-runs-a90b35": "the error of a provisioner, which holds a sensitive variable in its command",
    },
    "panics/plan": {"canary-panic-b3940f": "the panic of a Terraform that crashes"},
    "plugin panics/plan": {"canary-plugin-6d2a1e": "the panic of a provider that crashes"},
    "aborts/plan": {"canary-signal-5f27c8": "what is printed before a signal's stack"},
    "odd/plan": {"canary-bug-80d2ea": "the message of an exception that nobody expected"},
}
CANARIES = [(source, canary) for source, planted in PLACES.items() for canary in planted]
WHERE = {canary: place for planted in PLACES.values() for canary, place in planted.items()}
ROOT = r"""
terraform {
  backend "s3" {
    key          = "dev/terraform.tfstate"
    use_lockfile = true
  }
  required_providers {
    aws = { source = "hashicorp/aws", version = ">= 5.100.0, < 6.0.0" }
  }
}
provider "aws" { region = "eu-central-1" }

variable "secret" {
  type      = string
  sensitive = true
}
variable "settings" {
  type      = object({ open = string, shut = string })
  sensitive = true
}
variable "policy_secret" {
  type      = string
  sensitive = true
}
variable "from_file" {
  type      = string
  sensitive = true
}
variable "unset" {
  type      = string
  sensitive = true
  default   = "canary-default-c41e08"
}
variable "word" {
  type      = string
  sensitive = true
}
variable "tail" {
  type      = string
  sensitive = true
}
variable "runs" {
  type      = string
  sensitive = true
}
variable "phase" { type = string }

locals { shut = sensitive("canary-local-93f7ab") }

# Each phase makes these anew, so that a plan shows all of their values.
resource "terraform_data" "copies" {
  for_each = toset([var.phase])
  input = {
    direct  = var.secret
    nested  = var.settings
    encoded = base64encode(nonsensitive(var.secret))
    url     = urlencode(nonsensitive(var.secret))
    quoted  = sensitive("canary-quoted\"-5a8d")
    list    = [nonsensitive(var.secret)]
    file    = var.from_file
    default = var.unset
    local   = local.shut
    members = ["open", sensitive("canary-list-0e5c76")]
    set     = toset(["open", sensitive("canary-set-d28b14")])
    upper   = upper(var.word)
    lines   = sensitive("canary-lines-f1\ncanary-lines-f2")
    beyond  = sensitive("canary-ünïcode-¡5e2!")
  }
}
resource "terraform_data" "derived" {
  input = "${var.phase} ${join("-", ["canary", "joined", var.tail])}"
}
resource "terraform_data" "keyed" {
  for_each = toset([var.phase])
  input = { (nonsensitive(var.secret)) = "value", "glpat-canary-c4n4ry-c4n4" = "value" }
}
resource "terraform_data" "named" {
  for_each = { "xoxb-17653672481-canaryslack" = "x" }
  input    = var.phase
}
resource "terraform_data" "shaped" {
  for_each = toset([var.phase])
  input = {
    database  = "postgres://app:canary-url-4d8b60@db.example/app"
    hook      = "https://hooks.example/build?token=canary-query-9e3f21"
    download  = "https://b.s3.amazonaws.com/k?X-Amz-Date=20260101T000000Z&X-Amz-Signature=c0ffee5eedc0ffee5eedc0ffee5eedc0ffee5eedc0ffee5eedc0ffee5eedfeed"
    header    = "Authorization: Basic Y2FuYXJ5OmhlYWRlci02Zjky"
    access    = "AKIAIOSFODNN7CANARY1"
    github    = "ghp_cccccccccccccccccccccccccccccccccccc"
    session   = "eyJhbGciOiJIUzI1NiJ9.eyJjYW5hcnkiOjF9.c2lnbmF0dXJlLWNhbmFyeQ"
    pem       = "-----BEGIN PRIVATE KEY-----\nMIICANARYPRIVATEKEYBODY\n-----END PRIVATE KEY-----"
    db_password = "canary-named-0c5e27"
  }
}
resource "terraform_data" "gone" {
  count = var.phase == "first" ? 1 : 0
  input = sensitive("canary-deleted-5b0ce2")
}
resource "terraform_data" "emptied" {
  input = var.phase == "first" ? { value = sensitive("canary-removed-6e2f98") } : {}
}
resource "terraform_data" "swapped" {
  triggers_replace = sensitive(var.phase == "first" ? "canary-replaced-1a9c34" : "other")
}
resource "aws_ssm_parameter" "written" {
  name  = "/web/written"
  type  = "String"
  value = "${var.phase}: canary-parameter-2d6f1c"
}
resource "aws_ssm_parameter" "drifted" {
  name  = "/web/drifted"
  type  = "SecureString"
  value = "as it should be"
}
resource "aws_secretsmanager_secret" "web" { name = "web" }
resource "aws_secretsmanager_secret_version" "web" {
  secret_id     = aws_secretsmanager_secret.web.id
  secret_string = "${var.phase}: canary-manager-e06a94"
}
resource "aws_ecs_task_definition" "web" {
  family = "web"
  container_definitions = jsonencode([{
    name        = "web"
    image       = "web@sha256:${var.phase == "first" ? "1" : "2"}"
    memory      = 128
    environment = [{ name = "DATABASE", value = "canary-container-5e6f02 ${var.phase}" }]
  }, {
    name             = "worker-${var.phase}"
    image            = "worker"
    memory           = 128
    entryPoint       = ["/run", "--api-key=canary-entry-05ac6e"]
    command          = ["serve", "--password", "canary-command-d4b7f3", "--port", "8080"]
    dockerLabels     = { "com.example.api-token" = "canary-label-17d9c0" }
    healthCheck      = { command = ["CMD-SHELL", "curl -fsu probe:canary-curl-7d05be http://127.0.0.1:8080/up"] }
    logConfiguration = { logDriver = "splunk", options = { "splunk-token" = "canary-splunk-8c2e5f", "splunk-url" = "https://splunk.example" } }
  }])
}
# Planned, and never made: the provider would watch it for five seconds.
resource "aws_launch_template" "web" {
  count      = var.phase == "second" ? 1 : 0
  depends_on = [terraform_data.prints]
  name       = "web"
  user_data  = base64encode("#!/bin/sh\n# canary-userdata-8a4c13 ${var.phase}\n")
}
resource "aws_iam_policy" "web" {
  name = "web"
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "Read"
      Effect    = "Allow"
      Action    = "s3:GetObject"
      Resource  = "arn:aws:s3:::web-${var.phase}/*"
      Condition = { StringEquals = { "aws:PrincipalTag/key" = "${var.phase} ${nonsensitive(var.policy_secret)}" } }
    }]
  })
}
resource "terraform_data" "talks" {
  triggers_replace = var.phase
  provisioner "local-exec" {
    command = "echo canary-provisioner-2e7c49; echo ${nonsensitive(var.secret)}"
  }
}
resource "terraform_data" "prints" {
  count = var.phase == "second" ? 1 : 0
  provisioner "local-exec" { command = "printf 'canary-%s' prints-6c1f47; exit 3" }
}
resource "terraform_data" "runs" {
  count = var.phase == "second" ? 1 : 0
  provisioner "local-exec" { command = "exit 4 # ${var.runs}" }
}
check "fails" {
  assert {
    condition     = var.phase == "first"
    error_message = "Not fine: password=canary-check-7b1d83"
  }
}
output "secret" {
  value     = "canary-output-9d1b77 ${var.phase}"
  sensitive = true
}
output "open" { value = "${var.phase} ${nonsensitive(var.secret)}" }
"""
# In the first phase only.
DROPPED = """
output "dropped" {
  value     = "canary-dropped-a7c3e9"
  sensitive = true
}
"""
FAILING = """
terraform {
  backend "s3" {
    key          = "staging/terraform.tfstate"
    use_lockfile = true
  }
  required_providers {
    aws = { source = "hashicorp/aws", version = ">= 5.100.0, < 6.0.0" }
  }
}
provider "aws" { region = "eu-central-1" }
variable "invalid" {
  type      = string
  sensitive = true
}
variable "refused" {
  type      = string
  sensitive = true
}
variable "once" {
  type      = string
  ephemeral = true
}
variable "phase" { type = string }
"""
BROKEN = """
resource "terraform_data" "broken" {
  lifecycle {
    precondition {
      condition     = var.phase == "never"
      error_message = "Cannot use password=canary-diagnostic-9f4a16 here."
    }
  }
}
resource "terraform_data" "quoted" {
  input = regex("never ${var.phase}", "canary-snippet-58e7d1")
}
resource "aws_ssm_parameter" "invalid" {
  name  = "/web/invalid"
  type  = var.invalid
  value = "x"
}
"""
REFUSED = """
resource "aws_ssm_parameter" "refused" {
  name  = "/web/refused"
  type  = "String"
  value = var.refused
}
resource "aws_ssm_parameter" "once" {
  name             = "/web/once"
  type             = "SecureString"
  value_wo         = var.once
  value_wo_version = 1
}
resource "aws_ssm_parameter" "literal" {
  name  = "/web/literal"
  type  = "String"
  value = "canary-literal-e2d610"
}
"""
# Go's answer to this signal is to print its stacks and exit with 2, as for a panic that Terraform does not catch.
ABORTED = """
terraform {
  backend "s3" {
    key          = "staging/terraform.tfstate"
    use_lockfile = true
  }
}
variable "refused" {
  type      = string
  sensitive = true
}
resource "terraform_data" "aborted" {
  input = var.refused
  provisioner "local-exec" { command = "kill -ABRT $PPID; sleep 1" }
}
"""
# As Terraform 1.11 prints it (hashicorp/terraform, internal/logging/panic.go) where the code says `panic(fmt.Sprintf("%#v", value))`.
PANIC = """
!!!!!!!!!!!!!!!!!!!!!!!!!!! TERRAFORM CRASH !!!!!!!!!!!!!!!!!!!!!!!!!!!!

Terraform crashed! This is always indicative of a bug within Terraform.
Please report the crash with Terraform[1] so that we can fix this.

When reporting bugs, please include your terraform version, the stack trace
shown below, and any additional information which may help replicate the issue.

[1]: https://github.com/hashicorp/terraform/issues

!!!!!!!!!!!!!!!!!!!!!!!!!!! TERRAFORM CRASH !!!!!!!!!!!!!!!!!!!!!!!!!!!!

panic: unexpected value: cty.StringVal("canary-panic-b3940f")
goroutine 1 [running]:
runtime/debug.Stack()
\truntime/debug/stack.go:26 +0x5e
github.com/hashicorp/terraform/internal/logging.PanicHandler()
\tgithub.com/hashicorp/terraform/internal/logging/panic.go:84 +0x16a
panic({0x35b8e20?, 0xc000f3a0d0?})
\truntime/panic.go:785 +0x132
github.com/hashicorp/terraform/internal/command.(*PlanCommand).Run(0xc000a7da40, {0xc000134020, 0x3, 0x3})
\tgithub.com/hashicorp/terraform/internal/command/plan.go:107 +0x885
"""
# As Terraform 1.11 prints it after its own errors, from the same file.
PLUGIN_PANIC = """
Stack trace from the terraform-provider-aws_v5.100.0_x5 plugin:

panic: unexpected value: "canary-plugin-6d2a1e"

goroutine 76 [running]:
github.com/hashicorp/terraform-provider-aws/internal/service/ssm.resourceParameterRead({0x14f8b0d0, 0xc003a1c000}, 0xc002f1a200)
\tgithub.com/hashicorp/terraform-provider-aws/internal/service/ssm/parameter.go:241 +0x5c5

Error: The terraform-provider-aws_v5.100.0_x5 plugin crashed!

This is always indicative of a bug within the plugin. It would be immensely
helpful if you could report the crash with the plugin's maintainers so that it
can be fixed. The output above should help diagnose the issue.
"""
# As Go prints it by itself, where no handler of Terraform's runs.
SIGNAL = """\
unexpected value: cty.StringVal("canary-signal-5f27c8")
SIGABRT: abort
PC=0x47a221 m=0 sigcode=0

goroutine 1 gp=0xc0000061c0 m=nil [select]:
runtime.gopark(0xc00090f828?, 0x2?, 0xb8?, 0x95?, 0xc00090f7d4?)
\truntime/proc.go:424 +0xce fp=0xc00090f668 sp=0xc00090f648 pc=0x47026e
github.com/hashicorp/terraform/internal/command.(*PlanCommand).Run(0xc000a7da40, {0xc000134020, 0x3, 0x3})
\tgithub.com/hashicorp/terraform/internal/command/plan.go:107 +0x885 fp=0xc00090f958 sp=0xc00090f868 pc=0x2c5bd65
"""
# Terraform never printed such a line: what orch does with it is a bug of orch, whose exception quotes the value.
ODD = json.dumps(
    {
        "type": "apply_progress",
        "hook": {"resource": {"addr": "terraform_data.x"}, "elapsed_seconds": "canary-bug-80d2ea"},
    }
)
# Stands between orch and Terraform: keeps what Terraform prints, or prints what a test wants in the place of a plan, to this
# file descriptor; and to a crash.log, as Terraform did before 1.1.
WRAPPER = """#!/usr/bin/env bash
mkdir -p "$RECORD"
if [ "$1" = plan ] && [ -n "$PRINTS" ]; then
  printf '%s\\n' "$PRINTS" | tee crash.log "$RECORD/plan.out" >&"$FD"
  exit "$EXITS"
fi
TERRAFORM "$@" > >(tee -a "$RECORD/$1.out") 2> >(tee -a "$RECORD/$1.err" >&2)
code=$?
# What stands in between may be slower than Terraform's end.
[ "$1" != apply ] || sleep 0.5
exit $code
"""
# Runs in orch's own process before orch does, and writes down each process that it starts and each file that it opens to write.
WATCH = """
import json, os, sys

_log = os.open(os.environ["WATCHED"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

def _watch(event, arguments):
    if event in {"subprocess.Popen", "os.exec", "os.posix_spawn"}:
        seen = {"argv": [os.fsdecode(argument) for argument in arguments[1]]}
    elif event == "os.system":
        seen = {"argv": [os.fsdecode(arguments[0])]}
    elif event == "open" and not isinstance(arguments[0], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR):
        seen = {"file": os.path.abspath(os.fsdecode(arguments[0]))}
    else:
        return
    os.write(_log, json.dumps(seen).encode() + b"\\n")

sys.addaudithook(_watch)
"""


def variables(phase: str) -> dict[str, str]:
    return {
        "TF_VAR_secret": "canary-variable-7f3a91",
        "TF_VAR_settings": json.dumps({"open": "fine", "shut": "canary-nested-2c8e40"}),
        "TF_VAR_policy_secret": "canary-policy-3b7d55",
        "TF_VAR_word": "canary-derived-4e19b7",
        "TF_VAR_tail": "83d0a6",
        "TF_VAR_invalid": "canary-invalid-c95b20",
        "TF_VAR_refused": "canary-refused-31f8de",
        "TF_VAR_once": "canary-once-74ab9c",
        "TF_VAR_runs": "canary-runs-a90b35",
        "TF_VAR_phase": phase,
        "ORCH_SEAL_KEY": SEAL_KEY,
    }


@dataclass(frozen=True)
class Planted:
    """A project with canaries in dev and staging, and beside it what was kept of orch's runs."""

    project: Project

    @property
    def base(self) -> Path:
        return self.project.path.parent

    def root(self, env: str) -> Path:
        return self.project.path / "terraform" / "envs" / env

    def orch(self, run: str, *arguments: str, code: int, **environ: str) -> str:
        """What orch prints; what Terraform prints is kept under the name of the run."""
        environ = {"RECORD": str(self.base / "raw" / run)} | environ
        done = self.project.orch(*arguments, "--sandbox", code=code, **environ)
        return done.stdout + done.stderr

    def printed(self, run: str, command: str) -> str:
        """What this Terraform command printed in this run."""
        return "\n".join(file.read_text() for file in (self.base / "raw" / run).glob(f"{command}.*"))

    def watched(self, what: str) -> list:
        """`argv` of each process that orch started, or each `file` that it opened to write."""
        lines = (self.base / "watched.jsonl").read_text().splitlines()
        return [seen[what] for seen in map(json.loads, lines) if what in seen]


@pytest.fixture(scope="module")
def planted(project: Project):
    """The project, with dev as it is before its first apply, and what watches orch in place."""
    planted = Planted(project)
    tools, tmp = planted.base / "tools", planted.base / "tmp"
    for folder in (tools, tmp):
        folder.mkdir()
    (tools / "sitecustomize.py").write_text(WATCH)
    script = tools / "terraform"
    script.write_text(WRAPPER.replace("TERRAFORM", require_tool("terraform")))
    script.chmod(0o755)
    project.environ |= {
        "PATH": f"{tools}:{project.environ['PATH']}",
        "PYTHONPATH": str(tools),
        "WATCHED": str(planted.base / "watched.jsonl"),
        "TMPDIR": str(tmp),
        # Terraform's log holds all that it sends and gets.
        "TF_LOG": "TRACE",
        "TF_LOG_PATH": str(planted.base / "trace.log"),
    }
    for env in ("dev", "staging"):
        for file in planted.root(env).glob("*.tf*"):
            file.unlink()
    (planted.root("dev") / "main.tf").write_text(ROOT)
    (planted.root("dev") / "dropped.tf").write_text(DROPPED)
    (planted.root("dev") / "canary.auto.tfvars").write_text('from_file = "canary-file-6b0d52"\n')
    project.commit("Canaries")
    return planted


@pytest.fixture(scope="module")
def told(planted):
    """Everything that orch says and writes in all of its runs: place → text."""
    summary = planted.base / "summary.md"
    with GitHub().serving() as github:
        github.pull(7, "c" * 40)
        workflow = {
            "GITHUB_ACTIONS": "true",
            "GITHUB_EVENT_NAME": "workflow_dispatch",
            "GITHUB_REPOSITORY": "acme/shop",
            "GITHUB_API_URL": github.url,
            "GITHUB_STEP_SUMMARY": str(summary),
            "GITHUB_TOKEN": TOKEN,
        }
        told = succeed(planted, workflow, github)
        told |= fail(planted, workflow)
        told["everything sent to GitHub"] = json.dumps(github.calls)
    # The step summary has the text of every run.
    told["step summary"] = summary.read_text()
    told["arguments of processes"] = "\n".join(map(json.dumps, planted.watched("argv")))
    logs = [*(planted.base / "state" / "orch" / "logs").iterdir()]
    assert len(logs) == 1
    told["log of a bug"] = logs[0].read_text()
    return told


TELL = ("--comment", "--pull-request", "7")


def succeed(planted: Planted, workflow: dict[str, str], github: GitHub) -> dict[str, str]:
    """dev's first phase is applied; then its second is planned, sealed, and applied as sealed, as far as it goes."""
    project = planted.project
    apply = ("apply", "--env", "dev", "--yes")
    # Without the output `orch` an apply ends with an error, after Terraform is done.
    first = planted.orch("applied", *apply, code=1, **variables("first"))
    assert "has no output object named `orch`" in first
    project.client("ssm").put_parameter(Name="/web/drifted", Value="canary-drift-b85e03", Overwrite=True)
    (planted.root("dev") / "dropped.tf").write_text("")
    commit = project.commit("The second phase")

    environ = variables("second") | workflow
    plan = planted.orch("planned", "plan", "--env", "dev", "--seal", "--verbose", *TELL, code=0, **environ)
    comment = "\n".join(comment.body for comment in github.comments.values())
    key = f"orch/plans/dev/{commit}.bundle"
    bundle = project.client("s3").get_object(Bucket=BUCKET, Key=key)["Body"].read()
    sealed = (*apply, "--sealed", "HEAD", "--output", "json")
    second = planted.orch("sealed", *sealed, code=1, **environ)
    return {
        "terminal of apply": first,
        "terminal of plan": plan,
        "comment": comment,
        "JSON lines": second,
        "sealed bundle": bundle.decode(errors="replace"),
    }


def fail(planted: Planted, workflow: dict[str, str]) -> dict[str, str]:
    """staging's plan fails, its apply is refused by AWS, Terraform crashes, orch has a bug."""
    root, environ = planted.root("staging"), variables("second") | workflow
    plan, apply = ("plan", "--env", "staging"), ("apply", "--env", "staging", "--yes")
    said = {}
    (root / "main.tf").write_text(FAILING)
    (root / "case.tf").write_text(BROKEN)
    said["failed plan"] = planted.orch("failed", *plan, *TELL, code=1, **environ)
    (root / "case.tf").write_text(REFUSED)
    with refusing() as endpoint:
        aws = {"AWS_ENDPOINT_URL_SSM": endpoint}
        command = (*apply, "--output", "json")
        said["refused apply"] = planted.orch("refused", *command, code=1, **environ | aws)
    (root / "case.tf").write_text("")
    for run, text, fd, exits, code in (
        ("panics", PANIC, "2", "11", 1),
        ("plugin panics", PLUGIN_PANIC, "2", "1", 1),
        ("aborts", SIGNAL, "2", "2", 1),
        ("odd", ODD, "1", "1", 3),
    ):
        instead = {"PRINTS": text, "FD": fd, "EXITS": exits}
        said[run] = planted.orch(run, *plan, code=code, **environ | instead)
    # Without the provider, which takes a second to start.
    (root / ".terraform.lock.hcl").unlink()
    (root / "main.tf").write_text(ABORTED)
    said["aborted apply"] = planted.orch("aborted", *apply, code=1, **environ)
    return said


@contextmanager
def refusing():
    """An AWS API that takes nothing, and quotes what it was sent, as AWS's validation of parameters does."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            sent = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            said = (
                f"1 validation error detected: Value '{sent.get('Value')}' at 'value' failed to satisfy"
                " constraint: Member must satisfy regular expression pattern: [0-9]+"
            )
            body = json.dumps({"__type": "ValidationException", "message": said}).encode()
            self.send_response(400)
            self.send_header("Content-Type", "application/x-amz-json-1.1")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format, *arguments):  # noqa: A002 - the name that the base class gave it
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def forms(canary: str) -> set[str]:
    """The ways in which a text can stand in another."""
    raw = canary.encode()
    found = {
        canary,
        json.dumps(canary)[1:-1],
        json.dumps(json.dumps(canary)[1:-1])[1:-1],
        json.dumps(canary, ensure_ascii=False)[1:-1],
        urllib.parse.quote(canary, safe=""),
        raw.hex(),
        *canary.splitlines(),
    }
    for shift in range(3):
        # What base64 makes of the canary alone, wherever in a text it stands.
        encoded = base64.b64encode(bytes(shift) + raw).decode()
        found.add(encoded[(0, 2, 3)[shift] : (shift + len(raw)) * 8 // 6])
    return found


def holds(text: str, secret: str) -> bool:
    return any(form in text for form in forms(secret))


@pytest.mark.parametrize(("source", "canary"), CANARIES, ids=[WHERE[canary] for _source, canary in CANARIES])
def test_no_canary_comes_out(planted, told, source, canary):
    assert holds(planted.printed(*source.split("/")), canary), "this canary never reached orch"
    assert [f"{place}: {WHERE[canary]}" for place, text in told.items() if holds(text, canary)] == []


@pytest.mark.parametrize("secret", [SEAL_KEY, TOKEN], ids=["sealing key", "GitHub's token"])
def test_what_orch_itself_works_with_comes_out_nowhere(told, secret):
    """Both were used: the plan was sealed and opened, the comment written."""
    assert len(told["sealed bundle"]) > 1000
    assert "<!-- orch" in told["comment"]
    assert [place for place, text in told.items() if holds(text, secret)] == []


def test_what_is_no_secret_is_still_told(told):
    """The nets must not be so tight that nobody can review a plan."""
    for place in ("terminal of plan", "comment", "JSON lines"):
        text = told[place]
        assert "terraform_data.swapped" in text
        assert "terraform_data.gone[0]" in text
        assert "(sensitive)" in text
        assert "@sha256:2" in text
        assert "DATABASE" in text
    assert "aws_iam_policy.web" in told["comment"]
    ready = next(
        event
        for event in map(json.loads, filter(lambda line: line[0] == "{", told["JSON lines"].splitlines()))
        if event["type"] == "plan_ready"
    )
    shown = {detail["label"]: detail["after"] for change in ready["changes"] for detail in change["details"]}
    worker = "container worker-second"
    assert shown[f"{worker}: command"] == ["serve", "--password", "(sensitive)", "--port", "8080"]
    assert shown[f"{worker}: entryPoint"] == ["/run", "--api-key=(sensitive)"]
    assert shown[f"{worker}: healthCheck.command"][1] == (
        "curl -fsu probe:(sensitive) http://127.0.0.1:8080/up"
    )
    assert shown[f"{worker}: logConfiguration.options.splunk-url"] == "https://splunk.example"
    assert shown["input.database"] == "postgres://(sensitive)@db.example/app"
    assert shown["input.hook"] == "https://hooks.example/build?token=(sensitive)"
    assert shown["input.download"].endswith("X-Amz-Signature=(sensitive)")
    assert shown["input.header"] == "Authorization: Basic (sensitive)"


def test_what_fails_is_still_told(told):
    failed = told["failed plan"]
    assert "Cannot use password=(sensitive) here." in failed
    assert 'Call to function "regex" failed' in failed
    assert 'expected type to be one of ["String" "StringList" "SecureString"], got (sensitive)' in failed
    assert "(case.tf:15)" in failed
    refused = told["refused apply"]
    for name in ("refused", "once", "literal"):
        assert f"creating SSM Parameter (/web/{name}): operation error SSM: PutParameter" in refused
    assert refused.count("Value '(sensitive)' at 'value' failed to satisfy constraint") >= 3
    sealed = told["JSON lines"]
    assert "Error running command 'printf 'canary-%s' prints-6c1f47; exit 3': exit status 3" in sealed
    assert "Error running command 'exit 4 # (sensitive)': exit status 4" in sealed


@pytest.mark.parametrize(
    ("run", "command", "code", "frame"),
    [
        ("panics", "plan", 11, "terraform/internal/command.(*PlanCommand).Run"),
        ("plugin panics", "plan", 1, "terraform-provider-aws/internal/service/ssm.resourceParameterRead"),
        ("aborts", "plan", 2, "terraform/internal/command.(*PlanCommand).Run"),
        # A real one: which goroutine the signal meets, and Go prints first, is not the same each time.
        ("aborted apply", "apply", 2, ""),
    ],
)
def test_a_crash_is_told_with_what_to_do_next(told, run, command, code, frame):
    said = told[run]
    assert f"error: terraform {command} crashed in " in said
    assert f"(exit code {code})" in said
    assert f"in github.com/hashicorp/{frame}" in said
    assert "run `orch plan` to see where it stands" in said
    # Neither the words around the panic nor the arguments of its stack.
    assert "unexpected value" not in said
    assert "0xc000" not in said


def test_the_log_of_a_bug_says_where_it_is(told):
    assert "bug: ValueError: could not convert string to float: …" in told["odd"]
    assert "please report it with" in told["odd"]
    log = told["log of a bug"]
    assert "in _resource" in log
    assert log.rstrip().endswith("ValueError: could not convert string to float: …")


def test_every_process_was_watched(told):
    for seen in ('/terraform", "apply"', '"git", "rev-parse"', '"version", "-json"'):
        assert seen in told["arguments of processes"]


def test_nothing_is_left_on_disk_in_clear(planted, told):
    """But for the configuration itself, which is the user's own, and what Terraform or this test put there."""
    base = planted.base
    written = {Path(name) for name in planted.watched("file")}
    assert any(file.is_relative_to(planted.root("dev") / ".terraform" / "orch") for file in written)
    left = []
    for file in {*base.rglob("*"), *written}:
        if not file.is_file() or file.is_symlink():
            continue
        inside = file.relative_to(base).parts if file.is_relative_to(base) else file.parts
        if inside[0] in {"raw", "sandbox", "tools"} or not {".git", "providers"}.isdisjoint(inside):
            continue
        if file.suffix in {".tf", ".tfvars"} or file.name == "crash.log":
            continue
        text = file.read_text(errors="replace")
        left += [f"{file}: {WHERE[canary]}" for _source, canary in CANARIES if holds(text, canary)]
    assert left == []
    # Plan files are compressed.
    assert not list(base.rglob("*.tfplan"))
    assert not list((base / "tmp").iterdir())
    assert not (base / "trace.log").exists()


def test_a_crash_log_is_not_committed(planted, told):
    assert (planted.root("staging") / "crash.log").is_file()
    status = git(planted.project.path, "status", "--porcelain", "--untracked-files=all")
    assert "crash.log" not in status
