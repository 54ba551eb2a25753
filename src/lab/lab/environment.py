"""One environment of AuditFlow as users access it: over HTTP, with its secrets."""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import httpx

from gitops.layout import SERVICES

from .cluster import Cluster
from .kube import Object

#: Name and port of each service's Service.
_SERVICES = {
    "audit-event-archive": ("audit-event-archive-service", 5003),
    "audit-event-generator": ("audit-event-generator-service", 5000),
    "notification-service": ("notification-service", 8000),
    "event-audit-dashboard": ("event-audit-dashboard-service", 8080),
}
#: Services whose port uses TLS.
_TLS = {"audit-event-archive", "notification-service"}
Event = dict[str, Any]


class Environment:
    """dev, staging, prod or the preview ``pr-NUMBER``, in its namespace."""

    def __init__(self, cluster: Cluster, name: str) -> None:
        self.cluster = cluster
        self.name = name
        self.namespace = f"auditflow-{name}"
        #: The Applications of the four services.
        self.services = {service: f"{name}-{service}" for service in SERVICES}

    @contextmanager
    def generator(self) -> Iterator[httpx.Client]:
        """Return a client that may post events, with the token of the time of this call."""
        with self._client("audit-event-generator", "INGEST_TOKEN") as client:
            yield client

    @contextmanager
    def api(self) -> Iterator[httpx.Client]:
        """A client that may read alerts, with the token of the time of this call."""
        with self._client("notification-service", "API_TOKEN") as client:
            yield client

    @contextmanager
    def archive(self) -> Iterator[httpx.Client]:
        """A client that may search archived events, with the token of the time of this call."""
        token = self.secret("notification-service")["API_TOKEN"]
        with self._client("audit-event-archive") as client:
            client.headers["Authorization"] = f"Bearer {token}"
            yield client

    @contextmanager
    def dashboard(self) -> Iterator[httpx.Client]:
        """A client that has signed in with the form, and sends the token against forgery."""
        secret = self.secret("event-audit-dashboard")
        with self._client("event-audit-dashboard") as client:
            form = client.get("/login").raise_for_status().text
            token = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', form)
            assert token, f"the sign-in form has no token: {form}"
            answer = client.post(
                "/login",
                data={
                    "user": secret.get("DASHBOARD_USER", "admin"),
                    "password": secret["DASHBOARD_PASSWORD"],
                    "csrf_token": token[1],
                },
            )
            assert answer.status_code == httpx.codes.SEE_OTHER, answer.text
            yield client

    def alerts(self) -> list[Object]:
        """Every alert, by following the cursor."""
        found: list[Object] = []
        parameters = {"limit": "200"}
        with self.api() as client:
            while True:
                page = client.get("/alerts", params=parameters).raise_for_status().json()
                found += page["alerts"]
                if page["next_cursor"] is None:
                    return found
                parameters["cursor"] = page["next_cursor"]

    def trust(self) -> ssl.SSLContext:
        """A context that trusts only the authority of the environment."""
        return ssl.create_default_context(cadata=self.secret("environment-ca")["ca.crt"])

    def secret(self, name: str) -> dict[str, str]:
        """The values of one of its Secrets."""
        return self.cluster.kube.secret(self.namespace, name)

    def get(self, kind: str, name: str) -> Object:
        """An object of the environment: ``apps/v1/deployments`` and its name."""
        return self.cluster.kube.get(f"{self._path(kind)}/{name}")

    def items(self, kind: str) -> list[Object]:
        """The objects of a kind in the environment: ``argoproj.io/v1alpha1/analysisruns``."""
        return self.cluster.kube.items(self._path(kind))

    def pods(self, service: str) -> list[Object]:
        """The pods that serve a service."""
        return self.cluster.kube.items(
            f"/api/v1/namespaces/{self.namespace}/pods",
            labelSelector=f"app.kubernetes.io/name={service},app.kubernetes.io/component=server",
        )

    def runs(self, service: str, digest: str) -> bool:
        """Whether every pod of a service is ready and of this image, and the roll-out is over."""
        deployment = self.get("apps/v1/deployments", service)
        status = deployment["status"]
        wanted = deployment["spec"].get("replicas", 1)
        return (
            status.get("observedGeneration") == deployment["metadata"]["generation"]
            and status.get("updatedReplicas") == wanted
            and status.get("availableReplicas") == wanted
            and status.get("replicas") == wanted
            and digest in self.image(service)
        )

    def image(self, service: str) -> str:
        """The image that a service's Deployment asks for now."""
        deployment = self.get("apps/v1/deployments", service)
        image: str = deployment["spec"]["template"]["spec"]["containers"][0]["image"]
        return image

    def ready_images(self, service: str) -> Sequence[str]:
        """The images of the pods that serve now, without pods that stop."""
        return [
            pod["spec"]["containers"][0]["image"]
            for pod in self.pods(service)
            if "deletionTimestamp" not in pod["metadata"]
            and any(
                condition["type"] == "Ready" and condition["status"] == "True"
                for condition in pod["status"].get("conditions", [])
            )
        ]

    def _path(self, kind: str) -> str:
        root, _, plural = kind.rpartition("/")
        prefix = f"/api/{root}" if root == "v1" else f"/apis/{root}"
        return f"{prefix}/namespaces/{self.namespace}/{plural}"

    @contextmanager
    def _client(self, service: str, token: str | None = None) -> Iterator[httpx.Client]:
        name, port = _SERVICES[service]
        headers = {}
        if token is not None:
            headers["Authorization"] = f"Bearer {self.secret(service)[token]}"
        tls = service in _TLS
        behind_traefik = self.name == "prod" or self.name.startswith("pr-")
        proxied = behind_traefik and service == "event-audit-dashboard"
        scheme = "https" if tls or proxied else "http"
        with (
            self.cluster.service(self.namespace, name, port) as address,
            httpx.Client(
                base_url=f"{scheme}://{address}",
                transport=_BehindTraefik() if proxied else None,
                headers=headers,
                timeout=10,
                trust_env=False,
                verify=self.trust() if tls else True,
                event_hooks={"request": [lambda request: _expect_name(request, name)]},
            ) as client,
        ):
            yield client


class _BehindTraefik(httpx.HTTPTransport):
    """Sends requests as Traefik does, which terminates TLS before the dashboard."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        request.headers["X-Forwarded-For"] = "203.0.113.9"
        request.headers["X-Forwarded-Proto"] = "https"
        # A browser sends it, and the protection against forgery requires it over HTTPS.
        request.headers["Referer"] = f"https://{request.headers['Host']}/"
        request.url = request.url.copy_with(scheme="http")
        return super().handle_request(request)


def _expect_name(request: httpx.Request, name: str) -> None:
    """Verify the certificate for the name of the Service: the test connects to an address."""
    request.extensions["sni_hostname"] = name
