"""A small GitHub on 127.0.0.1: one repository behind the REST API, with its environments, branch policies and variables, its
pull requests, issues, comments and labels, and its deployments.

It keeps state, and behaves as GitHub documents: status codes, paging with Link headers, names without regard to case, a
branch policy only where custom policies are on, a PUT that resets what it is not told, 422 for a body of more than 65,536
characters, `auto_inactive` for what is neither transient nor production alone. Every request, and every answer of its own, is
held against GitHub's OpenAPI description (github_openapi.json; scripts/github_openapi.py makes it): what does not fit is kept
in `violations`, which a test must find empty.

Beyond the description: 401, 403, 404 and 409 with GitHub's texts, the plan's refusal, and `can_admins_bypass`, which
GitHub answers and takes without describing it (google/go-github issue #2725); a head without a repository, which pull requests
from a deleted fork have (github/rest-api-description issue #161); and of GraphQL, which has a schema of its own, the one
query `viewer`.
"""

from __future__ import annotations

import itertools
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
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
    "deployments": "write",
    "issues": "write",
    "pull_requests": "write",
}
BOT = {"login": "github-actions[bot]", "id": 41898282, "type": "Bot"}
# GitHub's page "Issue comments" does not say it; its answer does.
_BODY_CHARACTERS = 65_536


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
class Comment:
    id: int
    issue: int
    body: str
    user: dict[str, Any]


@dataclass
class Issue:
    """An issue, or a pull request in the list of issues."""

    number: int
    title: str
    body: str | None
    user: dict[str, Any]
    labels: list[str] = field(default_factory=list)
    state: str = "open"
    state_reason: str | None = None
    is_pull_request: bool = False


@dataclass
class Pull:
    """A pull request; `head_repository` is None once its fork is deleted."""

    number: int
    head: str
    base: str
    head_repository: str | None


@dataclass
class Deployment:
    """A deployment with its statuses, the oldest first, as they were sent."""

    id: int
    body: dict[str, Any]
    statuses: list[dict[str, Any]] = field(default_factory=list)

    @property
    def state(self) -> str:
        return self.statuses[-1]["state"] if self.statuses else "pending"


