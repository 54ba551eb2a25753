"""The Applications of Argo CD in the cluster, and the API of its web UI."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx

from .cluster import Cluster
from .errors import LabError
from .kube import Kube, Object
from .waiting import until

NAMESPACE = "argocd"
_APPLICATIONS = f"/apis/argoproj.io/v1alpha1/namespaces/{NAMESPACE}/applications"
_REFRESH = "argocd.argoproj.io/refresh"
#: A wait refreshes Applications that Argo CD has not compared for this time, in seconds. Otherwise
#: Argo CD compares them again up to three minutes later, in two cases: the first comparison failed,
#: because Argo CD itself was starting; or it has not observed a change of health, for example of a
#: CRD that becomes Established while Argo CD starts to watch its kind.
_COMPARED_WITHIN = 20


@dataclass(frozen=True)
class Application:
    """State of an Application."""

    name: str
    sync: str
    health: str
    revision: str
    #: Phase and message of the last sync.
    phase: str
    message: str
    #: When Argo CD compared it last, or when it was created.
    compared: datetime
    #: A requested refresh is not completed yet. Argo CD then removes the annotation.
    refreshing: bool = False

    @classmethod
    def of(cls, found: Object) -> Application:
        """Read the object. A new object has no status yet."""
        status = found.get("status", {})
        operation = status.get("operationState", {})
        problems = "; ".join(condition["message"] for condition in status.get("conditions", []))
        return cls(
            name=found["metadata"]["name"],
            sync=status.get("sync", {}).get("status", "Unknown"),
            health=status.get("health", {}).get("status", "Unknown"),
            revision=status.get("sync", {}).get("revision", ""),
            phase=operation.get("phase", ""),
            refreshing=_REFRESH in found["metadata"].get("annotations", {}),
            message=problems or operation.get("message", ""),
            compared=datetime.fromisoformat(
                status.get("reconciledAt") or found["metadata"]["creationTimestamp"]
            ),
        )

    @property
    def healthy(self) -> bool:
        """Synced and Healthy."""
        return (self.sync, self.health) == ("Synced", "Healthy")

    def __str__(self) -> str:
        details = f" ({self.phase}: {self.message[:200]})" if self.phase or self.message else ""
        return f"{self.name} {self.sync}/{self.health} at {self.revision[:7]}{details}"


def applications(kube: Kube) -> dict[str, Application]:
    """Return all Applications by name."""
    return {found["metadata"]["name"]: Application.of(found) for found in kube.items(_APPLICATIONS)}


def application(kube: Kube, name: str) -> Application:
    """Return an Application."""
    return Application.of(kube.get(f"{_APPLICATIONS}/{name}"))


def refresh(kube: Kube, *names: str) -> None:
    """Let Argo CD fetch the repository now, like a webhook of the git host."""
    for name in names:
        kube.patch(f"{_APPLICATIONS}/{name}", {"metadata": {"annotations": {_REFRESH: "normal"}}})


def refresh_old(kube: Kube, found: Iterable[Application]) -> None:
    """Refresh the Applications that Argo CD has not compared for 20 seconds."""
    now = datetime.now(UTC)
    for item in found:
        age = (now - item.compared).total_seconds()
        if age > _COMPARED_WITHIN and not item.refreshing:
            refresh(kube, item.name)


def wait_until_healthy(
    kube: Kube,
    wanted: Callable[[str], bool],
    what: str,
    *,
    seconds: float,
    expected: Iterable[str] = (),
    before_poll: Callable[[], object] | None = None,
) -> None:
    """Wait until all Applications of a selection are Synced and Healthy.

    :param wanted: returns whether an Application is in the selection, by its name.
    :param what: the expected state, for the error.
    :param expected: Applications that must exist.
    :param before_poll: called before each poll.
    """

    def all_healthy() -> bool:
        if before_poll is not None:
            before_poll()
        found = applications(kube)
        absent = set(expected) - found.keys()
        assert not absent, f"there is no Application {', '.join(sorted(absent))}"
        selection = [item for name, item in found.items() if wanted(name)]
        waiting = [item for item in selection if not item.healthy]
        refresh_old(kube, waiting)
        assert not waiting, "\n".join(map(str, waiting))
        return bool(selection)

    until(all_healthy, what, seconds=seconds, every=1)


def wait_for(
    kube: Kube,
    name: str,
    *,
    revision: str,
    contains: Callable[[str, str], bool],
    sync: str,
    health: str | None,
    seconds: float,
) -> Application:
    """Wait until an Application has a sync and health state at a commit. None means any health.

    :param contains: returns whether a revision, the first argument, contains a commit.
    """

    def in_state() -> Application:
        found = application(kube, name)
        reached = (found.sync, found.health) == (sync, health or found.health)
        if not (reached and contains(found.revision, revision)):
            refresh_old(kube, [found])
            raise AssertionError(found)
        return found

    return until(
        in_state,
        f"{name} is {sync} and {health or 'of any health'} at {revision[:7]}",
        seconds=seconds,
    )


class Api:
    """The HTTP API of argocd-server: what the web UI and the command line call."""

    def __init__(self, http: httpx.Client) -> None:
        self._http = http

    def sync(self, name: str, *, prune: bool = False) -> None:
        """Sync, like the button SYNC."""
        self._post(f"/api/v1/applications/{name}/sync", {"prune": prune})

    def history(self, name: str) -> list[Object]:
        """Return the deployments, oldest first: ``id``, ``revision``, ``deployedAt``."""
        status = self._get(f"/api/v1/applications/{name}")["status"]
        history: list[Object] = status.get("history", [])
        return history

    def rollback(self, name: str, to: int) -> None:
        """Roll back, like the button ROLLBACK of a history entry."""
        self._post(f"/api/v1/applications/{name}/rollback", {"id": to, "prune": False})

    def pause(self, name: str, *, automated: bool) -> None:
        """Switch auto-sync, like the button in the details of an Application."""
        policy: Object = {"spec": {"syncPolicy": {"automated": {} if automated else None}}}
        self._patch(name, policy)

    def confirm_deletion(self, name: str, at: str) -> None:
        """Confirm the deletion of objects that need it, like the button CONFIRM."""
        approved = {"argocd.argoproj.io/deletion-approved": at}
        self._patch(name, {"metadata": {"annotations": approved}})

    def delete(self, name: str) -> None:
        """Delete an Application, like the button DELETE."""
        headers = {"Content-Type": "application/json"}  # the API refuses other content types
        self._read(self._http.delete(f"/api/v1/applications/{name}", headers=headers))

    def role(self, project: str, role: str) -> None:
        """Use a token of a project's role for all later requests."""
        path = f"/api/v1/projects/{project}/roles/{role}/token"
        answer = self._post(path, {"expiresIn": 3600})
        self.use(answer["token"])

    def use(self, token: str) -> None:
        """Send a token with all later requests."""
        self._http.headers["Authorization"] = f"Bearer {token}"

    def _patch(self, name: str, patch: Object) -> None:
        body = {"patch": json.dumps(patch), "patchType": "merge"}
        self._read(self._http.patch(f"/api/v1/applications/{name}", json=body))

    def sign_in(self, user: str, password: str) -> None:
        """Get a token and send it with all later requests."""
        answer = self._post("/api/v1/session", {"username": user, "password": password})
        self.use(answer["token"])

    def _get(self, path: str) -> Object:
        return self._read(self._http.get(path))

    def _post(self, path: str, body: dict[str, Any]) -> Object:
        return self._read(self._http.post(path, json=body))

    @staticmethod
    def _read(answer: httpx.Response) -> Object:
        if not answer.is_success:
            raise LabError(f"{answer.request.url.path}: {answer.status_code} {answer.text}")
        found: Object = answer.json()
        return found


@contextmanager
def api(cluster: Cluster) -> Iterator[Api]:
    """Yield the API, signed in as the initial administrator."""
    secret = cluster.kube.secret(NAMESPACE, "argocd-initial-admin-secret")
    with (
        cluster.service(NAMESPACE, "argocd-server", 443) as address,
        # Argo CD creates a self-signed certificate at its first start.
        httpx.Client(base_url=f"https://{address}", verify=False, timeout=60) as http,
    ):
        client = Api(http)
        client.sign_in("admin", secret["password"])
        yield client
