"""The session and the clients of one environment: the only place (sandbox/ aside) that makes a boto3 session.

Hides credentials, the assumed role, the endpoint, retries, and botocore's exceptions: everything that fails here or inside
`translated()` is an `AwsError` that says which call, what AWS said, and what to do. boto3 is imported on the first use.
Touches: the network, and whatever botocore's credential chain reads.
"""

from __future__ import annotations

import random
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from orchestrator import web_identity
from orchestrator.errors import AwsError, PreconditionError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import boto3
    from mypy_boto3_ecr import ECRClient
    from mypy_boto3_ecs import ECSClient
    from mypy_boto3_iam import IAMClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sts import STSClient

# botocore counts the retries here, not the first attempt.
_MAX_RETRIES = 5
_LONGEST_BACKOFF_S = 20.0
_CONNECT_TIMEOUT_S = 10
_READ_TIMEOUT_S = 60
# Explicit credentials are used as they are: a profile that AWS_PROFILE names must neither win nor have to exist. The tuple
# is botocore's: where to look for the variable (nowhere), its default, its conversion.
_NO_PROFILE = {"profile": (None, None, None, None)}
# How the endpoint variables spell services whose boto3 name is not their service id.
_ENDPOINT_NAMES = {
    "application-autoscaling": "APPLICATION_AUTO_SCALING",
    "elbv2": "ELASTIC_LOAD_BALANCING_V2",
    "logs": "CLOUDWATCH_LOGS",
    "secretsmanager": "SECRETS_MANAGER",
}


@dataclass(frozen=True)
class Identity:
    """Who the credentials belong to, as STS says."""

    account_id: str
    arn: str


@dataclass
class _Shared:
    """What all that act on one session share. The account check runs in a thread beside Terraform, hence the lock."""

    # One for all calls, under "", or one for each pipeline role where each has credentials of its own.
    sessions: dict[str, boto3.Session] = field(default_factory=dict)
    identity: Identity | None = None
    clients: dict[tuple[str, str, int], Any] = field(default_factory=dict)
    # Seconds from this machine's monotonic clock to AWS's time of day, once an answer has told it.
    ahead_s: float | None = None
    lock: threading.RLock = field(default_factory=threading.RLock)


