"""Which target group is the new revision's, told from service revisions as ECS describes them."""

from __future__ import annotations

import pytest

from orchestrator.ecs import green

ELB = "arn:aws:elasticloadbalancing:eu-central-1:111111111111"
A, B = f"{ELB}:targetgroup/shop-a/1", f"{ELB}:targetgroup/shop-b/2"
RULE = f"{ELB}:listener-rule/app/shop/3/4/5"
BALANCER = {
    "targetGroupArn": A,
    "advancedConfiguration": {"alternateTargetGroupArn": B, "productionListenerRule": RULE},
}


def revision(target_group: str = "", rule: str = RULE) -> dict:
    resolved = [{"targetGroupArn": target_group, "productionListenerRule": rule}] if target_group else []
    return {"loadBalancers": [BALANCER], "resolvedConfiguration": {"loadBalancers": resolved}}


@pytest.mark.parametrize(
    ("new", "before", "found"),
    [
        (revision(B), [revision(A)], (B, RULE)),
        # After one deployment they have changed places.
        (revision(A), [revision(B)], (A, RULE)),
        (revision(), [revision(A)], (B, RULE)),
        (revision(), [revision(B)], (A, RULE)),
        (revision(), [revision(B, rule="")], (A, RULE)),
        # Nothing says whose they are, or both are taken: a wrong guess would measure the old revision.
        (revision(), [revision()], None),
        (revision(), [], None),
        (revision(), [revision(A), revision(B)], None),
        ({"loadBalancers": [{"targetGroupArn": A}]}, [revision(A)], None),
        ({}, [], None),
    ],
)
def test_the_new_revisions_target_group(new, before, found):
    assert green.resolve(new, before) == found
