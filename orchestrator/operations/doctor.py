"""`orch doctor`: what this machine, the repository on GitHub and each environment's account lack, and the command that mends it.

    examine    settings, environments    → Checkups: the machine, GitHub, then each environment
    mend       Checkups                  → brings the state buckets and the repository to what orch wants of them

What is checked stands in doctor_machine, doctor_github and doctor_aws. It is done with the user's own credentials, and whatever
they may not ask is a SKIP. May touch: with `examine`, read-only calls of AWS, GitHub and Terraform's registry, and the programs
that orch needs, asked for their versions; with `mend`, state buckets and the repository's environments and variables.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from orchestrator.model import Checkup, Outcome
from orchestrator.operations import bootstrap as bootstrapping
from orchestrator.operations import doctor_aws, doctor_github, doctor_machine
from orchestrator.terraform import mirror

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from orchestrator.events import Steps
    from orchestrator.github.difference import Difference
    from orchestrator.model import Finding
    from orchestrator.operations.plan_all import Ready
    from orchestrator.settings import Settings

_ENVIRONMENTS_AT_ONCE = 4


@dataclass(frozen=True)
class Given:
    """What all checks go by. `flags` are those that every command to mend something must have too, such as `--sandbox`;
    `env` is the one environment that was asked about, "" for all of them. `now` is this machine's clock.
    """

    settings: Settings
    environ: Mapping[str, str]
    github_token: str = field(default="", repr=False)
    env: str = ""
    flags: tuple[str, ...] = ()
    now: Callable[[], float] = time.time
    registry_problem: Callable[[str], str] = mirror.registry_problem

    def command(self, *words: str) -> str:
        """`orch …` as it can be typed here."""
        return " ".join(("orch", *words, *self.flags))

    @property
    def fix_command(self) -> str:
        return self.command("doctor", *(("--env", self.env) if self.env else ()), "--fix")


def examine(given: Given, ready: Sequence[Ready], steps: Steps) -> tuple[Checkup, ...]:
    """The machine, GitHub, and each environment. Raises nothing that a check comes upon: that is its finding."""
    environments = tuple(one.environment for one in ready)
    with steps.step("doctor", "Check this machine, GitHub and AWS") as step:
        with ThreadPoolExecutor(_ENVIRONMENTS_AT_ONCE) as pool:
            machine = pool.submit(doctor_machine.examine, given, environments)
            # First, since a role's trust is held to how GitHub's tokens name the repository.
            github, subject = doctor_github.examine(given, environments)
            accounts = list(pool.map(partial(_account, given, subject), ready))
        found = (Checkup("machine", "this machine", machine.result()), github, *accounts)
        step.detail = summary(found)
    return found


def mend(
    given: Given,
    ready: Sequence[Ready],
    found: Sequence[Checkup],
    *,
    steps: Steps,
    ask: Callable[[str], bool],
    approve_github: Callable[[tuple[Difference, ...]], bool],
) -> bool:
    """Does what `examine` said that `--fix` does; says whether there was anything. Raises DeclinedError, OrchError."""
    failed = {(one.name, finding.id) for one in found for finding in one.failures}
    done = False
    buckets: set[str] = set()
    for one in ready:
        name, bucket = one.environment.name, one.environment.state_bucket
        is_due = any(scope == name and check in doctor_aws.MENDABLE for scope, check in failed)
        if is_due and bucket not in buckets:
            bootstrapping.ensure_bucket(one.session, one.environment, one.steps, ask=ask)
            buckets.add(bucket)
            done = True
    github = given.settings.github
    if github is not None and any(check in doctor_github.MENDABLE for _scope, check in failed):
        wanted = bootstrapping.wanted_on_github(given.settings, tuple(one.environment for one in ready))
        bootstrapping.set_up_github(github, wanted, given.github_token, steps, approve_github)
        done = True
    return done


def summary(found: Sequence[Checkup]) -> str:
    """`2 FAIL, 30 OK`."""
    outcomes = [finding.outcome for one in found for finding in one.findings]
    order = (Outcome.FAIL, Outcome.WARN, Outcome.OK, Outcome.SKIP)
    return ", ".join(f"{outcomes.count(kind)} {kind}" for kind in order if kind in outcomes)


def _account(given: Given, subject: str, one: Ready) -> Checkup:
    environment = one.environment
    caller, findings = doctor_aws.examine(given, environment, one.session, subject_repository=subject)
    return Checkup(
        "environment",
        environment.name,
        findings,
        account_id=environment.account_id,
        region=environment.region,
        caller=caller,
    )


def failures(found: Sequence[Checkup]) -> tuple[Finding, ...]:
    """All that failed."""
    return tuple(finding for one in found for finding in one.failures)