@dataclass(frozen=True)
class Aws:
    """Clients of one environment's account and region, each made once, on first use.

    `role` is the pipeline role (permissions.py) whose work the calls are; their user agent says so, and with it
    CloudTrail, and the tests that hold each role's policy to what is really called.
    """

    region: str
    environ: Mapping[str, str]
    assume_role: str | None = None
    role: str = ""
    # ARN of each pipeline role that the job's token from GitHub is exchanged for; none: the caller's credentials do everything.
    web_roles: Mapping[str, str] = field(default_factory=dict)
    _shared: _Shared = field(default_factory=_Shared)

    def acting_as(self, role: str) -> Aws:
        """The same for calls that are the work of this pipeline role: with its credentials where `web_roles` has it."""
        return replace(self, role=role)

    @property
    def ecs(self) -> ECSClient:
        return self._client("ecs")  # type: ignore[no-any-return]  # one cache for all services

    @property
    def ecs_once(self) -> ECSClient:
        """A client that never tries again by itself: for calls that take effect twice when they are sent twice."""
        return self._client("ecs", retries=0)  # type: ignore[no-any-return]

    @property
    def ecr(self) -> ECRClient:
        return self._client("ecr")  # type: ignore[no-any-return]

    @property
    def iam(self) -> IAMClient:
        return self._client("iam")  # type: ignore[no-any-return]

    @property
    def kms(self) -> Any:
        """Untyped: who uses it names the two calls itself (terraform/bundle.py)."""
        return self._client("kms")

    @property
    def cloudwatch(self) -> Any:
        """Untyped, as are those below of which few calls are used: who uses them names the calls itself."""
        return self._client("cloudwatch")

    @property
    def cloudwatch_once(self) -> Any:
        """A client that never tries again by itself: for measurements, of which another comes soon, while a rollout is watched."""
        return self._client("cloudwatch", retries=0)

    @property
    def autoscaling(self) -> Any:
        """Application Auto Scaling."""
        return self._client("application-autoscaling")

    @property
    def elbv2(self) -> Any:
        return self._client("elbv2")

    @property
    def logs(self) -> Any:
        return self._client("logs")

    @property
    def secretsmanager(self) -> Any:
        return self._client("secretsmanager")

    @property
    def ssm(self) -> Any:
        return self._client("ssm")

    @property
    def s3(self) -> S3Client:
        return self._client("s3")  # type: ignore[no-any-return]

    @property
    def sts(self) -> STSClient:
        return self._client("sts")  # type: ignore[no-any-return]

    def identity(self) -> Identity:
        """Whose credentials these are, asked once. Raises AwsError when there are none or they are refused."""
        shared = self._shared
        with shared.lock:
            if shared.identity is None:
                with translated("sts:GetCallerIdentity"):
                    answer = self.sts.get_caller_identity()
                shared.identity = Identity(answer["Account"], answer["Arn"])
            return shared.identity

    def now(self) -> float:
        """AWS's time of day in seconds since the epoch, by the Date of its last answer; this machine's before the first one."""
        told_s = self.told_now()
        return time.time() if told_s is None else told_s

    def told_now(self) -> float | None:
        """The same, None before the first answer; a refusal tells it too."""
        ahead_s = self._shared.ahead_s
        return None if ahead_s is None else time.monotonic() + ahead_s

    @property
    def s3_endpoint_url(self) -> str | None:
        """The S3 endpoint that the caller's environment names in place of AWS's own, if any."""
        return _endpoint_url("s3", self.environ)

    def process_environment(self) -> dict[str, str]:
        """Environment variables that give a child process (Terraform) the same region and, when a role was assumed, its
        temporary credentials. Without a role the child finds the caller's credentials by the usual chain itself.
        """
        variables = {"AWS_REGION": self.region, "AWS_DEFAULT_REGION": self.region}
        if self.assume_role is None and not self.web_roles:
            return variables
        with translated("sts:AssumeRole"):
            credentials = self._connect().get_credentials()
            if credentials is None:
                raise AwsError(f"the role {self.assume_role or self.role} gave no credentials")
            frozen = credentials.get_frozen_credentials()
        return variables | {
            "AWS_ACCESS_KEY_ID": frozen.access_key or "",
            "AWS_SECRET_ACCESS_KEY": frozen.secret_key or "",
            "AWS_SESSION_TOKEN": frozen.token or "",
        }

    def _client(self, service: str, *, retries: int = _MAX_RETRIES) -> Any:
        clients, key = self._shared.clients, (service, self.role, retries)
        with self._shared.lock:
            if key not in clients:
                with translated(service):
                    agent = user_agent(self.role)
                    made = _make_client(self._connect(), service, self.environ, agent, retries=retries)
                    made.meta.events.register("after-call", self._note_time)
                clients[key] = made
            return clients[key]

    def _note_time(self, http_response: Any, **_rest: Any) -> None:
        from email.utils import parsedate_to_datetime

        try:
            said = parsedate_to_datetime(http_response.headers["date"])
        except (KeyError, TypeError, ValueError):
            return
        self._shared.ahead_s = said.timestamp() - time.monotonic()

    def _connect(self) -> boto3.Session:
        shared = self._shared
        with shared.lock:
            key = ""
            if self.web_roles:
                # A call that is no role's own, such as whose credentials these are, goes with those there are.
                key = self.role or next(iter(shared.sessions), "")
                if key not in self.web_roles:
                    raise PreconditionError(
                        "GitHub's token gives the pipeline's roles alone, and this verb is none of their work",
                        hint="give the job credentials of the account, e.g. by AWS_ACCESS_KEY_ID",
                    )
            if key not in shared.sessions:
                with translated("sts:AssumeRole"):
                    shared.sessions[key] = (
                        _exchange(self.region, self.environ, self.web_roles[key])
                        if key
                        else _make_session(self.region, self.environ, self.assume_role)
                    )
            return shared.sessions[key]


def user_agent(role: str) -> str:
    """What orch adds to the user agent of its own calls, and Terraform to its: `app/orch md/role#deploy`."""
    return f"app/orch md/role#{role}" if role else "app/orch"