@dataclass
class GitHub:
    """The state, and what was asked, and when. `next_answers` go out first, in order, to calls of their kind: `PUT
    /environments`; such a call, too, must be as described. Of the next `lost_answers` POSTs what they do is done, and a
    proxy's error is answered. `before` holds, by kind of call too, what happens just before the next such call is performed:
    another job, say. `user` is whose the token is, and `graphql_is_open` whether it may ask so.
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
    times_s: list[float] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    url: str = ""
    user: dict[str, Any] = field(default_factory=lambda: dict(BOT))
    graphql_is_open: bool = True
    has_issues: bool = True
    comments: dict[int, Comment] = field(default_factory=dict)
    issues: dict[int, Issue] = field(default_factory=dict)
    pulls: dict[int, Pull] = field(default_factory=dict)
    labels: dict[str, dict[str, Any]] = field(default_factory=dict)
    deployments: dict[int, Deployment] = field(default_factory=dict)
    before: dict[str, list[Callable[[], object]]] = field(default_factory=dict)
    _ids: Iterator[int] = field(default_factory=lambda: itertools.count(1001))
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def comment(self, issue: int, body: str, user: dict[str, Any] = BOT) -> Comment:
        comment = Comment(next(self._ids), issue, body, user)
        self.comments[comment.id] = comment
        return comment

    def pull(
        self, number: int, head: str, base: str = "b" * 40, repository: str | None = "acme/shop"
    ) -> None:
        self.pulls[number] = Pull(number, head, base, repository)
        self.issues[number] = Issue(number, "A change", None, dict(BOT), is_pull_request=True)

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
        self.times_s.append(time.monotonic())
        found = _operation(verb, path.removeprefix(self.prefix))
        scripted = self._scripted(verb, path, query, body, found)
        if scripted is not None:
            return scripted
        if headers.get("authorization") != f"token {TOKEN}":
            return _refusal(401, "Bad credentials")
        if verb == "POST" and path == f"{self.prefix.removesuffix('/v3')}/graphql":
            return self._viewer(body)
        if found is None or not path.startswith(self.prefix):
            return _refusal(404, "Not Found")
        template, parameters = found
        named = f"{parameters.get('owner')}/{parameters.get('repo')}"
        if template != "/user" and named.casefold() != self.name.casefold():
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
        happens = _next(self.before, verb, path)
        if happens is not None:
            happens()
        with self._lock:
            answer = self._perform(verb, template, parameters, query, body)
        self._validate_answer(f"{verb} {path}", operation, answer)
        if verb == "POST" and self.lost_answers:
            self.lost_answers -= 1
            return Answer(502, b"<html>Bad Gateway</html>", {"Content-Type": "text/html"})
        return answer

    def _scripted(
        self, verb: str, path: str, query: dict[str, str], body: Any, found: tuple[str, dict[str, str]] | None
    ) -> Answer | None:
        answer: Answer | None = _next(self.next_answers, verb, path)
        if answer is not None and found is not None:
            operation = DESCRIPTION["paths"][found[0]][verb.lower()]
            self._validate_request(f"{verb} {path}", operation, query, body)
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
            elif value not in known[name]["schema"].get("enum", [value]):
                self.violations.append(f"{call}: {name}={value} is not one of the values")
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
            body = answer.body
            if "/pulls/" in call and answer.status == 200 and body["head"]["repo"] is None:
                body = {**body, "head": {**body["head"], "repo": body["base"]["repo"]}}
            self.violations += [
                f"answer to {call}: {problem}" for problem in problems(content["schema"], body)
            ]

    def _missing_permission(self, verb: str, template: str) -> str:
        needed = {"administration": "write"} if verb != "GET" else {"actions": "read"}
        if template.endswith("{repo}"):
            needed = _READ
        elif "/actions/variables" in template:
            needed = {"actions_variables": "read" if verb == "GET" else "write"}
        elif "/variables" in template:
            needed = {"environments": "read" if verb == "GET" else "write"}
        elif "/deployments" in template:
            needed = {"deployments": "read" if verb == "GET" else "write"}
        elif "/comments" in template:
            needed = dict.fromkeys(("issues", "pull_requests"), "read" if verb == "GET" else "write")
        elif "/pulls" in template:
            needed = {"pull_requests": "read"}
        elif "/issues" in template or "/labels" in template:
            needed = {"issues": "read" if verb == "GET" else "write"}
        elif template == "/user":
            needed = {}
        # Of several, one is enough.
        if not needed or any(
            self.permissions.get(permission) in {access, "write"} for permission, access in needed.items()
        ):
            return ""
        return "; ".join(f"{permission}={access}" for permission, access in needed.items())

    def _perform(
        self, verb: str, template: str, parameters: dict[str, str], query: dict[str, str], body: Any
    ) -> Answer:
        rest = template.removeprefix("/repos/{owner}/{repo}")
        if rest == "":
            return Answer(200, self._repository())
        if rest == "/actions/oidc/customization/sub":
            return _refusal(404, "Not Found") if self.subject is None else Answer(200, self.subject)
        talk = self._talk(verb, rest, parameters, query, body)
        if talk is not None:
            return talk
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

    def _talk(
        self, verb: str, rest: str, parameters: dict[str, str], query: dict[str, str], body: Any
    ) -> Answer | None:
        """What a run tells people: comments, issues, deployments. None for another call."""
        if rest == "/user":
            is_app = self.user["type"] == "Bot"
            return (
                _refusal(403, "Resource not accessible by integration")
                if is_app
                else Answer(200, sample("private-user") | {"user_view_type": "private"} | self.user)
            )
        if rest.startswith("/deployments"):
            return self._deployments(verb, rest, parameters, query, body)
        if rest.startswith("/pulls"):
            return self._pull(int(parameters["pull_number"]))
        if rest.startswith("/labels"):
            return self._labels(verb, parameters, body)
        if rest.startswith("/issues/") and "/comments" in rest:
            return self._comments(verb, rest, parameters, query, body)
        if rest.startswith("/issues"):
            return self._issues(verb, rest, parameters, query, body)
        return None

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

    def _viewer(self, body: dict[str, Any]) -> Answer:
        if not self.graphql_is_open:
            return Answer(200, {"errors": [{"type": "FORBIDDEN", "message": "Resource not accessible"}]})
        if body != {"query": "query { viewer { login databaseId } }"}:
            self.violations.append(f"POST /graphql: {body}")
        return Answer(200, {"data": {"viewer": {"login": self.user["login"], "databaseId": self.user["id"]}}})

    def _comments(
        self, verb: str, rest: str, parameters: dict[str, str], query: dict[str, str], body: Any
    ) -> Answer:
        too_long = _too_long("IssueComment", body)
        if "issue_number" in parameters:
            issue = int(parameters["issue_number"])
            if issue not in self.issues:
                return _refusal(404, "Not Found")
            if verb == "POST":
                return too_long or Answer(
                    201, self._comment(self.comment(issue, body["body"], dict(self.user)))
                )
            listed = [comment for comment in self.comments.values() if comment.issue == issue]
            return self._plain_page(rest, [self._comment(comment) for comment in listed], query)
        comment = self.comments.get(int(parameters["comment_id"]))
        if comment is None:
            return _refusal(404, "Not Found")
        if verb == "DELETE":
            del self.comments[comment.id]
            return Answer(204)
        if verb == "PATCH":
            if too_long:
                return too_long
            comment.body = body["body"]
        return Answer(200, self._comment(comment))

    def _issues(
        self, verb: str, rest: str, parameters: dict[str, str], query: dict[str, str], body: Any
    ) -> Answer:
        if not self.has_issues:
            return _refusal(410, "Issues are disabled for this repo") if verb != "GET" else Answer(200, [])
        if verb == "GET":
            wanted = set(query.get("labels", "").split(",")) - {""}
            listed = [
                self._issue(issue)
                for issue in sorted(self.issues.values(), key=lambda issue: issue.number)
                if query.get("state", "open") in {"all", issue.state} and wanted <= set(issue.labels)
            ]
            return self._plain_page(rest, listed, query)
        too_long = _too_long("Issue", body)
        if too_long:
            return too_long
        if verb == "POST":
            number = max(self.issues, default=0) + 1
            labels = [label for label in body.get("labels", ()) if label in self.labels]
            issue = Issue(number, body["title"], body.get("body"), dict(self.user), labels)
            self.issues[number] = issue
            return Answer(201, self._issue(issue))
        issue = self.issues.get(int(parameters["issue_number"]))
        if issue is None:
            return _refusal(404, "Not Found")
        issue.title, issue.body = body.get("title", issue.title), body.get("body", issue.body)
        if body.get("state", issue.state) != issue.state:
            issue.state = body["state"]
            issue.state_reason = body.get("state_reason") or (
                "reopened" if issue.state == "open" else "completed"
            )
        return Answer(200, self._issue(issue))

    def _labels(self, verb: str, parameters: dict[str, str], body: Any) -> Answer:
        if verb == "POST":
            if body["name"] in self.labels:
                return _refusal(422, "Validation Failed")
            self.labels[body["name"]] = body
            return Answer(201, sample("label") | body)
        label = self.labels.get(parameters["name"])
        return _refusal(404, "Not Found") if label is None else Answer(200, sample("label") | label)

    def _pull(self, number: int) -> Answer:
        pull = self.pulls.get(number)
        if pull is None:
            return _refusal(404, "Not Found")
        answer = sample("pull-request") | {"number": number, "state": "open"}
        answer["head"] |= {"sha": pull.head, "repo": None}
        if pull.head_repository is not None:
            answer["head"]["repo"] = sample("repository") | {"full_name": pull.head_repository}
        answer["base"] |= {"sha": pull.base, "repo": sample("repository") | {"full_name": self.name}}
        return Answer(200, answer)

    def _deployments(
        self, verb: str, rest: str, parameters: dict[str, str], query: dict[str, str], body: Any
    ) -> Answer:
        if "deployment_id" in parameters:
            deployment = self.deployments.get(int(parameters["deployment_id"]))
            if deployment is None:
                return _refusal(404, "Not Found")
            if verb == "GET":
                statuses = [self._status(status) for status in reversed(deployment.statuses)]
                return self._plain_page(rest, statuses, query)
            return Answer(201, self._status(self._add_status(deployment, body)))
        if verb == "POST":
            if not re.fullmatch(r"[0-9a-f]{40}", body["ref"]):
                return _refusal(422, f"No ref found for: {body['ref']}")
            if body.get("required_contexts") != [] or body.get("auto_merge", True):
                return _refusal(409, "Conflict: Commit status checks failed for master.")
            deployment = Deployment(next(self._ids), body)
            self.deployments[deployment.id] = deployment
            return Answer(201, self._deployment(deployment))
        names = {"sha": "ref", "environment": "environment", "task": "task"}
        listed = [
            self._deployment(deployment)
            for deployment in sorted(self.deployments.values(), key=lambda each: -each.id)
            if all(deployment.body[names[key]] == query[key] for key in names if key in query)
        ]
        return self._plain_page(rest, listed, query)

    def _add_status(self, deployment: Deployment, body: dict[str, Any]) -> dict[str, Any]:
        if len(body.get("description", "")) > 140:
            self.violations.append("the description of a status has more than 140 characters")
        status = {**body, "id": next(self._ids)}
        deployment.statuses.append(status)
        if body["state"] == "success" and body.get("auto_inactive", True):
            for other in self.deployments.values():
                kinds = {"transient_environment", "production_environment"}
                is_lasting = not any(other.body.get(kind) for kind in kinds)
                is_prior = other.id < deployment.id
                is_same = other.body["environment"] == deployment.body["environment"]
                if is_prior and is_same and is_lasting and other.state == "success":
                    other.statuses.append({"state": "inactive", "id": next(self._ids)})
        return status

    def _comment(self, comment: Comment) -> dict[str, Any]:
        return sample("issue-comment") | {
            "id": comment.id,
            "body": comment.body,
            "html_url": f"https://github.com/{self.name}/pull/{comment.issue}#issuecomment-{comment.id}",
            "user": sample("simple-user") | comment.user,
        }

    def _issue(self, issue: Issue) -> dict[str, Any]:
        answer = sample("issue") | {
            "number": issue.number,
            "title": issue.title,
            "body": issue.body,
            "state": issue.state,
            "html_url": f"https://github.com/{self.name}/issues/{issue.number}",
            "labels": [sample("label") | {"name": label} for label in issue.labels],
            "user": sample("simple-user") | issue.user,
        }
        # GitHub answers null until then, and describes an enumeration without null.
        if issue.state_reason is not None:
            answer["state_reason"] = issue.state_reason
        if issue.is_pull_request:
            answer["pull_request"] = dict.fromkeys(("diff_url", "html_url", "patch_url", "url"), "text")
        return answer

    def _deployment(self, deployment: Deployment) -> dict[str, Any]:
        keys = ("environment", "payload", "production_environment", "transient_environment", "task")
        named = {key: deployment.body[key] for key in keys if key in deployment.body}
        ref = deployment.body["ref"]
        return sample("deployment") | named | {"id": deployment.id, "sha": ref, "ref": ref}

    def _status(self, status: dict[str, Any]) -> dict[str, Any]:
        keys = ("id", "state", "log_url", "environment_url", "description")
        return (
            sample("deployment-status")
            | {"description": ""}
            | {key: status[key] for key in keys if key in status}
        )

    def _plain_page(self, rest: str, items: list[Any], query: dict[str, str]) -> Answer:
        """A page of a list that is the whole answer."""
        answer = self._page(rest, "items", items, query, 30, 100)
        return Answer(200, answer.body["items"], answer.headers)

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


def _too_long(resource: str, body: Any) -> Answer | None:
    """GitHub's answer to a body that is too long, if this one is."""
    if not body or len(body.get("body") or "") <= _BODY_CHARACTERS:
        return None
    answer = _refusal(422, "Validation Failed")
    text = f"Body is too long (maximum is {_BODY_CHARACTERS} characters)"
    answer.body["errors"] = [
        {"resource": resource, "code": "unprocessable", "field": "data", "message": text}
    ]
    return answer


def _next(scripted: dict[str, list[Any]], verb: str, path: str) -> Any:
    """The next thing that was scripted for such a call, such as `PATCH /issues/comments`."""
    for kind, things in scripted.items():
        wanted_verb, _, wanted_path = kind.partition(" ")
        if things and verb == wanted_verb and wanted_path in unquote(path):
            return things.pop(0)
    return None


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
        pattern = re.sub(r"\{(\w+_(?:number|id))\}", r"(?P<\1>[0-9]+)", template)
        pattern = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", pattern)
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

        do_GET = do_PUT = do_POST = do_PATCH = do_DELETE = _serve  # noqa: N815  # http.server calls by these names

        def log_message(self, *_: object) -> None:
            pass

    return Handler
