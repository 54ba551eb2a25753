"""The users, hosts, addresses and resources that took part in the events of a finding."""

from typing import Final, Literal

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from auditflow.contract.finding import Finding

Kind = Literal["user", "host", "address", "resource"]

#: Longest value in the index, in characters. A longer value is indexed by its beginning.
MAX_VALUE: Final = 500

#: Fields of an entity or an event, and the kind of observable that they contain.
KIND_OF_FIELD: Final[dict[str, Kind]] = {
    "user_id": "user",
    "user": "user",
    "actor": "user",
    "server_hostname": "host",
    "host": "host",
    "client_ip": "address",
    "ip_address": "address",
    "resource": "resource",
}
_ORDER: Final[tuple[Kind, ...]] = ("user", "address", "host", "resource")


class Observable(Struct, frozen=True, order=True):
    """A value as the index stores it: in lower case and of bounded length."""

    kind: Kind
    value: str


class _Event(Struct):
    """The parts of a complete event that identify who or what took part."""

    user_id: str | None = None
    server_hostname: str | None = None
    client_ip: str | None = None
    resource: str | None = None


_decode_event = msgspec.json.Decoder(_Event).decode


def normalize(value: str) -> str:
    """The form in which values are stored and searched."""
    return value.lower()[:MAX_VALUE]


def of_finding(finding: Finding) -> set[Observable]:
    """All observables of a finding: its fields, its entity, its events and those that it lists."""
    return {
        Observable(kind, normalize(value))
        for kind, value in _values(finding)
        if value and value.strip()
    }


def main_entity(finding: Finding) -> tuple[Kind, str] | tuple[None, None]:
    """The observable whose risk is the risk of the finding's alert.

    It is a field that the rule groups by, or else a field of the last event; a user comes before
    an address, a host and a resource.
    """
    grouped: dict[Kind, str] = {}
    for name, value in sorted(finding.entity.items()):
        if (kind := KIND_OF_FIELD.get(name)) and value:
            grouped.setdefault(kind, value)
    last: dict[Kind, str | None] = {
        "user": finding.actor,
        "address": finding.client_ip,
        "host": finding.server_hostname,
        "resource": finding.resource,
    }
    for kind in _ORDER:
        if grouped_value := grouped.get(kind):
            return kind, normalize(grouped_value)
    for kind in _ORDER:
        if last_value := last[kind]:
            return kind, normalize(last_value)
    return None, None


def _values(finding: Finding) -> set[tuple[Kind, str | None]]:
    values: set[tuple[Kind, str | None]] = {
        ("user", finding.actor),
        ("host", finding.server_hostname),
        ("address", finding.client_ip),
        ("resource", finding.resource),
    }
    for name, entity_value in finding.entity.items():
        if entity_kind := KIND_OF_FIELD.get(name):
            values.add((entity_kind, entity_value))
    listed = finding.observables
    values.update(("user", value) for value in listed.users)
    values.update(("host", value) for value in listed.hosts)
    values.update(("address", value) for value in listed.addresses)
    values.update(("resource", value) for value in listed.resources)
    evidence = finding.evidence
    _add_event(values, evidence.first_event)
    if evidence.last_event != evidence.first_event:
        _add_event(values, evidence.last_event)
    return values


def _add_event(values: set[tuple[Kind, str | None]], raw: Raw | UnsetType) -> None:
    if raw is UNSET:
        return
    try:
        event = _decode_event(raw)
    except msgspec.MsgspecError:
        return  # The event of a foreign producer may have other types; its finding names the rest.
    values.add(("user", event.user_id))
    values.add(("host", event.server_hostname))
    values.add(("address", event.client_ip))
    values.add(("resource", event.resource))
