"""Rendered manifests and their difference, object by object. Pure."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

#: YAML text by object name, for example ``Deployment auditflow-dev/notification-service``.
Objects = Mapping[str, str]


@dataclass(frozen=True)
class Change:
    """A changed object. ``kind`` is added, removed or changed; ``lines`` is its unified diff."""

    name: str
    kind: str
    lines: tuple[str, ...]


def objects(rendered: str) -> dict[str, str]:
    """The objects of a YAML stream, by name. Values of Secrets are masked."""
    by_name: dict[str, str] = {}
    for document in yaml.load_all(rendered, Loader=_LOADER):
        if isinstance(document, dict):
            by_name[_name(document)] = yaml.safe_dump(_masked(document), sort_keys=True, width=1000)
    return by_name


def changes(before: Objects, after: Objects) -> tuple[Change, ...]:
    """The differences between two sets of objects, sorted by name."""
    return tuple(
        _change(name, before.get(name), after.get(name))
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name)
    )


_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def _name(document: dict[str, Any]) -> str:
    metadata = document.get("metadata") or {}
    qualified_name = "/".join(
        str(part) for part in (metadata.get("namespace"), metadata.get("name")) if part
    )
    return f"{document.get('kind')} {qualified_name}"


def _masked(document: dict[str, Any]) -> dict[str, Any]:
    if document.get("kind") != "Secret":
        return document
    masked = {
        key: dict.fromkeys(document[key], "(not shown)")
        for key in ("data", "stringData")
        if isinstance(document.get(key), dict)
    }
    return {**document, **masked}


def _change(name: str, before: str | None, after: str | None) -> Change:
    kind = "changed" if before and after else "added" if after else "removed"
    compared = difflib.unified_diff(
        (before or "").splitlines(), (after or "").splitlines(), lineterm="", n=3
    )
    # Skip the first two lines: they contain file names.
    return Change(name, kind, tuple(compared)[2:])
