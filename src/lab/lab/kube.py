"""A client of the Kubernetes API, for frequent requests.

``kubectl`` needs 100 ms of CPU time for each request. A persistent connection needs almost none.
"""

from __future__ import annotations

import base64
import json
import ssl
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import yaml

from .errors import LabError

Object = dict[str, Any]

#: Our name in ``managedFields``.
FIELD_MANAGER = "auditflow-e2e"


class NotFound(LabError):
    """The object does not exist."""


class Kube:
    """A cluster, with the credentials of a kubeconfig."""

    def __init__(self, kubeconfig: Path) -> None:
        self.kubeconfig = kubeconfig
        self._http = _client(yaml.safe_load(kubeconfig.read_text()), kubeconfig.parent)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def get(self, path: str) -> Object:
        """Return an object or a list by its URL path.

        :raises NotFound: it does not exist.
        """
        return self._ask("GET", path)

    def find(self, path: str) -> Object | None:
        """Return an object, or None if it does not exist."""
        try:
            return self.get(path)
        except NotFound:
            return None

    def items(self, path: str, **selectors: str) -> list[Object]:
        """Return the objects of a list. ``labelSelector`` and ``fieldSelector`` filter it."""
        found: list[Object] = self._ask("GET", path, params=selectors).get("items", [])
        return found

    def patch(self, path: str, change: Mapping[str, Any]) -> Object:
        """Apply a JSON merge patch to an object, like ``kubectl edit``."""
        return self._ask(
            "PATCH",
            path,
            content=json.dumps(change),
            headers={"Content-Type": "application/merge-patch+json"},
        )

    def create(self, path: str, body: Object) -> Object:
        """Create an object in the collection of this path."""
        return self._ask("POST", path, json=body)

    def delete(self, path: str) -> None:
        """Delete an object. The cluster deletes its dependents."""
        self._ask("DELETE", path)

    def text(self, path: str, **parameters: str | int) -> str:
        """Return the answer as text, for example logs."""
        answer = self._http.get(path, params=parameters)
        return answer.text

    def apply(self, *objects: Object) -> None:
        """Apply objects on the server side and take ownership of their fields."""
        for manifest in objects:
            self._ask(
                "PATCH",
                self.path_of(manifest),
                params={"fieldManager": FIELD_MANAGER, "force": "true"},
                content=json.dumps(manifest),
                headers={"Content-Type": "application/apply-patch+yaml"},
            )

    def path_of(self, manifest: Object) -> str:
        """Return the URL path of an object of any kind."""
        version, kind = manifest["apiVersion"], manifest["kind"]
        root = f"/api/{version}" if "/" not in version else f"/apis/{version}"
        for resource in self.get(root)["resources"]:
            if resource["kind"] == kind and "/" not in resource["name"]:
                metadata = manifest["metadata"]
                namespace = metadata.get("namespace", "default")
                inside = f"/namespaces/{namespace}" if resource["namespaced"] else ""
                return f"{root}{inside}/{resource['name']}/{metadata['name']}"
        raise NotFound(f"the cluster serves no {version} {kind}")

    def secret(self, namespace: str, name: str) -> dict[str, str]:
        """Return the values of a Secret."""
        data = self.get(f"/api/v1/namespaces/{namespace}/secrets/{name}").get("data", {})
        return {key: base64.b64decode(value).decode() for key, value in data.items()}

    def _ask(self, method: str, path: str, **arguments: Any) -> Object:
        try:
            answer = self._http.request(method, path, **arguments)
        except httpx.TransportError as error:
            raise LabError(f"{method} {path}: {error!r}") from None
        if answer.status_code == httpx.codes.NOT_FOUND:
            raise NotFound(f"{method} {path}: {answer.text.strip()}")
        if not answer.is_success:
            raise LabError(f"{method} {path}: {answer.status_code} {answer.text.strip()}")
        found: Object = answer.json()
        return found


def _client(config: Mapping[str, Any], folder: Path) -> httpx.Client:
    named = {
        kind: {entry["name"]: entry[kind] for entry in config[f"{kind}s"]}
        for kind in ("cluster", "user", "context")
    }
    context = named["context"][config["current-context"]]
    cluster, user = named["cluster"][context["cluster"]], named["user"][context["user"]]
    with ExitStack() as stack:
        files = {
            name: _file(source, name, folder, stack)
            for source, name in (
                (cluster, "certificate-authority"),
                (user, "client-certificate"),
                (user, "client-key"),
            )
            if name in source or f"{name}-data" in source
        }
        trust = ssl.create_default_context(cafile=files.get("certificate-authority"))
        if "client-certificate" in files:
            trust.load_cert_chain(files["client-certificate"], files["client-key"])
    headers = {"Authorization": f"Bearer {user['token']}"} if "token" in user else {}
    return httpx.Client(
        base_url=cluster["server"], verify=trust, headers=headers, timeout=30, trust_env=False
    )


def _file(source: Mapping[str, str], name: str, folder: Path, stack: ExitStack) -> str:
    if f"{name}-data" not in source:
        return str(folder / source[name])
    # OpenSSL reads keys only from files.
    file = tempfile.NamedTemporaryFile()  # noqa: SIM115 - the stack closes it
    stack.enter_context(file)
    file.write(base64.b64decode(source[f"{name}-data"]))
    file.flush()
    return file.name
