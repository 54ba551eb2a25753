"""The images of the services as containers that use the servers of the test."""

import shutil
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path

from auditflow_local import ports
from auditflow_local.polling import eventually
from auditflow_local.processes import INHERITED, http_ok
from auditflow_local.servers.postgres_roles import APP
from auditflow_local.services import BY_NAME, Dependencies, Service, command

from .engine import SECRETS, Engine, find

AWAIT_SCHEMA = "notification-service-await-schema"
#: In the order in which they start: who answers first, then who asks.
SERVICES = (
    "notification-service",
    "audit-log-analysis",
    "audit-event-generator",
    "event-audit-dashboard",
)
#: What containers run: what the local platform does, and what only pods need.
_PROGRAMS = {**BY_NAME, AWAIT_SCHEMA: Service(AWAIT_SCHEMA, postgres=APP)}


def image(service: str) -> str:
    """The name of the image that `make images` builds."""
    return f"auditflow-{service}:local"


@cache
def engine() -> Engine | str:
    """The engine with all four images, or what is missing."""
    item = find()
    if item is None:
        return "needs docker or podman"
    missing = [service for service in SERVICES if not item.has(image(service))]
    if missing:
        return f"{item.tool} has no image of {', '.join(missing)}: run make images"
    return item


@dataclass
class Containers:
    """Starts programs of the images, variables what the manifests tell them."""

    engine: Engine
    around: Dependencies
    folder: Path
    #: The dashboard asks the notification service where `around` says that it is.
    ports: dict[str, int] = field(default_factory=dict)
    started: dict[str, str] = field(default_factory=dict)

    def run(self, service: str, program: str) -> str:
        """Run one program of a service's image to its end; what it prints."""
        env, secrets = self._environment(program)
        return self.engine.run(image(service), f"/app/bin/{program}", env=env, mount=secrets)

    def start(self, service: str) -> None:
        """Start a service on a port of its own."""
        api = service == "notification-service"
        self.ports[service] = self.around.api_port if api else ports.pick()
        env, secrets = self._environment(service, port=self.ports[service])
        self.started[service] = self.engine.start(image(service), env=env, mount=secrets)

    def wait_until_ready(self, service: str) -> None:
        """Return when both probes of the pod would be content."""
        for probe in ("/healthz", "/readyz"):
            content = partial(http_ok, "127.0.0.1", self.ports[service], probe)
            try:
                eventually(content, what=f"{service}: {probe}")
            except AssertionError as late:
                raise AssertionError(f"{late}\n{self.log(service)}") from None

    def stop(self, service: str) -> int:
        """As the kubelet does, with ten seconds; its exit code."""
        return self.engine.stop(self.started[service])

    def log(self, service: str) -> str:
        """All that it wrote."""
        return self.engine.log(self.started[service])

    def remove(self) -> None:
        """Leave nothing behind."""
        for container in self.started.values():
            self.engine.remove(container)

    def _environment(self, program: str, *, port: int | None = None) -> tuple[dict[str, str], Path]:
        """Variables, and a folder of secrets that the container's user may read."""
        ours = self.folder / program
        arguments = command(
            _PROGRAMS[program], self.around, secrets_folder=ours / "private", port=port
        )
        # The kubelet lets the pod's group read them; this user is in none.
        public = ours / "public"
        shutil.copytree(ours / "private", public)
        public.chmod(0o755)
        for file in public.iterdir():
            file.chmod(0o444)
        variables = {name: arguments.env[name] for name in arguments.env.keys() - set(INHERITED)}
        return {**variables, "SECRETS_DIR": SECRETS}, public