def ca_bundle(environ: Mapping[str, str]) -> str:
    """The file of certificates by which botocore knows AWS's hosts, for other clients that talk to them.

    Source: https://docs.aws.amazon.com/sdkref/latest/guide/feature-gen-config.html (ca_bundle)
    """
    from botocore.httpsession import where

    return environ.get("AWS_CA_BUNDLE") or where()


def require_account(identity: Identity, *, account_id: str, environment: str) -> None:
    """Raises PreconditionError unless the credentials belong to the account that orch.toml expects."""
    if identity.account_id != account_id:
        raise PreconditionError(
            f"the credentials belong to account {identity.account_id} ({identity.arn}), but environment"
            f" `{environment}` lives in account {account_id}",
            hint=f"log in to {account_id}, set `assume_role` in [environments.{environment}], or mend `account_id` there",
        )


def _make_session(region: str, environ: Mapping[str, str], assume_role: str | None) -> boto3.Session:
    import boto3
    import botocore.session

    core = botocore.session.Session()
    if "AWS_ACCESS_KEY_ID" in environ:
        core = botocore.session.Session(session_vars=_NO_PROFILE)
        core.set_credentials(
            environ["AWS_ACCESS_KEY_ID"],
            environ.get("AWS_SECRET_ACCESS_KEY", ""),
            environ.get("AWS_SESSION_TOKEN"),
        )
    session = boto3.Session(botocore_session=_with_shared_loader(core), region_name=region)
    return session if assume_role is None else _assume(session, region, environ, assume_role)


_LOADING = threading.RLock()


@cache
def _loader(data_path: str | None) -> Any:
    """One reader of AWS's models for all sessions, which keeps what it read: by themselves the sessions of several environments
    read and parse the same megabytes, a tenth of a second each. Call it with _LOADING held.
    """
    from botocore import loaders

    class Loader(loaders.Loader):
        """Reads each model once, though several threads ask at the same time."""

        def load_service_model(self, *args: Any, **kwargs: Any) -> Any:
            with _LOADING:
                return super().load_service_model(*args, **kwargs)

        def list_available_services(self, *args: Any, **kwargs: Any) -> Any:
            with _LOADING:
                return super().list_available_services(*args, **kwargs)

        def load_data_with_path(self, *args: Any, **kwargs: Any) -> Any:
            with _LOADING:
                return super().load_data_with_path(*args, **kwargs)

    return Loader(extra_search_paths=loaders.create_loader(data_path).search_paths if data_path else None)


def _with_shared_loader(core: Any) -> Any:
    with _LOADING:
        core.register_component("data_loader", _loader(core.get_config_variable("data_path")))
    return core


def _exchange(region: str, environ: Mapping[str, str], role_arn: str) -> boto3.Session:
    """A session of a role that trusts the job's token; it needs no credentials before."""
    import boto3
    import botocore.session

    core = _with_shared_loader(botocore.session.Session(session_vars=_NO_PROFILE))
    first = boto3.Session(botocore_session=core, region_name=region)
    sts = _make_client(first, "sts", environ, user_agent(""))

    def ask() -> Any:
        with translated("sts:AssumeRoleWithWebIdentity"):
            return sts.assume_role_with_web_identity(
                RoleArn=role_arn, RoleSessionName="orch", WebIdentityToken=web_identity.token(environ)
            )

    return _renewing(region, ask, "assume-role-with-web-identity")


def _assume(session: boto3.Session, region: str, environ: Mapping[str, str], role_arn: str) -> boto3.Session:
    """A session of a role that the session's credentials may assume."""
    sts = _make_client(session, "sts", environ, user_agent(""))

    return _renewing(region, lambda: sts.assume_role(RoleArn=role_arn, RoleSessionName="orch"), "assume-role")


def _renewing(region: str, ask: Callable[[], Any], method: str) -> boto3.Session:
    """A session whose credentials renew themselves by asking again before they expire."""
    import boto3
    import botocore.session
    from botocore.credentials import DeferredRefreshableCredentials

    def refresh() -> dict[str, str]:
        answer = ask()["Credentials"]
        return {
            "access_key": answer["AccessKeyId"],
            "secret_key": answer["SecretAccessKey"],
            "token": answer["SessionToken"],
            "expiry_time": answer["Expiration"].isoformat(),
        }

    core = botocore.session.Session(session_vars=_NO_PROFILE)
    # botocore offers no public way to hand in credentials that renew themselves.
    core._credentials = DeferredRefreshableCredentials(refresh, method)  # type: ignore[attr-defined]  # noqa: SLF001
    return boto3.Session(botocore_session=_with_shared_loader(core), region_name=region)


