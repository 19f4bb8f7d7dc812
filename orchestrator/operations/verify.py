"""`orch verify --env NAME`, and what an apply asks before its first service moves: whether each can be rolled out.

    verify          environment     → Preflights    the newest skeleton with the image of this commit, else with the one that runs
    require_ready   Candidates      → Candidates    raises when a check fails, and waits for another run's rollout

May touch: the state, read by `terraform output`; read-only calls of AWS, several at a time. Nothing is built, registered or
changed, no secret's value is read, and a check that the role may not make is skipped.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from orchestrator import aws
from orchestrator.ecs import (
    facts,
    launch,
    preflight,
    revisions,
    rollout,
    scaling,
    strategy,
    task_definition,
    traffic,
)
from orchestrator.ecs.check import Check
from orchestrator.ecs.followed import Terms
from orchestrator.errors import AwsError, OrchError, PreconditionError, SettingsError
from orchestrator.events import Warned
from orchestrator.image import ecr, source
from orchestrator.model import Outcome, Preflight, Verdict
from orchestrator.operations import contract, release
from orchestrator.operations.rollouts import continue_command
from orchestrator.permissions import Role

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from concurrent.futures import Future

    from orchestrator.aws import Aws
    from orchestrator.ecs.facts import Facts, Service
    from orchestrator.ecs.preflight import Wish
    from orchestrator.ecs.revisions import Revision
    from orchestrator.events import Steps
    from orchestrator.model import Contract, Finding, Image, Rollout, ServiceContract, Source
    from orchestrator.operations.release import Candidate, Target
    from orchestrator.settings import Environment, Settings

# Enough for one round trip a kind of call, and no crowd at IAM's door, which takes few calls a second.
_THREADS = 8
_MOVING = frozenset({release.Move.UPDATE, release.Move.RETRY})


@dataclass(frozen=True)
class _Drawn:
    """A wish, and what kept it from being whole."""

    wish: Wish
    problem: Finding | None = None


def verify(
    settings: Settings,
    environment: Environment,
    names: tuple[str, ...],
    *,
    session: Aws,
    environ: Mapping[str, str],
    steps: Steps,
) -> tuple[Preflight, ...]:
    """What was found out about the environment and about each of the named services, or of all. Raises OrchError."""
    account = _check_account(environment, session)
    if account.failures:
        return (account,)
    agreed = contract.read(settings, environment, session, environ, steps)
    chosen = contract.choose(agreed, names)
    deploying = session.acting_as(Role.DEPLOY)
    sources = release.Sources(settings, environ, {})
    with steps.step("verify", "Check what a rollout needs") as step:
        services = _read_services(chosen, deploying)
        targets = [
            release.Target(service, agreed, environment, sources, deploying, steps) for service in chosen
        ]
        with ThreadPoolExecutor(_THREADS) as pool:
            drawn = list(pool.map(partial(_draw, services=services), targets))
        found = _check(
            [item.wish for item in drawn],
            services,
            deploying,
            agreed=agreed,
            environment=environment,
            settings=settings,
        )
        found = [
            replace(one, findings=(*one.findings, item.problem)) if item.problem else one
            for one, item in zip(found, drawn, strict=True)
        ]
        step.detail = summary(found)
    return (account, *found)


def require_ready(
    candidates: Sequence[Candidate], *, clock: rollout.Clock | None = None
) -> tuple[Candidate, ...]:
    """The candidates again, once nothing stands in their way; those that another run's rollout held up are prepared anew.

    Only what starts a rollout is checked. Raises PreconditionError when a check fails or that rollout does not end in time.
    """
    clock = clock or rollout.Clock()
    ready, began = list(candidates), clock.now()
    while True:
        moving = [candidate for candidate in ready if candidate.move in _MOVING]
        held_up = _require_passed(moving) if moving else frozenset()
        if not held_up:
            return tuple(ready)
        left_s = moving[0].target.sources.settings.rollout.timeout_s - (clock.now() - began)
        _await_others([one for one in moving if one.name in held_up], left_s, clock)
        # What the service is on may have changed, and with it what has to happen.
        ready = [release.prepare(one.target) if one.name in held_up else one for one in ready]


def summary(found: Iterable[Preflight]) -> str:
    """`12 OK, 1 FAIL`."""
    outcomes = [finding.outcome for one in found for finding in one.findings]
    return ", ".join(f"{outcomes.count(kind)} {kind}" for kind in Outcome if kind in outcomes)


# --- what is to be rolled out


def _draw(target: Target, *, services: Mapping[str, Service]) -> _Drawn:
    """The wish of a run that has nothing to build. What cannot be rendered is checked as far as it is known."""
    service = target.service
    known = services.get(service.name)
    wanted = strategy.wanted(target.sources.settings.strategy(target.environment, service.name))
    wish = preflight.Wish(service, _nothing(service), has_image=False, strategy=wanted)
    try:
        skeleton = revisions.describe(target.session.ecs, service.skeleton_arn)
        wish = replace(wish, definition=skeleton.definition)
        current = skeleton
        if known is not None and known.state.task_definition != skeleton.arn:
            current = revisions.describe(target.session.ecs, known.state.task_definition)
        if not current.is_registered_by_orch:
            wish = replace(wish, desired_count=service.desired_count)
        wish = replace(wish, is_settled=_is_settled(current))
        if service.name not in target.sources.settings.services:
            raise SettingsError(
                "orch.toml lacks this service", hint=f"add [services.{service.name}] with its build context"
            )
        image, origin = _choose_image(target, current)
        if image is None:
            return _Drawn(wish)
        # Without the overlay first: should that not render, the rest is checked all the same.
        render = partial(
            task_definition.render, skeleton.definition, container=service.container, image=image
        )
        wish = replace(wish, definition=render(overlay={}), has_image=True, origin=origin)
        rendered = render(overlay=release._overlay(target, image))  # noqa: SLF001 - as a release does it
        is_followed = task_definition.is_equal(rendered, current.definition)
        return _Drawn(replace(wish, definition=rendered, is_followed=is_followed))
    except OrchError as error:
        if isinstance(error, AwsError) and error.code != "ClientException":
            raise
        check = Check("definition", "task definition", service.skeleton_arn)
        return _Drawn(wish, check.fail(error.message, error.hint or "see `orch plan`"))


def _choose_image(target: Target, current: Revision) -> tuple[Image | None, str]:
    """The image of this commit if ECR has it, else the one that runs, and which of the two it is."""
    service = target.service
    origin = _source(target)
    if origin is not None:
        asked = facts.asked(
            partial(target.sources.digest, target.session, service.repository_url, origin.tag)
        )
        if isinstance(asked, str):
            return ecr.parse_reference(f"{service.repository_url}@{asked}"), f"of commit {origin.commit[:12]}"
    running = current.definition.image_of(service.container)
    if not current.is_registered_by_orch or "@" not in running:
        return None, ""
    return ecr.parse_reference(running), "the one that runs"


def _source(target: Target) -> Source | None:
    context = target.sources.settings.root / target.settings.context
    try:
        return source.identify(context, target.sources.environ)
    except OrchError:
        # Not in a checkout, or one without a commit: what runs can be verified all the same.
        return None


def _nothing(service: ServiceContract) -> task_definition.TaskDefinition:
    return task_definition.TaskDefinition({"family": service.task_family, "containerDefinitions": []})


def _is_settled(current: Revision) -> bool:
    return current.has_succeeded or not current.is_registered_by_orch


# --- what AWS says


def _check_account(environment: Environment, session: Aws) -> Preflight:
    """Whose credentials these are, before Terraform reads any state with them. Raises AwsError when there are none."""
    identity = session.identity()
    check = Check("account", "account", identity.arn)
    try:
        aws.require_account(identity, account_id=environment.account_id, environment=environment.name)
    except PreconditionError as error:
        finding = check.fail(error.message, error.hint)
    else:
        finding = check.ok(f"{identity.account_id}, {environment.region}, as orch.toml says")
    return Preflight(environment.name, "", (finding,))


def _read_services(services: Iterable[ServiceContract], session: Aws) -> dict[str, Service]:
    """By their names in the contract; those that are not there are left out. Raises AwsError."""
    by_cluster: dict[str, list[ServiceContract]] = {}
    for service in services:
        by_cluster.setdefault(service.cluster, []).append(service)
    found: dict[str, Service] = {}
    for cluster, here in by_cluster.items():
        known = facts.read_services(session.ecs, cluster, [service.service for service in here])
        found |= {service.name: known[service.service] for service in here if service.service in known}
    return found


def _check(
    wishes: Sequence[Wish],
    services: Mapping[str, Service],
    session: Aws,
    *,
    agreed: Contract,
    environment: Environment,
    settings: Settings,
) -> list[Preflight]:
    place = preflight.Place(agreed.account_id, agreed.region)
    known = _gather(wishes, services, place, session)
    return [
        Preflight(
            environment.name,
            wish.contract.name,
            preflight.judge(wish, known, place, in_flight=settings.rollout.in_flight),
        )
        for wish in wishes
    ]


def _gather(
    wishes: Sequence[Wish], services: Mapping[str, Service], place: preflight.Place, session: Aws
) -> Facts:
    """Asks for everything that the wishes need, each thing once."""
    needs = [preflight.needs_of(wish.definition) for wish in wishes]
    references = [one for need in needs for one in need.references if one.is_in(place)]
    groups = [one for need in needs for one in need.log_groups if one.is_in(place)]
    alarms = list(dict.fromkeys(name for one in services.values() for name in one.alarms))
    parameters = list(dict.fromkeys(one.key for one in references if one.store == "ssm"))
    shifting = [
        parts
        for wish in wishes
        if (parts := traffic.parts(wish, services.get(wish.contract.name))) is not None
    ]
    # Only a first rollout sets a count that autoscaling may not like.
    first = {wish.contract.name: wish.contract for wish in wishes if wish.desired_count is not None}

    def scalable(name: str) -> scaling.ScalableTarget | None:
        service = first[name]
        cluster = service.cluster.rsplit("/", 1)[-1]
        return scaling.scalable_target(session.autoscaling, cluster, service.service)

    with ThreadPoolExecutor(_THREADS) as pool:

        def ask(keys: Iterable[str], read: Callable[[str], Any]) -> dict[str, Future[Any]]:
            return {key: pool.submit(facts.asked, partial(read, key)) for key in dict.fromkeys(keys)}

        def ask_all(keys: list[str], read: Callable[[list[str]], Any]) -> Future[Any] | None:
            return pool.submit(facts.asked, partial(read, keys)) if keys else None

        roles = ask(
            (
                *(arn for need in needs for arn in need.roles.values()),
                *(one.infrastructure_role_arn for one in shifting),
            ),
            lambda arn: facts.read_role(session.iam, arn),
        )
        rules = ask(
            (
                arn
                for one in shifting
                for arn in (one.production_listener_rule_arn, one.test_listener_rule_arn)
                if arn is not None
            ),
            lambda arn: facts.read_rule(session.elbv2, arn),
        )
        target_groups = ask(
            (one.alternate_target_group_arn for one in shifting),
            lambda arn: facts.has_target_group(session.elbv2, arn),
        )
        images = ask(
            (
                image
                for wish, need in zip(wishes, needs, strict=True)
                for image in preflight.asked_images(wish, need)
            ),
            lambda image: facts.read_image(session.ecr, image),
        )
        secrets = ask(
            (one.key for one in references if one.store == "secretsmanager"),
            lambda arn: facts.read_secret(session.secretsmanager, arn),
        )
        log_groups = ask(
            (one.name for one in groups if not one.is_made_by_ecs),
            lambda name: facts.has_log_group(session.logs, name),
        )
        scaled = ask(first, scalable)
        described = ask_all(parameters, lambda keys: facts.read_parameters(session.ssm, keys))
        states = ask_all(alarms, lambda names: facts.read_alarms(session.cloudwatch, names))
        return facts.Facts(
            services=services,
            roles=_results(roles),
            secrets=_results(secrets),
            parameters=_spread(parameters, described),
            log_groups=_results(log_groups),
            alarms=_spread(alarms, states),
            images=_results(images),
            scaling=_results(scaled),
            rules=_results(rules),
            groups=_results(target_groups),
        )


def _results(asked: Mapping[str, Future[Any]]) -> dict[str, Any]:
    return {key: future.result() for key, future in asked.items()}


def _spread(keys: list[str], asked: Future[Any] | None) -> dict[str, Any]:
    """The answers to one question about many; where it could not be asked, it could be for none."""
    answer = asked.result() if asked else {}
    return dict.fromkeys(keys, answer) if isinstance(answer, facts.Unread) else answer


# --- in the way of an apply


def _require_passed(moving: Sequence[Candidate]) -> frozenset[str]:
    """Raises PreconditionError when a check fails; else the names of those that another rollout holds up."""
    target = moving[0].target
    settings, environment, steps = target.sources.settings, target.environment, target.steps
    with steps.step("verify", "Check what the rollout needs") as step:
        services = _read_services([one.target.service for one in moving], target.session)
        wishes = [
            preflight.Wish(
                one.target.service,
                one.wanted,
                desired_count=one.desired_count,
                is_settled=_is_settled(one.current),
                strategy=strategy.wanted(settings.strategy(environment, one.name)),
            )
            for one in moving
        ]
        found = _check(
            wishes,
            services,
            target.session,
            agreed=target.agreed,
            environment=environment,
            settings=settings,
        )
        step.detail = summary(found)
        failures = [(one.service, finding) for one in found for finding in one.failures]
        if failures:
            raise PreconditionError(
                f"nothing was rolled out: {len(failures)} check{'s' if len(failures) > 1 else ''} failed",
                hint=f"mend that, then run the same again; `orch verify --env {environment.name}` checks it alone",
                details=tuple(
                    line
                    for service, finding in failures
                    for line in (f"{service}: {finding.title}: {finding.detail}", f"  → {finding.hint}")
                ),
            )
    for one in found:
        for finding in one.findings:
            if finding.outcome is Outcome.WARN:
                steps.emit(Warned(f"{one.service}: {finding.title}: {finding.detail}", finding.hint))
    if settings.rollout.in_flight != "wait":
        return frozenset()
    return frozenset(
        wish.contract.name
        for wish in wishes
        if preflight.is_in_flight(services[wish.contract.name].state, is_settled=wish.is_settled)
    )


def _await_others(held_up: Sequence[Candidate], timeout_s: float, clock: rollout.Clock) -> None:
    """Follows rollouts of other runs to their ends, whatever these are. Raises PreconditionError when one does not end in time."""
    first = held_up[0].target
    watch = rollout.Watch(first.session.ecs, first.steps.emit, clock=clock)
    names = ", ".join(one.name for one in held_up)
    with first.steps.step("wait", f"Wait for the rollout of {names} that is under way") as step:
        states = _read_services([one.target.service for one in held_up], first.session)
        for one in held_up:
            service = one.target.service
            started = launch.attach(
                states[one.name].state,
                cluster=service.cluster,
                service=service.service,
                has_fallback=one.has_fallback,
            )
            # It is somebody else's: it is followed, and never stopped.
            watch.add(
                started,
                Terms(max(timeout_s, 1.0), fail_fast=False, continue_with=continue_command(one.target)),
            )
        ended: list[Rollout] = []
        while not watch.is_idle:
            ended += watch.wait()
        step.detail = ", ".join(f"{done.service} {done.verdict}" for done in ended)
    for done in ended:
        if done.verdict in {Verdict.TIMED_OUT, Verdict.UNKNOWN}:
            raise PreconditionError(
                f"nothing was rolled out: another rollout of {done.service} is still under way: {done.reason}",
                hint='`orch watch` follows it; in_flight = "supersede" in [rollout] of orch.toml replaces it',
            )
