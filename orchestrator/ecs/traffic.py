"""What a staged strategy needs in order to shift a service's traffic, judged from facts (facts.py). Pure.

Blue/green works without a load balancer too: ECS then starts all new tasks and stops the old ones, and shifts nothing
(https://docs.aws.amazon.com/AmazonECS/latest/developerguide/blue-green-deployment-implementation.html). Linear and canary need one,
or Service Connect, or VPC Lattice: …/linear-deployment-implementation.html, …/canary-deployment-implementation.html.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.ecs.check import Check, trust_problem
from orchestrator.ecs.facts import Unread

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orchestrator.ecs.facts import Facts, Rule, Service
    from orchestrator.ecs.preflight import Wish
    from orchestrator.model import BlueGreen, Finding

_PRINCIPAL = "ecs.amazonaws.com"
_ROLLING = 'or set type = "rolling"'


def parts(wish: Wish, service: Service | None) -> BlueGreen | None:
    """What is to be looked at in AWS: nothing unless ECS is to shift the traffic of a load balancer."""
    if service is None or not wish.strategy.is_staged or not service.state.load_balancers:
        return None
    return wish.contract.blue_green


def judge(wish: Wish, service: Service, facts: Facts, account_id: str) -> Iterator[Finding]:
    """The strategy, and each thing that it needs."""
    yield _judge_strategy(wish, service)
    blue_green = parts(wish, service)
    if blue_green is None:
        return
    own = [item.get("targetGroupArn", "") for item in service.state.load_balancers]
    yield _judge_group(blue_green, own, facts)
    yield from _judge_rules(blue_green, own, facts)
    yield _judge_role(blue_green, facts, account_id)


def _judge_strategy(wish: Wish, service: Service) -> Finding:
    name, wanted, now = wish.contract.name, wish.strategy, service.state.strategy
    check = Check("strategy", "strategy", wish.contract.service)
    where = f"[services.{name}.strategy] of orch.toml"
    said = str(wanted)
    if wish.desired_count is not None and wanted.is_staged:
        said += "; the first rollout of all rolls"
    elif now.type != wanted.type:
        said += f"; so far {now.type}"
    if not wanted.is_staged:
        return check.ok(said)
    balancers = service.state.load_balancers
    if not balancers and not service.has_mesh and wanted.type != "BLUE_GREEN":
        return check.fail(
            f"{wanted.type} has no traffic to shift: the service has neither a load balancer nor Service Connect",
            f'give it a load_balancer in Terraform, or set type = "blue_green" or "rolling" in {where}',
        )
    if len(balancers) > 1:
        return check.fail(
            f"the service has {len(balancers)} target groups, and the output `orch` an alternate one for one of them",
            f"leave it one load balancer in Terraform, {_ROLLING} in {where}",
        )
    if balancers and wish.contract.blue_green is None:
        return check.fail(
            f"the output `orch` names nothing that {wanted.type} could shift traffic with",
            f"set blue_green in the service's load_balancer in Terraform, {_ROLLING} in {where}",
        )
    if not wanted.bake_minutes:
        return check.warn(
            f"{said}; no bake time: the old tasks stop as soon as all traffic has shifted",
            f"bake_time_minutes in {where} keeps them for a way back that takes seconds",
        )
    if not balancers and not service.has_mesh:
        return check.ok(
            f"{said}; without a load balancer no traffic is shifted, only tasks replaced all at once"
        )
    # https://docs.aws.amazon.com/AmazonECS/latest/developerguide/update-rolling-to-bluegreen.html
    if balancers and not balancers[0].get("advancedConfiguration") and wish.desired_count is None:
        return check.warn(
            f"{said}; the load balancer of the service does not know yet what it shifts traffic with",
            "this rollout tells it; AWS asks for a rolling one with that first: should this one fail, set type ="
            f' "rolling" in {where} for one release',
        )
    return check.ok(said)


def _judge_group(blue_green: BlueGreen, own: list[str], facts: Facts) -> Finding:
    arn = blue_green.alternate_target_group_arn
    check, found = Check("alternate-target-group", "alternate target group", arn), facts.groups.get(arn)
    if isinstance(found, Unread):
        return check.skip(found.reason)
    if arn in own:
        return check.fail(
            "it is the one that the service has already",
            "name another one as alternate_target_group_arn in the output `orch`",
        )
    if not found:
        return check.fail(f"there is no {_short(arn)}", "`orch apply` lets Terraform make it again")
    return check.ok(_short(arn))


def _judge_rules(blue_green: BlueGreen, own: list[str], facts: Facts) -> Iterator[Finding]:
    """Each group must be in one of the rules, else ECS rolls back.

    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/troubleshooting-blue-green.html
    """
    wanted = {"production": blue_green.production_listener_rule_arn}
    if blue_green.test_listener_rule_arn is not None:
        wanted["test"] = blue_green.test_listener_rule_arn
    read = {kind: facts.rules.get(arn) for kind, arn in wanted.items()}
    reached = {
        group for rule in read.values() if rule and not isinstance(rule, Unread) for group in rule.groups
    }
    is_sure = not any(isinstance(rule, Unread) for rule in read.values())
    for kind, arn in wanted.items():
        check, rule = Check(f"{kind}-rule", f"{kind} listener rule", arn), read[kind]
        if isinstance(rule, Unread):
            yield check.skip(rule.reason)
        elif rule is None:
            yield check.fail(f"there is no {_short(arn)}", "`orch apply` lets Terraform make it again")
        elif kind == "test" and arn == wanted["production"]:
            yield check.fail(
                "it is the production rule", "make another rule for test traffic, or none at all"
            )
        else:
            groups = [*own, blue_green.alternate_target_group_arn] if kind == "production" and is_sure else []
            yield _judge_rule(check, rule, [group for group in groups if group not in reached])


def _judge_rule(check: Check, rule: Rule, missing: list[str]) -> Finding:
    if rule.others:
        return check.fail(
            f"it has other actions than forward: {', '.join(rule.others)}",
            "let it forward alone: ECS cannot shift traffic by it otherwise",
        )
    if missing:
        return check.fail(
            f"it does not forward to {' and '.join(map(_short, missing))}",
            f"`aws elbv2 modify-rule --rule-arn {check.subject} …` lets it forward to both target groups, with weights 100 and 0",
        )
    return check.ok(f"forwards to {' and '.join(map(_short, rule.groups))}")


def _judge_role(blue_green: BlueGreen, facts: Facts, account_id: str) -> Finding:
    arn = blue_green.infrastructure_role_arn
    check, trust = Check("infrastructure-role", "infrastructure role", arn), facts.roles.get(arn)
    name = arn.rsplit("/", 1)[-1]
    if isinstance(trust, Unread):
        return check.skip(trust.reason)
    if trust is None:
        return check.fail(
            f"IAM has no {arn}", "`orch apply` lets Terraform make it; IAM may take seconds to show a new one"
        )
    if problem := trust_problem(trust, account_id, _PRINCIPAL):
        return check.fail(f"{name}: {problem}", f"allow sts:AssumeRole to {_PRINCIPAL} in its trust policy")
    return check.ok(f"{name}, lets ECS in")


def _short(arn: str) -> str:
    """As much of an ARN of Elastic Load Balancing as tells it apart."""
    return "/".join(arn.rsplit(":", 1)[-1].split("/")[1:])
