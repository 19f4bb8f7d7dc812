"""The `orch/` prefix of the state bucket, and the state bucket itself.

    bucket     the bucket: made, brought to its settings, and held against them
    records    release records: append-only, the newest listed first, and told in short by their keys
    plans      sealed plans, opaque here

Hides key names and S3. Touches: S3, in that bucket alone. Nothing here is ever read to decide a rollout.
"""

from __future__ import annotations

from orchestrator.store.bucket import (
    create_bucket,
    has_bucket,
    is_listed,
    last_modified,
    region_of,
    setting_checks,
)
from orchestrator.store.plans import find_plan, get_plan, plan_key, plans, put_plan
from orchestrator.store.records import (
    Listed,
    briefs,
    last_releases,
    listed,
    newest,
    put_release,
    read,
    release_key,
    releases,
)

__all__ = [
    "Listed",
    "briefs",
    "create_bucket",
    "find_plan",
    "get_plan",
    "has_bucket",
    "is_listed",
    "last_modified",
    "last_releases",
    "listed",
    "newest",
    "plan_key",
    "plans",
    "put_plan",
    "put_release",
    "read",
    "region_of",
    "release_key",
    "releases",
    "setting_checks",
]