def _make_client(
    session: boto3.Session,
    service: str,
    environ: Mapping[str, str],
    agent: str,
    *,
    retries: int = _MAX_RETRIES,
) -> Any:
    from botocore.config import Config

    config = Config(
        retries={"mode": "standard", "max_attempts": retries},
        connect_timeout=_CONNECT_TIMEOUT_S,
        read_timeout=_READ_TIMEOUT_S,
        user_agent_extra=agent,
    )
    make: Any = session.client
    client = make(service, config=config, endpoint_url=_endpoint_url(service, environ))
    client.meta.events.register_first("needs-retry", partial(_again_when_cut, retries=retries))
    return client


def _again_when_cut(
    response: Any,
    operation: Any,
    attempts: int,
    request_dict: Mapping[str, Any],
    *,
    retries: int,
    **_rest: Any,
) -> float | None:
    """How long to wait before asking again when an answer broke off on its way. botocore takes it for a whole one, and one that
    cannot be parsed for an empty one: a service that is not listed would count as deleted.
    """
    if response is None or operation.has_streaming_output or request_dict.get("method") == "HEAD":
        return None
    answer = response[0]
    length = answer.headers.get("content-length", "")
    if not length.isdecimal() or "content-encoding" in answer.headers or int(length) == len(answer.content):
        return None
    if attempts > retries:
        from botocore.exceptions import ConnectionClosedError

        raise ConnectionClosedError(endpoint_url=answer.url)
    return min(2.0 ** (attempts - 1), _LONGEST_BACKOFF_S) * random.random()  # noqa: S311 - jitter, not a secret


def _endpoint_url(service: str, environ: Mapping[str, str]) -> str | None:
    # https://docs.aws.amazon.com/sdkref/latest/guide/feature-ss-endpoints.html
    name = _ENDPOINT_NAMES.get(service, service.upper())
    return environ.get(f"AWS_ENDPOINT_URL_{name}") or environ.get("AWS_ENDPOINT_URL") or None


@contextmanager
def translated(operation: str) -> Iterator[None]:
    """Turns botocore's exceptions into AwsError. `operation` is the IAM action, e.g. `ecs:UpdateService`."""
    from botocore.exceptions import BotoCoreError, ClientError
    from botocore.parsers import ResponseParserError

    try:
        yield
    except ClientError as error:
        raise _client_error(operation, error.response) from error
    except (BotoCoreError, ResponseParserError) as error:
        raise _transport_error(operation, error) from error


def _client_error(operation: str, response: Mapping[str, Any]) -> AwsError:
    answer = response.get("Error", {})
    code = str(answer.get("Code", ""))
    request_id = response.get("ResponseMetadata", {}).get("RequestId", "")
    message = f"{operation} failed: {code}: {answer.get('Message', '')}".rstrip(": ")
    hint = ""
    if code in {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation"}:
        hint = f"allow {operation} to the role that ran this"
    elif code in {
        "ExpiredToken",
        "ExpiredTokenException",
        "InvalidClientTokenId",
        "UnrecognizedClientException",
    }:
        hint = "log in again: the credentials are expired or unknown"
    details = (f"request id {request_id}",) if request_id else ()
    return AwsError(message, code=code, hint=hint, details=details)


def _transport_error(operation: str, error: Exception) -> AwsError:
    kind = type(error).__name__
    hints = {
        "NoCredentialsError": "log in: `aws sso login`, or set AWS_PROFILE or AWS_ACCESS_KEY_ID; or use --sandbox",
        "PartialCredentialsError": "set both AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
        "ProfileNotFound": "name an existing profile in AWS_PROFILE",
        "EndpointConnectionError": "check the network, and AWS_ENDPOINT_URL when it is set",
        "ConnectionClosedError": "check the network, and AWS_ENDPOINT_URL when it is set",
        "UnauthorizedSSOTokenError": "log in again: `aws sso login`",
        "TokenRetrievalError": "log in again: `aws sso login`",
    }
    return AwsError(f"{operation} failed: {error}", code=kind, hint=hints.get(kind, ""))
