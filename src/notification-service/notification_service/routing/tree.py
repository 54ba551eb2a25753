"""The routing tree: which routes an alert takes, as in Alertmanager. Pure."""

import datetime as dt
import uuid
from collections.abc import Iterator, Mapping
from typing import Final, Literal
from uuid import UUID

from msgspec import Struct

from notification_service.routing.matchers import Matcher, all_match

_GROUPS: Final = uuid.UUID("0f8c6f5e-8d56-5f0c-9f07-3a6a7f1d7f0e")

#: In ``group_by``: every alert is a group of its own.
EACH_ALERT: Final = "..."


class Escalation(Struct, frozen=True):
    """A further receiver, for alerts that nobody has acknowledged ``after`` their notification."""

    after: dt.timedelta
    receiver: str


class Route(Struct, frozen=True, kw_only=True):
    """A node of the tree, with what it inherits from its parents filled in."""

    #: The matchers from the root to here. It stays the same when other routes change.
    key: str
    receiver: str
    matchers: tuple[Matcher, ...] = ()
    group_by: tuple[str, ...] = ()
    group_wait: dt.timedelta = dt.timedelta(seconds=30)
    group_interval: dt.timedelta = dt.timedelta(minutes=5)
    repeat_interval: dt.timedelta = dt.timedelta(hours=4)
    remind_after: dt.timedelta | None = None
    escalate: tuple[Escalation, ...] = ()
    #: Go on with the next sibling after this route matched.
    go_on: bool = False
    routes: "tuple[Route, ...]" = ()

    def resolve(self, labels: Mapping[str, str]) -> "tuple[Route, ...]":
        """The routes that an alert takes below this node: the deepest matches."""
        if not all_match(self.matchers, labels):
            return ()
        found: list[Route] = []
        for child in self.routes:
            taken = child.resolve(labels)
            found.extend(taken)
            if taken and not child.go_on:
                break
        return tuple(found) or (self,)

    def group_labels(self, labels: Mapping[str, str], alert_id: UUID) -> dict[str, str]:
        """The labels that the alerts of one group have in common."""
        if self.group_by == (EACH_ALERT,):
            return {"alert_id": str(alert_id)}
        return {name: labels.get(name, "") for name in self.group_by}

    def walk(self) -> "Iterator[Route]":
        """This node and all below it."""
        yield self
        for child in self.routes:
            yield from child.walk()


class Inhibition(Struct, frozen=True):
    """Alerts that match ``target`` are hidden while an alert that matches ``source`` is open, and
    both have the same values of the labels ``equal``."""

    source: tuple[Matcher, ...]
    target: tuple[Matcher, ...]
    equal: tuple[str, ...]


class Webhook(Struct, frozen=True):
    """POST to a URL, signed. Exactly one of ``url`` and ``url_secret`` is given."""

    url: str | None
    url_secret: str | None
    key_secret: str


class Apprise(Struct, frozen=True):
    """A service that Apprise supports. The secret holds the URL, or several, one on each line."""

    secret: str


class OnCall(Struct, frozen=True):
    """Whoever is on call now; ``fallback`` is a receiver for the times when nobody is."""

    schedule: str
    fallback: str


class Receiver(Struct, frozen=True, kw_only=True):
    """Where notifications go, and how fast."""

    name: str
    target: Webhook | Apprise | OnCall
    send_resolved: bool = False
    format: Literal["text", "html", "chat"] | None = None
    #: Notifications of a steady stream per minute, and how many may be sent at once before.
    rate_per_minute: int = 60
    burst: int = 10
    #: More waiting notifications than this become one digest.
    digest_above: int = 20
    max_attempts: int = 8


class Schedule(Struct, frozen=True):
    """An on-call schedule: an iCal file, and the receiver of each person."""

    name: str
    file: str
    people: Mapping[str, str]


class Maintenance(Struct, frozen=True):
    """Maintenance windows from an iCal file: its events hide the alerts that match."""

    name: str
    file: str
    matchers: tuple[Matcher, ...]


class Tree(Struct, frozen=True, kw_only=True):
    """The complete routing file."""

    root: Route | None = None
    receivers: Mapping[str, Receiver] = {}
    inhibitions: tuple[Inhibition, ...] = ()
    schedules: Mapping[str, Schedule] = {}
    maintenance: tuple[Maintenance, ...] = ()

    def resolve(self, labels: Mapping[str, str]) -> tuple[Route, ...]:
        """The routes that an alert takes. Without a tree there is none."""
        if self.root is None:
            return ()
        unique = {route.key: route for route in self.root.resolve(labels)}
        return tuple(unique.values())

    def routes(self) -> dict[str, Route]:
        """All routes by key."""
        return {route.key: route for route in self.root.walk()} if self.root else {}


def group_key(route: Route, labels: Mapping[str, str]) -> UUID:
    """The identifier of a group: of the route and of the labels in common."""
    text = "\0".join([route.key, *(f"{name}\0{labels[name]}" for name in sorted(labels))])
    return uuid.uuid5(_GROUPS, text)
