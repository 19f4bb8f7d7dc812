"""What the pages of the verbs say beyond what the command line itself knows: an example, and which exit codes to expect.

scripts/docs.py refuses a verb that is not here, so that every page has both. What is here and no verb is left out.
"""

from __future__ import annotations

from dataclasses import dataclass

CODES = {
    0: "done, or nothing to do: SUCCEEDED or NO_CHANGE",
    1: "an expected failure: the message says where, what, and what to do",
    2: "the command line or orch.toml is wrong",
    3: "a bug of orch: one line, and the path of a log",
    10: "ROLLED_BACK: the new revision failed, and the one before it runs",
    11: "FAILED: there was nothing to roll back to, or the rollback failed",
    12: "SUPERSEDED: another deployment took the place of this one",
    13: "TIMED_OUT: it took longer than `timeout_s` of `[rollout]`",
    14: "CANCELLED: the run was cancelled, and so was its rollout",
    15: "UNKNOWN: AWS could not be asked how it ended; `orch watch` tells",
    20: "refused by a gate; nothing was changed",
    21: "a sealed plan is stale, was tampered with, or belongs elsewhere; nothing was changed",
    22: "the environment, or Terraform's state, is locked; the holder is named",
    130: "interrupted by Ctrl-C or SIGTERM; the same command goes on",
}
ALWAYS = (0, 1, 2, 3, 130)
_ROLLOUT = (10, 11, 12, 13, 14, 15)


@dataclass(frozen=True)
class Words:
    """`example` holds shell lines, `codes` the exit codes beside those that every verb has, `notes` a sentence where a verb means
    something else by one.
    """

    example: str
    codes: tuple[int, ...] = ()
    notes: str = ""


VERBS = {
    "init": Words(
        "orch init\norch init --environment dev --account dev=111111111111 --region eu-central-1 --yes\norch init --check",
        (),
        "1 also means that a file was left as it is, because both sides changed it. With `--check`, 2 also means that something would"
        " change.",
    ),
    "doctor": Words("orch doctor\norch doctor --env prod", (), "1 also means that a check failed."),
    "adopt": Words("orch adopt"),
    "environments": Words("orch environments --changed main --output json"),
    "plan": Words(
        "orch plan --env dev\norch plan --all --changed main --seal --comment",
        (22,),
        "With `--detailed-exitcode`, 2 also means that there are changes, as in Terraform.",
    ),
    "apply": Words(
        "orch apply --env dev\norch apply --env prod --sealed HEAD --yes",
        (*_ROLLOUT, 20, 21, 22),
        "With several services the greatest code of them counts. A service that waited for one that failed is NOT_STARTED (1).",
    ),
    "deploy": Words("orch deploy --env dev --service hello", (*_ROLLOUT, 20, 22)),
    "promote": Words(
        "orch promote --from staging --to prod --check\norch promote --from staging --to prod --wait --yes",
        (*_ROLLOUT, 20, 22),
        "22 where nothing but a lock is in the way, else 20.",
    ),
    "release": Words("orch release --through prod --wait --yes", (*_ROLLOUT, 20, 22)),
    "release show": Words("orch release show 20260701T120000Z-3f2a"),
    "watch": Words("orch watch --env prod", _ROLLOUT),
    "continue": Words(
        "orch continue --env prod\norch continue --env prod --rollback --yes",
        _ROLLOUT,
        "With `--rollback`, 0 means that it was rolled back.",
    ),
    "rollback": Words("orch rollback --env prod --service hello", (*_ROLLOUT, 22)),
    "verify": Words("orch verify --env prod", (), "1 also means that a check failed."),
    "status": Words(
        "orch status\norch status --env prod --exit-code",
        (),
        "With `--exit-code`, 1 also means that something is not as it should be.",
    ),
    "board": Words("orch board --file public/index.html\norch board --serve"),
    "history": Words("orch history --env prod --limit 5"),
    "metrics": Words("orch metrics --env prod --since 90d --by month"),
    "diff": Words(
        "orch diff --env prod\norch diff --env staging --env prod",
        (),
        "With `--detailed-exitcode`, 2 also means that something differs.",
    ),
    "drift": Words("orch drift --issue", (22,), "2 also means that there is drift."),
    "tasks": Words("orch tasks --env dev --stopped"),
    "logs": Words("orch logs --env dev --follow --times"),
    "run": Words(
        "orch run --env dev -- /migrate --dry-run",
        (),
        "Else it ends as the command does: with the container's exit code when that is 1 to 125, with 1 when it is greater.",
    ),
    "exec": Words("orch exec --env dev --service hello", (), "Else it ends as the command does, likewise."),
    "scale": Words("orch scale --env dev --service hello 3", (12, 13, 20)),
    "lock": Words("orch lock --env prod --reason 'database migration' --for 2h", (22,)),
    "unlock": Words("orch unlock --env prod", (22,)),
    "locks": Words("orch locks"),
    "bootstrap": Words("orch bootstrap --env prod --github", (20, 22)),
    "policy": Words("orch policy --env prod --role deploy"),
    "destroy": Words("orch destroy --env dev", (20, 22)),
    "sandbox up": Words("orch sandbox up"),
    "sandbox down": Words("orch sandbox down"),
    "sandbox status": Words("orch sandbox status"),
    "sandbox reset": Words("orch sandbox reset"),
    "sandbox env": Words('eval "$(orch sandbox env --env dev)"'),
    "sandbox scenario list": Words("orch sandbox scenario list"),
    "sandbox scenario set": Words(
        "orch sandbox scenario set hello crash --env dev\norch deploy --env dev --force --sandbox"
    ),
    "sandbox scenario show": Words("orch sandbox scenario show"),
    "sandbox scenario clear": Words("orch sandbox scenario clear hello --env dev"),
    "sandbox scenario metric": Words("orch sandbox scenario metric Shop Errors 0 0 7 --env dev --every 1m"),
    "sandbox clock advance": Words("orch sandbox clock advance 20m"),
    "sandbox clock freeze": Words("orch sandbox clock freeze"),
    "sandbox clock resume": Words("orch sandbox clock resume"),
    "sandbox clock show": Words("orch sandbox clock show"),
}
