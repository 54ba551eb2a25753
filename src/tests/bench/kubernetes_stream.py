"""Events from audit records of an API server, as the platform's audit policy leaves them."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
from src.tests.infra.audit_policy import Policy

from audit_event_generator.ingest import kubernetes
from auditflow.contract import event

_POLICY: Final = (
    Path(__file__).parents[3] / "infra/ansible/roles/k3s_server/files/audit/policy.yaml"
)
_NODES: Final = tuple(f"system:node:node-{number}" for number in range(3))
_CONTROLLERS: Final = (
    "system:serviceaccount:kube-system:replicaset-controller",
    "system:serviceaccount:kube-system:deployment-controller",
    "system:serviceaccount:kube-system:job-controller",
)
_NAMESPACES: Final = ("auditflow-dev", "auditflow-staging", "shop", "monitoring")
#: Share of records that alert: ``kubectl exec`` by a user of its own.
_ALERTING: Final = 0.002

Json = dict[str, Any]


def events(number: int, prefix: str) -> Iterator[tuple[bytes, bool]]:
    """Yield encoded events, and whether each of them causes an alert.

    Records that the policy drops (reads of most resources, leases, health checks) do not count.
    """
    rng = random.Random(prefix)
    policy = Policy(_POLICY)
    start = dt.datetime.now(dt.UTC) - number * dt.timedelta(milliseconds=10)
    made = attempt = 0
    while made < number:
        attempt += 1
        alerting = rng.random() < _ALERTING
        record = _exec(prefix, made) if alerting else _benign(rng)
        timestamp = start + made * dt.timedelta(milliseconds=10)
        record = _complete(record, f"{prefix}-{attempt:08x}", timestamp)
        left = policy.left_of(record)
        assert left is not None or not alerting, "the policy drops the alerting record"
        if left is not None:
            made += 1
            yield event.encode(kubernetes.to_event(msgspec.json.encode(left))), alerting
        assert attempt < 50 * number + 1000, "the policy drops nearly all records"


def _benign(rng: random.Random) -> Json:
    """Return a record of what controllers, nodes and people do all the time."""
    namespace = rng.choice(_NAMESPACES)
    name = f"app-{rng.getrandbits(20):05x}"
    kind = rng.randrange(8)
    if kind == 0:
        return _request("create", "events", namespace, name, rng.choice(_CONTROLLERS))
    if kind == 1:
        return _request("update", "deployments", namespace, name, _CONTROLLERS[1], group="apps",
                        subresource="status")  # fmt: skip
    if kind == 2:
        return _request("create", "pods", namespace, name, _CONTROLLERS[0])
    if kind == 3:
        return _request("delete", "pods", namespace, name, _CONTROLLERS[0])
    if kind == 4:
        return _request("patch", "pods", namespace, name, rng.choice(_NODES), subresource="status")
    if kind == 5:
        return _request("update", "configmaps", namespace, name, _CONTROLLERS[2])
    if kind == 6:
        return _request("get", "secrets", namespace, "database", rng.choice(_NODES))
    return _request("list", "pods", namespace, None, "system:kube-scheduler")


def _exec(prefix: str, number: int) -> Json:
    record = _request(
        "create", "pods", "shop", f"{prefix}-{number}", f"{prefix}-{number}", subresource="exec"
    )
    record["requestURI"] += "?command=sh&container=app&stdin=true"
    record["responseStatus"]["code"] = 101
    record["stage"] = "ResponseStarted"  # the policy records the start of a session
    return record


def _request(
    verb: str,
    resource: str,
    namespace: str,
    name: str | None,
    user: str,
    *,
    group: str = "",
    subresource: str | None = None,
) -> Json:
    root = f"/apis/{group}/v1" if group else "/api/v1"
    parts = (root, "namespaces", namespace, resource, name, subresource)
    groups = ["system:authenticated"]
    if user.startswith("system:node:"):
        groups.append("system:nodes")
    elif user.startswith("system:serviceaccount:"):
        groups += ["system:serviceaccounts", f"system:serviceaccounts:{user.split(':')[2]}"]
    return {
        "verb": verb,
        "requestURI": "/".join(part for part in parts if part),
        "user": {"username": user, "groups": groups},
        "objectRef": {
            "resource": resource,
            "namespace": namespace,
            **({"name": name} if name else {}),
            **({"apiGroup": group} if group else {}),
            **({"subresource": subresource} if subresource else {}),
            "apiVersion": "v1",
        },
        "responseStatus": {"metadata": {}, "code": 200},
    }


def _complete(record: Json, identifier: str, timestamp: dt.datetime) -> Json:
    stamp = timestamp.isoformat().replace("+00:00", "Z")
    return {
        "kind": "Event",
        "apiVersion": "audit.k8s.io/v1",
        "level": "RequestResponse",
        "auditID": identifier,
        "stage": "ResponseComplete",
        "sourceIPs": ["192.0.2.10"],
        "userAgent": "kube-controller-manager/v1.37.2 (linux/amd64) kubernetes",
        "requestReceivedTimestamp": stamp,
        "stageTimestamp": stamp,
        "annotations": {
            "authorization.k8s.io/decision": "allow",
            "authorization.k8s.io/reason": "RBAC: allowed by ClusterRoleBinding",
        },
        **record,
    }
