"""Requests to the Kubernetes API and to other HTTP APIs, with the standard library only."""

import json
import ssl
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any, Final

#: The files of the service account of a pod.
ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_TIMEOUT_SECONDS: Final = 10.0
_MAXIMUM_RESPONSE_BYTES: Final = 32 * 1024 * 1024


class RequestError(Exception):
    """A server did not answer as expected. The text states which."""


class NotFoundError(RequestError):
    """The object does not exist."""


def address(host: str, port: str) -> str:
    """The URL of the API server from the variables ``KUBERNETES_SERVICE_HOST`` and ``_PORT``."""
    return f"https://{f'[{host}]' if ':' in host else host}:{port}"


class KubernetesApi:
    """The API of a cluster, with the service account of the pod."""

    def __init__(self, url: str, account: Path = ACCOUNT) -> None:
        self._url = url
        self._account = account
        authority = account / "ca.crt"
        self._tls = (
            ssl.create_default_context(cafile=str(authority)) if authority.exists() else None
        )

    def request(self, method: str, path: str, body: object = None) -> dict[str, Any] | None:
        """Return the answer. None: the object does not exist.

        Raises:
            RequestError: the server did not answer, or refused the request.
        """
        token = (self._account / "token").read_text(encoding="utf-8").strip()
        try:
            return request(method, f"{self._url}{path}", body, token=token, tls=self._tls)
        except NotFoundError:
            return None

    def applications(self, namespace: str) -> dict[str, Any]:
        """Return the list of the Applications of Argo CD, as kubectl prints it.

        Raises:
            RequestError: the server did not answer, or refused the request.
        """
        group = f"/apis/argoproj.io/v1alpha1/namespaces/{namespace}/applications"
        return self.request("GET", group) or {"items": []}


def request(
    method: str,
    url: str,
    body: object = None,
    *,
    token: str = "",
    tls: ssl.SSLContext | None = None,
) -> dict[str, Any]:
    """Send a request with a JSON body, and return the JSON document of the answer.

    Raises:
        RequestError: no answer, an error status, or no JSON.
        NotFoundError: the status 404.
    """
    kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
    headers = {"Content-Type": kind, "User-Agent": "auditflow-gitops"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    sent = urllib.request.Request(  # noqa: S310 -- the address comes from the settings
        url,
        data=None if body is None else json.dumps(body).encode(),
        headers=headers,
        method=method,
    )
    where = f"{method} {urllib.parse.urlsplit(url).path}"
    try:
        with urllib.request.urlopen(sent, timeout=_TIMEOUT_SECONDS, context=tls) as response:  # noqa: S310 # nosec B310
            content = response.read(_MAXIMUM_RESPONSE_BYTES)
        answer: dict[str, Any] = json.loads(content or b"{}")
    except urllib.error.HTTPError as error:
        with error:
            kind_of_error = NotFoundError if error.code == 404 else RequestError
            raise kind_of_error(f"{where}: status {error.code}") from None
    except (OSError, ValueError) as error:
        raise RequestError(f"{where}: {error}") from None
    return answer
