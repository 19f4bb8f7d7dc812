"""The taxonomy of expected failures: each says where, what, and what to do next, and owns an exit code.

A leaf: imports nothing of orch. Raise where the cause is known, translate library exceptions at the adapter's edge
(`raise … from`), catch in `cli` alone. Anything that is not an `OrchError` is a bug.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class OrchError(Exception):
    """An expected failure. `message` says where and what; `hint` the next step; `details` are lines worth reading."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "", details: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.details = details


class SettingsError(OrchError):
    """orch.toml or the command line is wrong; `details` holds one line per problem."""

    exit_code = 2


class PreconditionError(OrchError):
    """Something outside orch is missing or not as expected; nothing was changed."""


class NotAppliedError(PreconditionError):
    """The environment has never been applied, or was destroyed: its state has no outputs."""


class ToolMissingError(PreconditionError):
    """A program that orch needs is not on PATH, or its version does not fit."""


@dataclass(frozen=True)
class Mark:
    """A line of a file, and what is wrong there."""

    file: Path
    line: int
    summary: str
    detail: str


class TerraformError(OrchError):
    """Terraform failed; `details` are its diagnostics, and `marks` those that name a line of a file."""

    def __init__(
        self, message: str, *, hint: str = "", details: tuple[str, ...] = (), marks: tuple[Mark, ...] = ()
    ) -> None:
        super().__init__(message, hint=hint, details=details)
        self.marks = marks


class StateLockedError(TerraformError):
    """Another run holds Terraform's state lock."""

    exit_code = 22


class EnvironmentLockedError(OrchError):
    """Another run, or a person, holds the lock of the environment, or has taken it from this run; `details` say who."""

    exit_code = 22


class ContractError(OrchError):
    """The root module's output `orch` is not what this version of orch reads."""


class ImageError(OrchError):
    """Building, pushing or finding the image failed; `details` are the engine's last lines."""


# Codes of AWS and kinds of botocore's exceptions: https://docs.aws.amazon.com/sdkref/latest/guide/feature-retry-behavior.html
_THROTTLING = frozenset(
    {"ThrottlingException", "Throttling", "TooManyRequestsException", "RequestLimitExceeded"}
)
_TRANSIENT = _THROTTLING | frozenset(
    {
        "ServerException",
        "InternalFailure",
        "InternalServerError",
        "InternalError",
        "ServiceUnavailable",
        "ServiceUnavailableException",
        "RequestTimeout",
        "RequestTimeoutException",
        "500",
        "502",
        "503",
        "504",
        "EndpointConnectionError",
        "ConnectionClosedError",
        "ConnectionError",
        "ConnectTimeoutError",
        "ReadTimeoutError",
        "HTTPClientError",
        "ProxyConnectionError",
        "ResponseStreamingError",
        "ResponseParserError",
    }
)


class AwsError(OrchError):
    """An AWS API call failed; `code` is the API's own error code, e.g. `AccessDeniedException`."""

    def __init__(
        self, message: str, *, code: str = "", hint: str = "", details: tuple[str, ...] = ()
    ) -> None:
        super().__init__(message, hint=hint, details=details)
        self.code = code

    @property
    def is_throttling(self) -> bool:
        """Whether AWS asks for fewer calls."""
        return self.code in _THROTTLING

    @property
    def is_transient(self) -> bool:
        """Whether the same call may work a little later; whether it took effect nobody knows."""
        return self.code in _TRANSIENT


class GitHubError(OrchError):
    """A call of GitHub's API failed; `status` is the HTTP status, 0 when no answer came; `endpoint` such as `GET /repos/…`."""

    def __init__(
        self,
        message: str,
        *,
        status: int = 0,
        endpoint: str = "",
        hint: str = "",
        details: tuple[str, ...] = (),
    ) -> None:
        super().__init__(message, hint=hint, details=details)
        self.status = status
        self.endpoint = endpoint


class DeclinedError(OrchError):
    """The plan was shown and not approved; nothing was changed."""


class RefusedError(OrchError):
    """A gate refuses the plan or the verb; nothing was changed. `details` name each thing and its rule."""

    exit_code = 20


class BundleError(OrchError):
    """A sealed plan is not what is to be applied, or not as it was sealed; nothing was changed. `details` hold a reason a field."""

    exit_code = 21


class TaskError(OrchError):
    """A one-off task could not start; `details` say why, in ECS's words."""


class PreDeployError(OrchError):
    """The pre-deploy task of a service did not end with exit code 0; nothing was rolled out. `details` say how it ended."""


class SandboxError(OrchError):
    """The embedded AWS is not running, runs already, or could not start."""


class InterruptedByUserError(OrchError):
    """SIGINT or SIGTERM arrived; what was running was asked to stop and has stopped."""

    exit_code = 130
