"""A small GitHub on 127.0.0.1: one repository with its environments, branch policies and variables, behind the REST API.

It keeps state, and behaves as GitHub documents: status codes, paging with Link headers, names without regard to case, a
branch policy only where custom policies are on, a PUT that resets what it is not told. Every request, and every answer of
its own, is held against GitHub's OpenAPI description (github_openapi.json; scripts/github_openapi.py makes it): what does
not fit is kept in `violations`, which a test must find empty.

Beyond the description: 401, 403, 404 and 409 with GitHub's texts, the plan's refusal, and `can_admins_bypass`, which
GitHub answers and takes without describing it (google/go-github issue #2725).
"""

from __future__ import annotations

import json
import re
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from openapi_schema_validator import OAS30Validator

DESCRIPTION = json.loads((Path(__file__).parent / "github_openapi.json").read_text())
TOKEN = "github_pat_11SECRETSECRET_verysecret"
_TIME = "2026-01-02T03:04:05Z"
_READ = {"metadata": "read"}
_VALIDATORS: dict[int, OAS30Validator] = {}
ALL = {
    "metadata": "read",
    "actions": "read",
    "administration": "write",
    "environments": "write",
    "actions_variables": "write",
}


@dataclass
class Answer:
    """What goes out. `body` of type bytes is sent as it is, `breaks` cuts the connection after it."""

    status: int
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    breaks: bool = False


@dataclass
class Environment:
    """An environment as the fake keeps it: `policy` as in the API, `patterns` as (type, name)."""

    name: str
    policy: dict[str, bool] | None = None
    patterns: list[tuple[str, str]] = field(default_factory=list)
    reviewers: list[tuple[str, int]] = field(default_factory=list)
    wait_timer: int = 0
    prevent_self_review: bool = False
    can_admins_bypass: bool = True
    app_rules: list[str] = field(default_factory=list)
    variables: dict[str, str] = field(default_factory=dict)


