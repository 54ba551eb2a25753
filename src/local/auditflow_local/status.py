"""State of each component, from its pid record and a request to it."""

from collections.abc import Mapping
from dataclasses import dataclass

from rich.table import Table

from auditflow_local import certificates, ports
from auditflow_local.identity import Identity, Record
from auditflow_local.layout import Layout
from auditflow_local.processes import http_ok
from auditflow_local.services import SERVICES

_SERVERS = ("rabbitmq", "postgres", "redis")
#: Optional. Those that never ran are not shown.
MONITORING = ("inbox", "prometheus", "postgres-exporter", "redis-exporter")
_COLOURS = {"ready": "green", "not ready": "yellow", "stopped": "red"}


@dataclass(frozen=True)
class Row:
    """State of a component."""

    name: str
    #: "ready", "not ready" (it runs but does not answer) or "stopped"
    state: str
    address: str
    identity: Identity | None

    @property
    def ready(self) -> bool:
        return self.state == "ready"


def rows(layout: Layout, at: Mapping[str, int], *, tls: bool = False) -> list[Row]:
    """Return all components, servers first. ``at`` contains their ports by name."""
    found = []
    context = certificates.ensure(layout.certificates).client_context() if tls else None
    for name in _SERVERS:
        identity = _alive(Record.read(layout.server(name) / f"{name}.process"))
        answers = not ports.is_free(at[name])
        found.append(Row(name, _state(identity, answers), f"{ports.LOOPBACK}:{at[name]}", identity))
    for service in SERVICES:
        identity = _alive(Record.read(layout.record(service.name)))
        answers = identity is not None and http_ok(ports.LOOPBACK, at[service.name], tls=context)
        address = f"{'https' if tls else 'http'}://localhost:{at[service.name]}"
        found.append(Row(service.name, _state(identity, answers), address, identity))
    for name in MONITORING:
        record = Record.read(layout.server(name) / f"{name}.process")
        if record:
            identity = _alive(record)
            answers = not ports.is_free(at[name])
            address = f"http://localhost:{at[name]}"
            found.append(Row(name, _state(identity, answers), address, identity))
    return found


def table(of: list[Row]) -> Table:
    """Return the rows as a table."""
    result = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("", "state", "process", "memory", "address"):
        result.add_column(column, justify="right" if column in {"process", "memory"} else "left")
    for row in of:
        pid = str(row.identity.pid) if row.identity else "-"
        memory = f"{row.identity.memory() / 2**20:.0f} MiB" if row.identity else "-"
        state = f"[{_COLOURS[row.state]}]{row.state}[/]"
        result.add_row(row.name, state, pid, memory, row.address)
    return result


def _alive(record: Record | None) -> Identity | None:
    return record.identity if record and record.identity.alive else None


def _state(identity: Identity | None, answers: bool) -> str:
    if identity is None:
        return "stopped"
    return "ready" if answers else "not ready"
