"""Argo CD, by what it keeps in the cluster and by the API behind its web UI."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from .cluster import Cluster
from .errors import LabError
from .kube import Kube, Object
from .waiting import until

NAMESPACE = "argocd"
_APPLICATIONS = f"/apis/argoproj.io/v1alpha1/namespaces/{NAMESPACE}/applications"
_REFRESH = "argocd.argoproj.io/refresh"


@dataclass(frozen=True)
class Application:
    """What Argo CD says of one Application."""

    name: str
    sync: str
    health: str
    revision: str
    #: The phase of the last sync, and what it said.
    phase: str
    message: str

    @classmethod
    def of(cls, found: Object) -> Application:
        """Read it from the object; a new one has no status yet."""
        status = found.get("status", {})
        operation = status.get("operationState", {})
        problems = "; ".join(one["message"] for one in status.get("conditions", []))
        return cls(
            name=found["metadata"]["name"],
            sync=status.get("sync", {}).get("status", "Unknown"),
            health=status.get("health", {}).get("status", "Unknown"),
            revision=status.get("sync", {}).get("revision", ""),
            phase=operation.get("phase", ""),
            message=problems or operation.get("message", ""),
        )

    @property
    def well(self) -> bool:
        """Synced and Healthy: what the repository says is what runs."""
        return (self.sync, self.health) == ("Synced", "Healthy")

    def __str__(self) -> str:
        said = f" ({self.phase}: {self.message[:200]})" if self.phase or self.message else ""
        return f"{self.name} {self.sync}/{self.health} at {self.revision[:7]}{said}"


def applications(kube: Kube) -> dict[str, Application]:
    """All Applications, by name."""
    return {found["metadata"]["name"]: Application.of(found) for found in kube.items(_APPLICATIONS)}


def application(kube: Kube, name: str) -> Application:
    """One Application."""
    return Application.of(kube.get(f"{_APPLICATIONS}/{name}"))


def refresh(kube: Kube, *names: str) -> None:
    """Have Argo CD look at the repository now, as a webhook of the git host does."""
    for name in names:
        kube.patch(f"{_APPLICATIONS}/{name}", {"metadata": {"annotations": {_REFRESH: "normal"}}})


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
    """Wait until an Application is in a state at a commit; None is any health.

    :param contains: whether a revision, the first argument, has the commit in it.
    """

    def there() -> Application:
        found = application(kube, name)
        assert (found.sync, found.health) == (sync, health or found.health), found
        assert contains(found.revision, revision), found
        return found

    return until(
        there,
        f"{name} is {sync} and {health or 'of any health'} at {revision[:7]}",
        seconds=seconds,
    )


class Api:
    """The HTTP API of argocd-server: what the web UI and the command line call."""

    def __init__(self, http: httpx.Client) -> None:
        self._http = http

    def sync(self, name: str, *, prune: bool = False) -> None:
        """What the button SYNC does."""
        self._post(f"/api/v1/applications/{name}/sync", {"prune": prune})

    def history(self, name: str) -> list[Object]:
        """What was deployed, the oldest first: ``id``, ``revision``, ``deployedAt``."""
        status = self._get(f"/api/v1/applications/{name}")["status"]
        history: list[Object] = status.get("history", [])
        return history

    def rollback(self, name: str, to: int) -> None:
        """What the button ROLLBACK beside an entry of the history does."""
        self._post(f"/api/v1/applications/{name}/rollback", {"id": to, "prune": False})

    def sign_in(self, user: str, password: str) -> None:
        """Get a token, and show it from now on."""
        answer = self._post("/api/v1/session", {"username": user, "password": password})
        self._http.headers["Authorization"] = f"Bearer {answer['token']}"

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
    """The API as the administrator that the installation made."""
    secret = cluster.kube.secret(NAMESPACE, "argocd-initial-admin-secret")
    with (
        cluster.service(NAMESPACE, "argocd-server", 443) as address,
        # Argo CD creates a self-signed certificate at its first start.
        httpx.Client(base_url=f"https://{address}", verify=False, timeout=60) as http,
    ):
        one = Api(http)
        one.sign_in("admin", secret["password"])
        yield one