@dataclass
class GitHub:
    """The state, and what was asked. `next_answers` go out first, in order, to calls of their kind: `PUT /environments`.
    Of the next `lost_answers` POSTs what they do is done, and a proxy's error is answered.
    """

    name: str = "acme/shop"
    prefix: str = ""
    is_private: bool = False
    plan_has_environments: bool = True
    put_forgets_reviewers: bool = False
    lost_answers: int = 0
    permissions: dict[str, str] = field(default_factory=lambda: dict(ALL))
    created_at: str = "2020-01-01T00:00:00Z"
    subject: dict[str, Any] | None = field(default_factory=lambda: {"use_default": True})
    environments: dict[str, Environment] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=dict)
    next_answers: dict[str, list[Answer]] = field(default_factory=dict)
    calls: list[tuple[str, str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    url: str = ""

    def add(self, environment: Environment) -> Environment:
        self.environments[environment.name.casefold()] = environment
        return environment

    def writes(self) -> list[tuple[str, str, Any]]:
        return [call for call in self.calls if call[0] != "GET"]

    @contextmanager
    def serving(self):
        """Listens on a free port while the block runs; afterwards nothing may have violated the description."""
        server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        self.url = f"http://127.0.0.1:{server.server_address[1]}{self.prefix}"
        try:
            yield self
        finally:
            server.shutdown()
            server.server_close()
            thread.join()
        if self.violations:
            raise AssertionError("\n".join(self.violations))

    def answer(
        self, verb: str, path: str, query: dict[str, str], body: Any, headers: dict[str, str]
    ) -> Answer:
        self.calls.append((verb, path.partition(f"/repos/{self.name}")[2] or path, body))
        self.headers.append(headers)
        for kind, answers in self.next_answers.items():
            wanted_verb, _, wanted_path = kind.partition(" ")
            if answers and verb == wanted_verb and wanted_path in unquote(path):
                return answers.pop(0)
        if headers.get("authorization") != f"token {TOKEN}":
            return _refusal(401, "Bad credentials")
        found = _operation(verb, path.removeprefix(self.prefix))
        if found is None or not path.startswith(self.prefix):
            return _refusal(404, "Not Found")
        template, parameters = found
        if f"{parameters['owner']}/{parameters['repo']}".casefold() != self.name.casefold():
            return _refusal(404, "Not Found")
        if headers.get("x-github-api-version") != "2022-11-28":
            self.violations.append(f"{verb} {path} without the API version")
        operation = DESCRIPTION["paths"][template][verb.lower()]
        self._validate_request(f"{verb} {path}", operation, query, body)
        missing = self._missing_permission(verb, template)
        if missing:
            return _refusal(
                403,
                "Resource not accessible by personal access token",
                {"X-Accepted-GitHub-Permissions": missing},
            )
        answer = self._perform(verb, template, parameters, query, body)
        self._validate_answer(f"{verb} {path}", operation, answer)
        if verb == "POST" and self.lost_answers:
            self.lost_answers -= 1
            return Answer(502, b"<html>Bad Gateway</html>", {"Content-Type": "text/html"})
        return answer

    def _validate_request(
        self, call: str, operation: dict[str, Any], query: dict[str, str], body: Any
    ) -> None:
        described = [_resolved(parameter) for parameter in operation.get("parameters", ())]
        known = {parameter["name"]: parameter for parameter in described if parameter["in"] == "query"}
        for name, value in query.items():
            if name not in known:
                self.violations.append(f"{call}: the parameter {name} is not described")
            elif known[name]["schema"]["type"] == "integer" and not value.isdecimal():
                self.violations.append(f"{call}: {name}={value} is not a number")
        content = operation.get("requestBody", {}).get("content", {}).get("application/json")
        if body is None:
            if operation.get("requestBody", {}).get("required"):
                self.violations.append(f"{call}: no body")
            return
        if content is None:
            self.violations.append(f"{call}: a body is not described")
            return
        # Taken by GitHub, and not described: see above.
        described_body = {key: value for key, value in body.items() if key != "can_admins_bypass"}
        self.violations += [f"{call}: {problem}" for problem in problems(content["schema"], described_body)]

    def _validate_answer(self, call: str, operation: dict[str, Any], answer: Answer) -> None:
        described = operation["responses"].get(str(answer.status))
        if described is None:
            if answer.status < 400:
                self.violations.append(f"{call}: {answer.status} is not described")
            return
        content = _resolved(described).get("content", {}).get("application/json")
        if content is not None:
            self.violations += [
                f"answer to {call}: {problem}" for problem in problems(content["schema"], answer.body)
            ]

    def _missing_permission(self, verb: str, template: str) -> str:
        needed = {"administration": "write"} if verb != "GET" else {"actions": "read"}
        if template.endswith("{repo}"):
            needed = _READ
        elif "/actions/variables" in template:
            needed = {"actions_variables": "read" if verb == "GET" else "write"}
        elif "/variables" in template:
            needed = {"environments": "read" if verb == "GET" else "write"}
        for permission, access in needed.items():
            if self.permissions.get(permission) not in {access, "write"}:
                return f"{permission}={access}"
        return ""

    def _perform(
        self, verb: str, template: str, parameters: dict[str, str], query: dict[str, str], body: Any
    ) -> Answer:
        rest = template.removeprefix("/repos/{owner}/{repo}")
        if rest == "":
            return Answer(200, self._repository())
        if rest == "/actions/oidc/customization/sub":
            return _refusal(404, "Not Found") if self.subject is None else Answer(200, self.subject)
        if rest == "/environments":
            items = [self._environment(environment) for environment in self.environments.values()]
            return self._page(rest, "environments", items, query, 30, 100)
        if rest.startswith("/actions/variables"):
            return self._variables(self.variables, verb, rest, parameters, query, body)
        environment = self.environments.get(parameters["environment_name"].casefold())
        if rest == "/environments/{environment_name}":
            if verb == "PUT":
                return self._put(parameters["environment_name"], environment, body or {})
            return (
                _refusal(404, "Not Found")
                if environment is None
                else Answer(200, self._environment(environment))
            )
        if environment is None:
            return _refusal(404, "Not Found")
        if "/variables" in rest:
            return self._variables(environment.variables, verb, rest, parameters, query, body)
        return self._policies(environment, verb, rest, query, body)

    def _put(self, name: str, environment: Environment | None, body: dict[str, Any]) -> Answer:
        policy = body.get("deployment_branch_policy")
        if policy and policy["protected_branches"] == policy["custom_branch_policies"]:
            return _refusal(422, "protected_branches and custom_branch_policies cannot have the same value")
        if self.is_private and not self.plan_has_environments and set(body):
            # As reported in terraform-provider-github issues #1262 and #1311: the environment itself is made.
            self.add(Environment(name))
            return _refusal(
                422,
                "Fail to create protected rule, please ensure billing plan include protected branch gate.",
            )
        if body.get("prevent_self_review") and not body.get("reviewers"):
            return _refusal(
                422, "Required reviewers must have at least one reviewer to set prevent_self_review."
            )
        if environment is None:
            environment = self.add(Environment(name))
        environment.policy = policy
        if not (policy and policy["custom_branch_policies"]):
            environment.patterns = []
        reviewers = [(item["type"], item["id"]) for item in body.get("reviewers") or ()]
        environment.reviewers = [] if self.put_forgets_reviewers else reviewers
        environment.wait_timer = body.get("wait_timer", 0)
        environment.prevent_self_review = body.get("prevent_self_review", False)
        environment.can_admins_bypass = body.get("can_admins_bypass", True)
        return Answer(200, self._environment(environment))

    def _policies(
        self, environment: Environment, verb: str, rest: str, query: dict[str, str], body: Any
    ) -> Answer:
        if verb == "GET":
            items = [_policy(number, *pattern) for number, pattern in enumerate(environment.patterns, 1)]
            return self._page(rest, "branch_policies", items, query, 30, 100)
        if not (environment.policy and environment.policy["custom_branch_policies"]):
            return _refusal(404, "Not Found")
        pattern = (body.get("type", "branch"), body["name"])
        if pattern in environment.patterns:
            return Answer(303)
        environment.patterns.append(pattern)
        return Answer(200, _policy(len(environment.patterns), *pattern))

    def _variables(
        self,
        variables: dict[str, str],
        verb: str,
        rest: str,
        parameters: dict[str, str],
        query: dict[str, str],
        body: Any,
    ) -> Answer:
        if verb == "GET":
            items = [
                {"name": name, "value": value, "created_at": _TIME, "updated_at": _TIME}
                for name, value in sorted(variables.items())
            ]
            return self._page(rest, "variables", items, query, 10, 30)
        if verb == "POST":
            name = body["name"].upper()
            if name.startswith("GITHUB_"):
                return _refusal(422, "Variable names must not start with GITHUB_.")
            if name in variables:
                return _refusal(409, "Already exists - Variable already exists")
            variables[name] = body["value"]
            return Answer(201, {})
        name = parameters["name"].upper()
        if name not in variables:
            return _refusal(404, "Not Found")
        variables[name] = body.get("value", variables[name])
        return Answer(204)

    def _page(
        self, rest: str, key: str, items: list[Any], query: dict[str, str], default: int, most: int
    ) -> Answer:
        size = min(int(query.get("per_page", default)), most)
        page = int(query.get("page", 1))
        headers = {}
        if page * size < len(items):
            target = f"{self.url}/repos/{self.name}{rest}?per_page={size}&page={page + 1}"
            headers["Link"] = f'<{target}>; rel="next"'
        return Answer(200, {"total_count": len(items), key: items[(page - 1) * size : page * size]}, headers)

    def _environment(self, environment: Environment) -> dict[str, Any]:
        rules: list[dict[str, Any]] = []
        if environment.wait_timer:
            rules.append({"type": "wait_timer", "wait_timer": environment.wait_timer})
        if environment.reviewers:
            reviewers = [
                {
                    "type": kind,
                    "reviewer": sample("simple-user" if kind == "User" else "team") | {"id": number},
                }
                for kind, number in environment.reviewers
            ]
            rules.append(
                {
                    "type": "required_reviewers",
                    "prevent_self_review": environment.prevent_self_review,
                    "reviewers": reviewers,
                }
            )
        if environment.policy:
            rules.append({"type": "branch_policy"})
        rules += [{"type": kind} for kind in environment.app_rules]
        return {
            "id": 1,
            "node_id": "E1",
            "name": environment.name,
            "url": f"{self.url}/repos/{self.name}/environments/1",
            "html_url": f"{self.url}/1",
            "created_at": _TIME,
            "updated_at": _TIME,
            "can_admins_bypass": environment.can_admins_bypass,
            "protection_rules": [
                {"id": number, "node_id": f"R{number}", **rule} for number, rule in enumerate(rules)
            ],
            "deployment_branch_policy": environment.policy,
        }

    def _repository(self) -> dict[str, Any]:
        owner, _, name = self.name.partition("/")
        return sample("full-repository") | {
            "id": 456789,
            "name": name,
            "full_name": self.name,
            "private": self.is_private,
            "created_at": self.created_at,
            "owner": sample("simple-user") | {"id": 123456, "login": owner},
        }


def problems(schema: dict[str, Any], value: Any) -> list[str]:
    """What about the value does not fit the schema, which is a part of DESCRIPTION."""
    if id(schema) not in _VALIDATORS:
        # `allOf`, because beside a $ref no other key counts; the components must stand where the $refs look for them.
        whole = {"allOf": [schema], "components": DESCRIPTION["components"]}
        _VALIDATORS[id(schema)] = OAS30Validator(whole)
    return [f"{error.json_path}: {error.message}" for error in _VALIDATORS[id(schema)].iter_errors(value)]


def sample(schema: str | dict[str, Any]) -> Any:
    """A value that fits: the required properties, each as plain as it may be."""
    if isinstance(schema, str):
        schema = DESCRIPTION["components"]["schemas"][schema]
    if "$ref" in schema:
        return sample(schema["$ref"].rsplit("/", 1)[1])
    if schema.get("nullable"):
        return None
    for key in ("allOf", "anyOf", "oneOf"):
        if key in schema:
            return sample(schema[key][0])
    if "enum" in schema:
        return schema["enum"][0]
    if schema.get("type") == "object":
        return {name: sample(schema["properties"][name]) for name in schema.get("required", ())}
    plain = {"array": [], "integer": 1, "number": 1, "boolean": False}
    return plain.get(schema.get("type"), _TIME if schema.get("format") == "date-time" else "text")


def _policy(number: int, kind: str, name: str) -> dict[str, Any]:
    return {"id": number, "node_id": f"P{number}", "name": name, "type": kind}


def _refusal(status: int, message: str, headers: dict[str, str] | None = None) -> Answer:
    documentation = "https://docs.github.com/rest"
    body = {"message": message, "documentation_url": documentation, "status": str(status)}
    return Answer(status, body, headers or {})


def _resolved(node: dict[str, Any]) -> dict[str, Any]:
    if "$ref" not in node:
        return node
    _, _, kind, name = node["$ref"].split("/")
    return DESCRIPTION["components"][kind][name]


def _operation(verb: str, path: str) -> tuple[str, dict[str, str]] | None:
    """The path template that GitHub would route the call to, and its parameters, decoded."""
    for template, operations in DESCRIPTION["paths"].items():
        pattern = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", template)
        match = re.fullmatch(pattern, path)
        if match and verb.lower() in operations:
            return template, {name: unquote(value) for name, value in match.groupdict().items()}
    return None


def _handler(github: GitHub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # one packet an answer: with two, each waits 40 ms for the client's acknowledgement

        def _serve(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            parts = urlsplit(self.path)
            query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
            headers = {name.lower(): value for name, value in self.headers.items()}
            answer = github.answer(self.command, parts.path, query, body, headers)
            self._send(answer)

        def _send(self, answer: Answer) -> None:
            data = answer.body
            if not isinstance(data, bytes):
                data = b"" if data is None else json.dumps(data).encode()
            self.send_response(answer.status)
            for name, value in {"Content-Type": "application/json; charset=utf-8", **answer.headers}.items():
                self.send_header(name, value)
            if answer.status != 204:
                self.send_header("Content-Length", str(len(data) + (100 if answer.breaks else 0)))
            self.end_headers()
            self.wfile.write(data)
            self.close_connection = self.close_connection or answer.breaks

        do_GET = do_PUT = do_POST = do_PATCH = _serve  # noqa: N815  # http.server calls by these names

        def log_message(self, *_: object) -> None:
            pass

    return Handler
