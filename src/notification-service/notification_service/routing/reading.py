"""From the routing file to the tree. All errors are found at once, each with its location."""

import datetime as dt
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from notification_service.routing import durations, labels
from notification_service.routing.document import DocumentError, Faults, Node, compose
from notification_service.routing.matchers import NAME, Matcher
from notification_service.routing.matchers import parse as parse_matcher
from notification_service.routing.receivers_reading import read_receiver
from notification_service.routing.tree import (
    EACH_ALERT,
    Escalation,
    Inhibition,
    Maintenance,
    OnCall,
    Receiver,
    Route,
    Schedule,
    Tree,
)

_TOP: Final = ("route", "receivers", "inhibit_rules", "schedules", "maintenance")
_INTERVALS: Final = ("group_wait", "group_interval", "repeat_interval")
_ROUTE: Final = (
    "receiver", "matchers", "group_by", *_INTERVALS, "remind_after", "escalate", "continue",
    "routes",
)  # fmt: skip
MAX_ROUTES: Final = 500
MAX_ESCALATIONS: Final = 5
#: A file name in the folder of the routing file; no path leads out of it.
_FILE: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,100}")
_SECOND: Final = dt.timedelta(seconds=1)


def read(text: str, *, name: str = "routes.yaml") -> Tree:
    """Read a routing file. An empty file is a tree without routes: nothing is sent.

    Raises:
        DocumentError: all errors, each with line and column.
    """
    root, faults = compose(text)
    tree = _Reader(faults).tree(root) if root is not None else Tree()
    if faults:
        raise DocumentError(name, tuple(sorted(set(faults))))
    return tree


