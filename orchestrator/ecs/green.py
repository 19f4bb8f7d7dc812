"""Finds the target group of the revision that a staged deployment brings, and the load balancer in front of it.

The two target groups of a service change places with every staged deployment, so its definition does not say which is whose. ECS
does, for each service revision, in `resolvedConfiguration`; where it says so of the old revision alone, the other one is meant.
https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ServiceRevision.html
Touches: ecs:DescribeServiceDeployments, ecs:DescribeServiceRevisions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orchestrator.aws import translated
from orchestrator.ecs import analysis
from orchestrator.errors import PreconditionError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from mypy_boto3_ecs import ECSClient


def find(ecs: ECSClient, service_deployment_arn: str) -> dict[str, str]:
    """TARGET_GROUP and LOAD_BALANCER, as CloudWatch's dimensions name them. Raises PreconditionError where ECS does not tell them,
    AwsError.
    """
    with translated("ecs:DescribeServiceDeployments"):
        answer = ecs.describe_service_deployments(serviceDeploymentArns=[service_deployment_arn])
    deployments = answer.get("serviceDeployments", [])
    if not deployments:
        raise PreconditionError(f"ECS does not list the service deployment {service_deployment_arn}")
    target = deployments[0].get("targetServiceRevision", {}).get("arn", "")
    sources = [one["arn"] for one in deployments[0].get("sourceServiceRevisions", []) if "arn" in one]
    with translated("ecs:DescribeServiceRevisions"):
        revisions = ecs.describe_service_revisions(serviceRevisionArns=[target, *sources])
    by_arn = {one["serviceRevisionArn"]: one for one in revisions.get("serviceRevisions", [])}
    before = [by_arn[arn] for arn in sources if arn in by_arn and arn != target]
    found = resolve(by_arn.get(target, {}), before)
    if found is None:
        raise PreconditionError(
            "ECS does not tell the target group of the new revision",
            hint="analyses that name $TARGET_GROUP or $LOAD_BALANCER need a service behind a load balancer with two target groups",
        )
    return {
        "TARGET_GROUP": analysis.target_group_name(found[0]),
        "LOAD_BALANCER": analysis.load_balancer_name(found[1]),
    }


def resolve(revision: Mapping[str, Any], before: Sequence[Mapping[str, Any]]) -> tuple[str, str] | None:
    """The ARNs of a service revision's target group and of its listener (rule), None where they cannot be told. `before` are the
    revisions whose place it takes. Of several load balancers the first is meant. Pure.
    """
    for target_group, rule in _resolved(revision):
        if target_group and rule:
            return target_group, rule
    for balancer in revision.get("loadBalancers", []):
        advanced = balancer.get("advancedConfiguration", {})
        pair = {balancer.get("targetGroupArn", ""), advanced.get("alternateTargetGroupArn", "")} - {""}
        taken = {target_group for one in before for target_group, _ in _resolved(one)} & pair
        rule = advanced.get("productionListenerRule", "")
        if rule and len(pair) == 2 and len(taken) == 1:
            return next(iter(pair - taken)), rule
    return None


def _resolved(revision: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    for one in revision.get("resolvedConfiguration", {}).get("loadBalancers", []):
        yield one.get("targetGroupArn", ""), one.get("productionListenerRule", "")
