"""Resources of a cluster that differ from git, as Argo CD reports them. Pure."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from gitops import layout
from gitops.dora import Service, Sync
from gitops.errors import GitOpsError

_PROJECT: Final = "auditflow-"


@dataclass(frozen=True)
class Difference:
    """A resource that differs from its commit.

    Attributes:
        reason: ``OutOfSync``, or ``Extra``: it is in the cluster only, and a sync would delete it.
        self_heal: whether Argo CD corrects the resource without a person.
    """

    environment: str
    application: str
    resource: str
    reason: str
    self_heal: bool


@dataclass(frozen=True)
class Application:
    """The state of an Application, and its differences from git."""

    name: str
    environment: str
    status: str
    self_heals: int
    differences: tuple[Difference, ...]


def read(document: object) -> tuple[Application, ...]:
    """The Applications of a list object, as kubectl or the API of Argo CD returns it.

    Raises:
        GitOpsError: the document is not a list of Applications.
    """
    found = (_application(item) for item in _items(document))
    return tuple(sorted(found, key=lambda app: app.name))


def load(name: str, text: str) -> object:
    """The JSON document of a file.

    Raises:
        GitOpsError: the text is not valid JSON.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise GitOpsError(f"{name} is not valid JSON: {error}") from None


def services(document: object, environment: str) -> dict[str, Service]:
    """The history of the Applications of an environment, by service.

    Raises:
        GitOpsError: the document is not a list of Applications, or a time is not valid.
    """
    found = {}
    for item in _items(document):
        name = str(_map(item, "metadata").get("name", ""))
        service = name.removeprefix(f"{environment}-")
        project = _map(item, "spec").get("project")
        if project != f"{_PROJECT}{environment}" or service not in layout.SERVICES:
            continue
        status = _map(item, "status")
        history = [entry for entry in status.get("history") or () if isinstance(entry, dict)]
        try:
            syncs = tuple(
                Sync(
                    str(entry["revision"]), datetime.fromisoformat(entry["deployedAt"]).timestamp()
                )
                for entry in history
            )
        except (KeyError, TypeError, ValueError) as error:
            raise GitOpsError(f"the history of Application {name} is not valid: {error}") from None
        found[service] = Service(
            syncs=syncs,
            complete=bool(history) and history[0].get("id", 0) == 0,
            healthy=_map(status, "health").get("status") == "Healthy",
        )
    return found


def _items(document: object) -> list[dict[str, Any]]:
    items = document.get("items") if isinstance(document, dict) else None
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise GitOpsError(
            "this is not a list of Applications."
            " Create it with: kubectl -n argocd get applications -o json"
        )
    return items


def _application(item: Mapping[str, Any]) -> Application:
    metadata, spec = _map(item, "metadata"), _map(item, "spec")
    status = _map(item, "status")
    name = str(metadata.get("name", ""))
    project = str(spec.get("project", ""))
    environment = project.removeprefix(_PROJECT) if project.startswith(_PROJECT) else "platform"
    self_heal = bool(_map(_map(spec, "syncPolicy"), "automated").get("selfHeal"))
    resources = status.get("resources")
    operation = _map(status, "operationState")
    return Application(
        name=name,
        environment=environment,
        status=str(_map(status, "sync").get("status") or "Unknown"),
        self_heals=int(_map(_map(operation, "operation"), "sync").get("autoHealAttemptsCount", 0)),
        differences=tuple(
            Difference(
                environment=environment,
                application=name,
                resource=_resource(resource),
                reason="Extra" if resource.get("requiresPruning") else "OutOfSync",
                self_heal=self_heal,
            )
            for resource in (resources if isinstance(resources, list) else ())
            if isinstance(resource, dict) and resource.get("status") == "OutOfSync"
        ),
    )


def _map(item: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = item.get(key)
    return value if isinstance(value, dict) else {}


def _resource(resource: Mapping[str, Any]) -> str:
    names = (resource.get("namespace"), resource.get("name"))
    return f"{resource.get('kind')} {'/'.join(str(name) for name in names if name)}"


def metrics(applications: Iterable[Application]) -> str:
    """The same as Prometheus metrics, for the textfile collector of node_exporter."""
    resources: Counter[tuple[str, str, str]] = Counter()
    heals: dict[tuple[str, str], int] = {}
    for application in applications:
        key = (application.environment, application.name)
        heals[key] = application.self_heals
        for reason in ("OutOfSync", "Extra"):
            resources[(*key, reason)] = sum(
                each.reason == reason for each in application.differences
            )
    lines = [
        "# HELP auditflow_drift_resources Resources that differ from git.",
        "# TYPE auditflow_drift_resources gauge",
        *(
            f"auditflow_drift_resources{_labels(environment=e, application=a, status=s)} {count}"
            for (e, a, s), count in sorted(resources.items())
        ),
        "# HELP auditflow_drift_self_heals Attempts of the last sync to correct a difference.",
        "# TYPE auditflow_drift_self_heals gauge",
        *(
            f"auditflow_drift_self_heals{_labels(environment=e, application=a)} {count}"
            for (e, a), count in sorted(heals.items())
        ),
    ]
    return "\n".join(lines) + "\n"


def _labels(**labels: str) -> str:
    escaped = {
        name: value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        for name, value in labels.items()
    }
    return "{" + ",".join(f'{name}="{value}"' for name, value in escaped.items()) + "}"