class _Reader:
    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self._receivers: dict[str, Receiver] = {}
        self._used: list[tuple[Node, str]] = []
        self._keys: set[str] = set()

    def tree(self, root: Node) -> Tree:
        fields = root.mapping(_TOP, required=("route", "receivers"))
        if "receivers" in fields:
            self._receivers = self._named(fields["receivers"], self._receiver)
        schedules = self._named(fields["schedules"], _schedule) if "schedules" in fields else {}
        route = self._route(fields["route"], None) if "route" in fields else None
        inhibitions = fields["inhibit_rules"].items() if "inhibit_rules" in fields else []
        maintenance = (
            self._named(fields["maintenance"], _maintenance) if "maintenance" in fields else {}
        )
        tree = Tree(
            root=route,
            receivers=self._receivers,
            inhibitions=tuple(map(_inhibition, inhibitions)),
            schedules=schedules,
            maintenance=tuple(maintenance.values()),
        )
        self._check_names(tree, fields)
        return tree

    def _named(self, node: Node, read_one: Callable[[Node], Any]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for item in node.items():
            value = read_one(item)
            if value.name in found:
                item.fault(f"there is another one with the name {value.name!r}")
            found[value.name] = value
        return found

    def _receiver(self, node: Node) -> Receiver:
        return read_receiver(node, self._used)

    def _check_names(self, tree: Tree, fields: Mapping[str, Node]) -> None:
        for node, name in self._used:
            if name not in self._receivers:
                known = ", ".join(sorted(self._receivers)) or "none"
                node.fault(f"there is no receiver {name[:80]!r}; the receivers are {known}")
        on_call = {
            name: receiver.target
            for name, receiver in self._receivers.items()
            if isinstance(receiver.target, OnCall)
        }
        for item in fields["receivers"].items() if "receivers" in fields else []:
            target = on_call.get(_name_of(item) or "")
            if target is None:
                continue
            if target.schedule not in tree.schedules:
                item.fault(f"there is no schedule {target.schedule[:80]!r}")
            if target.fallback in on_call:
                item.fault(f"{target.fallback!r} is an on-call receiver; name a direct one")
        for item in fields["schedules"].items() if "schedules" in fields else []:
            schedule = tree.schedules.get(_name_of(item) or "")
            for person, receiver in schedule.people.items() if schedule else ():
                if receiver not in self._receivers or receiver in on_call:
                    item.fault(
                        f"{person[:80]!r} must have a receiver that is not an on-call receiver"
                    )

    def _route(self, node: Node, parent: Route | None) -> Route:
        fields = node.mapping(_ROUTE, required=() if parent else ("receiver",))
        for name in ("matchers", "continue"):
            if parent is None and name in fields:
                fields.pop(name).fault("the first route takes every alert; put this on a sub-route")
        values: dict[str, Any] = {}
        if "receiver" in fields:
            values["receiver"] = fields["receiver"].text()
            self._used.append((fields["receiver"], values["receiver"]))
        if "group_by" in fields:
            values["group_by"] = _group_by(fields["group_by"])
        for name in (*_INTERVALS, "remind_after"):
            if name in fields:
                values[name] = _duration(fields[name])
        self._check_intervals(values, fields)
        if "escalate" in fields:
            values["escalate"] = self._escalations(fields["escalate"])
        inherited = {
            name: getattr(parent, name)
            for name in ("receiver", "group_by", *_INTERVALS, "remind_after", "escalate")
            if parent is not None
        }
        values = {**inherited, **values}
        matchers = _matchers(fields["matchers"]) if "matchers" in fields else ()
        conditions = ",".join(sorted(map(str, matchers)))
        key = f"{parent.key if parent else ''}/{{{conditions}}}>{values.get('receiver', '')}"
        if key in self._keys:
            node.fault("an earlier route has the same matchers and the same receiver")
        self._keys.add(key)
        if len(self._keys) > MAX_ROUTES:
            node.fault(f"there are more than {MAX_ROUTES} routes")
            return Route(key=key, receiver="")
        route = Route(
            key=key,
            receiver=values.pop("receiver", ""),
            matchers=matchers,
            go_on=fields["continue"].boolean() if "continue" in fields else False,
            **values,
        )
        children = fields["routes"].items() if "routes" in fields else []
        return _with_routes(route, tuple(self._route(child, route) for child in children))

    def _escalations(self, node: Node) -> tuple[Escalation, ...]:
        found: list[Escalation] = []
        for item in node.items()[:MAX_ESCALATIONS]:
            fields = item.mapping(("after", "receiver"), required=("after", "receiver"))
            if len(fields) < 2:
                continue
            step = Escalation(_duration(fields["after"]), fields["receiver"].text())
            self._used.append((fields["receiver"], step.receiver))
            if found and step.after <= found[-1].after:
                fields["after"].fault("must be later than the step before")
            found.append(step)
        if len(node.items()) > MAX_ESCALATIONS:
            node.fault(f"has more than {MAX_ESCALATIONS} steps")
        return tuple(found)

    @staticmethod
    def _check_intervals(values: Mapping[str, Any], fields: Mapping[str, Node]) -> None:
        for name in ("group_interval", "repeat_interval", "remind_after"):
            if name in values and values[name] < _SECOND:
                fields[name].fault("must be at least 1s")


def _name_of(node: Node) -> str | None:
    for key, value in node.entries():
        if key == "name":
            return str(value.node.value)
    return None


def _with_routes(route: Route, routes: tuple[Route, ...]) -> Route:
    values = {name: getattr(route, name) for name in route.__struct_fields__}
    return Route(**{**values, "routes": routes})


def _duration(node: Node) -> dt.timedelta:
    return node.faults.catch(node, lambda: durations.parse(node.text("1s")), _SECOND)


def _matcher(node: Node) -> Matcher | None:
    text = node.text()
    if not text:
        return None
    return node.faults.catch(node, lambda: _known(parse_matcher(text)), None)


def _matchers(node: Node) -> tuple[Matcher, ...]:
    return tuple(filter(None, map(_matcher, node.items())))


def _known(matcher: Matcher) -> Matcher:
    if matcher.name not in labels.NAMES and not matcher.name.startswith("entity."):
        raise ValueError(_no_label(matcher.name))
    return matcher


def _no_label(name: str) -> str:
    return f"alerts have no label {name[:80]!r}, only {', '.join(labels.NAMES)} and entity.<field>"


def _label(node: Node) -> str:
    name = node.text()
    if (
        name
        and name not in labels.NAMES
        and not (name.startswith("entity.") and NAME.fullmatch(name))
    ):
        node.fault(_no_label(name))
    return name


def _group_by(node: Node) -> tuple[str, ...]:
    items = node.items()
    if len(items) == 1 and items[0].node.value == EACH_ALERT:
        return (EACH_ALERT,)
    return tuple(dict.fromkeys(map(_label, items)))


def _inhibition(node: Node) -> Inhibition:
    names = ("source_matchers", "target_matchers", "equal")
    fields = node.mapping(names, required=names[:2])
    source, target = (_matchers(fields[name]) if name in fields else () for name in names[:2])
    for name, matchers in zip(names, (source, target), strict=False):
        if name in fields and not matchers:
            fields[name].fault("must have a matcher")
    equal = tuple(map(_label, fields["equal"].items())) if "equal" in fields else ()
    return Inhibition(source, target, equal)


def file_name(node: Node) -> str:
    """The name of a file beside the routing file."""
    name = node.text("none")
    if not _FILE.fullmatch(name):
        node.fault("must be the name of a file beside the routing file")
    return name


def _schedule(node: Node) -> Schedule:
    fields = node.mapping(("name", "file", "people"), required=("name", "file", "people"))
    people = {}
    if "people" in fields:
        people = {name.lower(): value.text() for name, value in fields["people"].entries()}
    return Schedule(
        fields["name"].text() if "name" in fields else "",
        file_name(fields["file"]) if "file" in fields else "",
        people,
    )


def _maintenance(node: Node) -> Maintenance:
    fields = node.mapping(("name", "file", "matchers"), required=("name", "file", "matchers"))
    matchers = (
        tuple(filter(None, map(_matcher, fields["matchers"].items())))
        if "matchers" in fields
        else ()
    )
    if "matchers" in fields and not matchers:
        fields["matchers"].fault("must have a matcher, or it would hide every alert")
    return Maintenance(
        fields["name"].text() if "name" in fields else "",
        file_name(fields["file"]) if "file" in fields else "",
        matchers,
    )
