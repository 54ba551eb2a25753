"""The Kubernetes API, as far as it is needed: Secrets, and the restart of a pod."""

import base64
import datetime as dt
import json
import os
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from provisioning.plan import ProvisioningError

#: Where Kubernetes mounts the credentials of the service account.
_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_SECONDS: Final = 10.0
_LABELS: Final = {
    "app.kubernetes.io/part-of": "auditflow",
    "app.kubernetes.io/managed-by": "auditflow-provisioning",
}


class Namespace:
    """The Secrets of one namespace."""

    def __init__(self, *, url: str, token: str, name: str, tls: ssl.SSLContext | None) -> None:
        self.name = name
        self.url = f"{url}/api/v1/namespaces/{name}"
        self._token = token
        self._tls = tls

    @classmethod
    def of_this_pod(cls) -> "Namespace":
        """The namespace that the pod runs in, as its own service account.

        Raises:
            ProvisioningError: this is no pod, or its service account has no token.
        """
        try:
            host = os.environ["KUBERNETES_SERVICE_HOST"]
            port = os.environ["KUBERNETES_SERVICE_PORT"]
            return cls(
                url=f"https://{f'[{host}]' if ':' in host else host}:{port}",
                token=(_ACCOUNT / "token").read_text(encoding="utf-8"),
                name=(_ACCOUNT / "namespace").read_text(encoding="utf-8").strip(),
                tls=ssl.create_default_context(cafile=str(_ACCOUNT / "ca.crt")),
            )
        except (KeyError, OSError) as error:
            raise ProvisioningError(
                f"{error}: run this in a pod with the token of its service account"
            ) from None

    def read(self, name: str) -> dict[str, str] | None:
        """The contents of a Secret; None if it does not exist."""
        try:
            response = self._ask("GET", f"/secrets/{name}")
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return None
            raise _failure(error, f"cannot read Secret {name}") from None
        data = response.get("data") or {}
        return {key: base64.b64decode(value).decode() for key, value in data.items()}

    def create(self, name: str, contents: Mapping[str, str]) -> None:
        """Create a Secret. If it exists by now, it is not changed, and that is an error.

        Raises:
            ProvisioningError: the API server refused.
        """
        secret = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name, "labels": _LABELS},
            "stringData": dict(contents),
        }
        try:
            self._ask("POST", "/secrets", secret)
        except urllib.error.HTTPError as error:
            raise _failure(error, f"cannot create Secret {name}") from None

    def replace(self, name: str, contents: Mapping[str, str]) -> None:
        """Set keys of an existing Secret.

        Raises:
            ProvisioningError: the API server refused.
        """
        try:
            self._ask("PATCH", f"/secrets/{name}", {"stringData": dict(contents)})
        except urllib.error.HTTPError as error:
            raise _failure(error, f"cannot change Secret {name}") from None

    def started_at(self, pod: str, container: str) -> dt.datetime | None:
        """When the running container of a pod started; None if it does not run."""
        try:
            found = self._ask("GET", f"/pods/{pod}")
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return None
            raise _failure(error, f"cannot read pod {pod}") from None
        for status in found.get("status", {}).get("containerStatuses", []):
            if status["name"] == container and "running" in status["state"]:
                return dt.datetime.fromisoformat(status["state"]["running"]["startedAt"])
        return None

    def delete_pod(self, name: str) -> None:
        """Delete a pod. Its StatefulSet creates it again.

        Raises:
            ProvisioningError: the API server refused.
        """
        try:
            self._ask("DELETE", f"/pods/{name}")
        except urllib.error.HTTPError as error:
            raise _failure(error, f"cannot delete pod {name}") from None

    def _ask(self, method: str, path: str, body: Any = None) -> Any:
        content_type = "application/merge-patch+json" if method == "PATCH" else "application/json"
        # The URL is the API server of the pod: the scheme is known.
        request = urllib.request.Request(  # noqa: S310 # nosec B310
            self.url + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {self._token}", "Content-Type": content_type},
        )
        try:
            with urllib.request.urlopen(  # noqa: S310 # nosec B310
                request, timeout=_SECONDS, context=self._tls
            ) as response:
                return json.load(response)
        except urllib.error.HTTPError:
            raise
        except OSError as error:
            raise ProvisioningError(f"the API server does not answer: {error}") from None


def _failure(error: urllib.error.HTTPError, action: str) -> ProvisioningError:
    with error:
        try:
            message = json.load(error)["message"]
        except (ValueError, KeyError, TypeError):
            message = error.reason
    return ProvisioningError(f"{action}: {error.code}: {message}")
