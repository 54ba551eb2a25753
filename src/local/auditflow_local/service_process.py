"""A service as a process."""

from collections.abc import Callable, Mapping
from ipaddress import IPv4Address
from pathlib import Path

from auditflow_local import services
from auditflow_local.processes import Child, Command, http_ok
from auditflow_local.services import Dependencies, Service


class ServiceProcess:
    """A service with the same operations as ``Server``."""

    def __init__(
        self,
        service: Service,
        dependencies: Dependencies,
        *,
        port: int,
        log: Path,
        record: Path,
        secrets_folder: Path,
        host: str = "127.0.0.1",
        variables: Mapping[str, str] | None = None,
        confine: Callable[[Command], Command] | None = None,
        start_seconds: float = 60.0,
        stop_seconds: float = 10.0,
    ) -> None:
        """``confine`` changes the command, for example to run it as another user.

        ``start_seconds`` and ``stop_seconds`` limit a start and a stop.
        """
        self.name = service.name
        self.port = port
        # The address for requests, also when the service listens on all addresses.
        self.host = "127.0.0.1" if host == str(IPv4Address(0)) else host
        self.variables = dict(variables or {})
        self._service = service
        self._dependencies = dependencies
        self._tls = dependencies.tls.client_context() if dependencies.tls else None
        self._bind = host
        self._secrets_folder = secrets_folder
        self._confine = confine
        self._start_seconds = start_seconds
        self._child = Child(service.name, log=log, record=record, stop_seconds=stop_seconds)

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://{self.host}:{self.port}"

    @property
    def log(self) -> Path:
        return self._child.log

    @property
    def pid(self) -> int | None:
        return self._child.pid

    @property
    def running(self) -> bool:
        return self._child.running

    @property
    def exit_code(self) -> int | None:
        """The exit code or negative signal number. None while it runs and before its start."""
        return self._child.exit_code

    def ready(self) -> bool:
        """Return whether the service and its dependencies are ready."""
        return http_ok(self.host, self.port, "/readyz", tls=self._tls)

    def alive(self) -> bool:
        """Return whether the service is alive, regardless of its dependencies."""
        return http_ok(self.host, self.port, "/healthz", tls=self._tls)

    def start(self) -> None:
        """Start it and return when it is ready.

        Raises:
            StartError: it ended or was not ready in time. The text contains the end of its log.
        """
        self._spawn()
        self._wait(self.ready)

    def respawn(self) -> None:
        """Start it and return when it is alive. It waits for its dependencies by itself."""
        self._spawn()
        self._wait(self.alive)

    def stop(self) -> None:
        """Send SIGTERM, and SIGKILL after ``stop_seconds``."""
        self._child.stop()

    def kill(self) -> None:
        """Send SIGKILL, which has the effect of a crash."""
        self._child.kill()

    def restart(self) -> None:
        self.stop()
        self.start()

    def _spawn(self) -> None:
        command = services.command(
            self._service,
            self._dependencies,
            secrets_folder=self._secrets_folder,
            host=self._bind,
            port=self.port,
            variables=self.variables,
        )
        self._child.spawn(self._confine(command) if self._confine else command)

    def _wait(self, condition: Callable[[], bool]) -> None:
        try:
            self._child.wait_ready(condition, seconds=self._start_seconds)
        except BaseException:
            self._child.kill()
            raise
