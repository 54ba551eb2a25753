"""Starts the promotion of environments that are ready. Runs in the cluster, in the image of Python.

It reads the Applications of each environment and the alerts, and starts the workflow `Promote` on
the forge by a repository_dispatch event. It uses only the standard library. It keeps its state in
a ConfigMap, so that a restart promotes nothing twice.
"""

import json
import os
import sys
import time
import urllib.parse
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from gitops import kubernetes_api, readiness
from gitops.kubernetes_api import ACCOUNT, KubernetesApi, RequestError, request
from gitops.readiness import App, Observation, State

#: The number of objectives of an environment that burn their error budget too fast. A ticket is
#: not among them: it is about days, and would stop promotions, also of the repair, for days.
_BURNING: Final = (
    'count(ALERTS{alertstate="firing", sloth_severity="page", namespace="auditflow-%s"})'
    " or vector(0)"
)


class PromoterError(Exception):
    """The settings are not valid. The text states which."""


@dataclass(frozen=True)
class Settings:
    """The settings, from environment variables."""

    environments: tuple[str, ...]
    kubernetes: str
    namespace: str
    prometheus: str
    forge: str
    repository: str
    soak_seconds: float
    period_seconds: float
    token_file: Path
    account: Path = ACCOUNT

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> "Settings":
        """Raises PromoterError: a variable is missing or not a number."""
        try:
            host, port = environ["KUBERNETES_SERVICE_HOST"], environ["KUBERNETES_SERVICE_PORT"]
            return cls(
                environments=tuple(environ["ENVIRONMENTS"].split()),
                kubernetes=kubernetes_api.address(host, port),
                namespace=environ.get("ARGO_CD_NAMESPACE", "argocd"),
                prometheus=environ["PROMETHEUS_URL"],
                forge=environ.get("FORGE_API_URL", "https://api.github.com"),
                repository=environ["REPOSITORY"],
                soak_seconds=float(environ.get("SOAK_SECONDS", "900")),
                period_seconds=float(environ.get("PERIOD_SECONDS", "60")),
                token_file=Path(environ.get("TOKEN_FILE", "/etc/promoter/token")),
            )
        except (KeyError, ValueError) as error:
            raise PromoterError(f"invalid settings: {error}") from None


def parse_application(found: Mapping[str, Any]) -> App:
    """The state of an Application object. An object without a status is not settled."""
    status = found.get("status") or {}
    history = status.get("history") or [{}]
    operation = (status.get("operationState") or {}).get("phase", "")
    settled = (
        status.get("sync", {}).get("status") == "Synced"
        and status.get("health", {}).get("status") == "Healthy"
        and operation in ("", "Succeeded")
        and "operation" not in found
    )
    return App(
        name=found["metadata"]["name"],
        deployment=str(history[-1].get("id", "")),
        settled=settled,
        compared_at=_seconds(status.get("reconciledAt")),
        revision=str(status.get("sync", {}).get("revision", "")),
    )


def _seconds(timestamp: str | None) -> float:
    return datetime.fromisoformat(timestamp).timestamp() if timestamp else 0.0


class Promoter:
    """Observes the environments and starts promotions."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._kubernetes = KubernetesApi(settings.kubernetes, settings.account)

    def run_once(self, environment: str, now: float) -> str:
        """Observe an environment and promote it if it is ready. Returns a line for the log.

        ``now`` is in seconds since 1970.

        Raises:
            RequestError: Kubernetes or the forge did not answer; the state is not changed.
        """
        settings = self._settings
        state = self._read_state(environment)
        decision = readiness.decide(
            state,
            Observation(now, self._applications(environment), self._is_burning(environment)),
            soak_seconds=settings.soak_seconds,
            gap_seconds=1.5 * settings.period_seconds,
        )
        if decision.revision is None:
            self._write_state(environment, decision.state)
            return f"{environment}: {decision.reason}"
        self._dispatch(environment, decision.revision)
        self._write_state(environment, readiness.confirm(decision.state))
        return f"{environment}: started the promotion of {decision.revision}"

    def _applications(self, environment: str) -> tuple[App, ...]:
        found = self._kubernetes.applications(self._settings.namespace)
        return tuple(
            parse_application(item)
            for item in found.get("items", [])
            if item["spec"].get("project") == f"auditflow-{environment}"
        )

    def _is_burning(self, environment: str) -> bool | None:
        query = urllib.parse.urlencode({"query": _BURNING % environment})
        try:
            answer = request("GET", f"{self._settings.prometheus}/api/v1/query?{query}")
            return float(answer["data"]["result"][0]["value"][1]) > 0
        except (RequestError, KeyError, IndexError, TypeError, ValueError):
            return None

    def _dispatch(self, environment: str, revision: str) -> None:
        token = self._settings.token_file.read_text(encoding="utf-8").strip()
        request(
            "POST",
            f"{self._settings.forge}/repos/{self._settings.repository}/dispatches",
            {
                "event_type": "auditflow-synced",
                "client_payload": {"environment": environment, "revision": revision},
            },
            token=token,
        )

    def _config_map(self, environment: str) -> str:
        return f"/api/v1/namespaces/{self._settings.namespace}/configmaps/promoter-{environment}"

    def _read_state(self, environment: str) -> State:
        found = self._kubernetes.request("GET", self._config_map(environment))
        try:
            return State(**json.loads((found or {})["data"]["state"]))
        except (KeyError, TypeError, ValueError):
            return State()  # the soak time starts again

    def _write_state(self, environment: str, state: State) -> None:
        path = self._config_map(environment)
        values = {"data": {"state": json.dumps(asdict(state))}}
        if self._kubernetes.request("PATCH", path, values) is None:
            name = path.rpartition("/")[2]
            created = {"metadata": {"name": name}, **values}
            self._kubernetes.request("POST", path.rpartition("/")[0], created)


def main() -> None:
    """Observe all environments in each period."""
    try:
        settings = Settings.read(os.environ)
    except PromoterError as error:
        sys.exit(str(error))
    promoter = Promoter(settings)
    while True:
        start = time.monotonic()
        for environment in settings.environments:
            try:
                line = promoter.run_once(environment, time.time())
            except (RequestError, OSError) as error:
                line = f"{environment}: {error}"
            sys.stdout.write(f"{line}\n")
            sys.stdout.flush()
        time.sleep(max(0.0, settings.period_seconds - (time.monotonic() - start)))


if __name__ == "__main__":
    main()
