"""Evaluate the audit policy of Kubernetes as the API server does, and reduce a record to its level.

The order is that of k8s.io/apiserver, pkg/audit/policy/checker.go: the first rule that matches decides.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

Json = dict[str, Any]
LEVELS: Final = ("None", "Metadata", "Request", "RequestResponse")


@dataclass(frozen=True)
class Request:
    """The attributes of a request that a policy tests. ``groups`` is empty without a sign-in."""

    user: str = ""
    groups: tuple[str, ...] = ()
    verb: str = ""
    group: str = ""
    resource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""

    @classmethod
    def of_record(cls, record: Json) -> "Request":
        """The request that an audit record is about."""
        user = record.get("user") or {}
        reference = record.get("objectRef") or {}
        name = user.get("username", "")
        parts = (reference.get("resource"), reference.get("subresource"))
        return cls(
            user=name,
            groups=groups_of(name, user.get("groups") or ()) if name else (),
            verb=record["verb"],
            group=reference.get("apiGroup") or "",
            resource="/".join(part for part in parts if part),
            namespace=reference.get("namespace") or "",
            name=reference.get("name") or "",
            path=record.get("requestURI", "").partition("?")[0],
        )


def groups_of(user: str, groups: Any = ()) -> tuple[str, ...]:
    """The groups that Kubernetes itself gives to a user, besides those that are groups."""
    if user == "system:anonymous":
        return ("system:unauthenticated",)
    groups = [*groups, "system:authenticated"]
    if user.startswith("system:serviceaccount:"):
        groups += ["system:serviceaccounts", f"system:serviceaccounts:{user.split(':')[2]}"]
    if user.startswith("system:node:"):
        groups.append("system:nodes")
    return tuple(dict.fromkeys(groups))


class Policy:
    """An ``audit.k8s.io/v1`` Policy."""

    def __init__(self, path: Path) -> None:
        self.document: Json = yaml.safe_load(path.read_text(encoding="utf-8"))

    @property
    def rules(self) -> list[Json]:
        """Its rules, in their order."""
        found: list[Json] = self.document["rules"]
        return found

    def rule(self, request: Request) -> Json:
        """The rule that decides about a request."""
        return next((item for item in self.rules if _fits(item, request)), {"level": "None"})

    def left_of(self, record: Json) -> Json | None:
        """The record as this policy would have it; None when it would not be written."""
        rule = self.rule(Request.of_record(record))
        omitted = {*self.document.get("omitStages", ()), *rule.get("omitStages", ())}
        if rule["level"] == "None" or record["stage"] in omitted:
            return None
        depth = LEVELS.index(rule["level"])
        without = {
            name for name, needs in (("requestObject", 2), ("responseObject", 3)) if depth < needs
        }
        return {k: v for k, v in record.items() if k not in without} | {"level": rule["level"]}


def _fits(rule: Json, request: Request) -> bool:
    if rule.get("users") and request.user not in rule["users"]:
        return False
    if rule.get("userGroups") and not set(rule["userGroups"]) & set(request.groups):
        return False
    if rule.get("verbs") and request.verb not in rule["verbs"]:
        return False
    if rule.get("namespaces") or rule.get("resources"):
        return _is_resource(rule, request)
    if rule.get("nonResourceURLs"):
        return not request.resource and any(_path(request.path, p) for p in rule["nonResourceURLs"])
    return True


def _path(path: str, pattern: str) -> bool:
    return pattern in ("*", path) or (pattern.endswith("*") and path.startswith(pattern[:-1]))


def _is_resource(rule: Json, request: Request) -> bool:
    if not request.resource:
        return False
    if rule.get("namespaces") and request.namespace not in rule["namespaces"]:
        return False
    kinds = rule.get("resources")
    return not kinds or any(_is_kind(kind, request) for kind in kinds)


def _is_kind(kind: Json, request: Request) -> bool:
    if kind.get("group", "") not in (request.group, "*"):
        return False
    if kind.get("resourceNames") and request.name not in kind["resourceNames"]:
        return False
    resource, _, subresource = request.resource.partition("/")
    patterns = {request.resource, "*", f"{resource}/*"}
    if subresource:
        patterns.add(f"*/{subresource}")
    return not kind.get("resources") or bool(patterns & set(kind["resources"]))
