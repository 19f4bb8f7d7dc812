"""`orch bootstrap --env NAME`: the state bucket that must exist before Terraform can run.

Comes in: an environment. Goes out: whether the bucket was created. May touch: S3 buckets of that environment's account.
Repeating it changes nothing, or brings an existing bucket back to the intended settings.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator import aws, store

if TYPE_CHECKING:
    from orchestrator.aws import Aws
    from orchestrator.events import Steps
    from orchestrator.settings import Environment


def bootstrap(session: Aws, environment: Environment, steps: Steps) -> bool:
    """Creates or mends the state bucket; true when it was created. Raises PreconditionError, AwsError."""
    with steps.step("preflight", "Check the account") as step:
        identity = session.identity()
        aws.require_account(identity, account_id=environment.account_id, environment=environment.name)
        step.detail = f"account {identity.account_id}"
    with steps.step("state_bucket", "Create the state bucket") as step:
        created = store.create_bucket(
            session.s3, environment.state_bucket, region=environment.region, account_id=environment.account_id
        )
        step.detail = (
            f"{environment.state_bucket} {'created' if created else 'was there, settings confirmed'}"
        )
    return created
