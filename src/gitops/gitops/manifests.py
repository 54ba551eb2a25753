"""Rendered manifests and their difference, object by object. Pure."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

#: An object's place, for people: ``Deployment auditflow-dev/notification-service``.
Objects = Mapping[str, str]


@dataclass(frozen=True)
class Change:
    """One object that differs. ``lines`` is its unified difference, without file names."""

    name: str
    kind: str
    lines: tuple[str, ...]


def objects(rendered: str) -> dict[str, str]:
    """The objects of a stream of YAML documents, by name. Values of Secrets are masked."""
    found: dict[str, str] = {}
    for document in yaml.load_all(rendered, Loader=_LOADER):
        if isinstance(document, dict):
            found[_name(document)] = yaml.safe_dump(_masked(document), sort_keys=True, width=1000)
    return found


def changes(before: Objects, after: Objects) -> tuple[Change, ...]:
    """What differs between two sets of objects: by name, each added, removed or changed."""
    return tuple(
        _change(name, before.get(name), after.get(name))
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name)
    )


_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def _name(document: dict[str, Any]) -> str:
    metadata = document.get("metadata") or {}
    place = "/".join(
        str(part) for part in (metadata.get("namespace"), metadata.get("name")) if part
    )
    return f"{document.get('kind')} {place}"


def _masked(document: dict[str, Any]) -> dict[str, Any]:
    if document.get("kind") != "Secret":
        return document
    hidden = {
        key: dict.fromkeys(document[key], "(not shown)")
        for key in ("data", "stringData")
        if isinstance(document.get(key), dict)
    }
    return {**document, **hidden}


def _change(name: str, before: str | None, after: str | None) -> Change:
    kind = "changed" if before and after else "added" if after else "removed"
    compared = difflib.unified_diff(
        (before or "").splitlines(), (after or "").splitlines(), lineterm="", n=3
    )
    # The first two lines name files, of which there are none.
    return Change(name, kind, tuple(compared)[2:])
