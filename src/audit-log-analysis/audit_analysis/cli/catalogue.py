"""Reads the metadata of rules without building them: for lists, charts and advice."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from audit_analysis.sigma import documents
from audit_analysis.sigma.documents import TESTS, Document
from audit_analysis.sigma.errors import RuleFault

#: Keys that are optional in a rule but that the recipient of an alert needs.
_WANTED: Final = ("description", "level", "tags", "falsepositives")
_SOURCE_KEYS: Final = ("product", "service", "category")


class Entry(Struct, frozen=True, kw_only=True):
    """The metadata of a rule. A rule that ``feeds`` a correlation makes no findings of its own."""

    path: Path
    line: int
    id: str
    title: str
    level: str
    status: str
    source: str
    kind: str
    tags: tuple[str, ...]
    feeds: bool
    advice: tuple[str, ...]


def read(paths: Iterable[Path]) -> list[Entry]:
    """All rules, ordered by source and title. Documents that are not rules are skipped."""
    faults: list[RuleFault] = []
    found = [
        document
        for document in documents.read(documents.files(paths), faults)
        if isinstance(document.content, dict)
        and {"detection", "correlation"} & document.content.keys()
    ]
    by_name = {
        str(document.content[key]): document
        for document in found
        for key in ("id", "name")
        if key in document.content
    }
    inputs = {name for document in found for name in _exclusive_inputs(document.content)}
    entries = [_entry(document, by_name, inputs) for document in found]
    return sorted(entries, key=lambda entry: (entry.source, entry.title))


def _entry(document: Document, by_name: Mapping[str, Document], inputs: set[str]) -> Entry:
    content = document.content
    feeds = bool(inputs & {str(content.get("id")), str(content.get("name"))})
    return Entry(
        path=document.path,
        line=document.line,
        id=str(content.get("id", "")),
        title=str(content.get("title", "")),
        level=str(content.get("level", "medium")),
        status=str(content.get("status", "")),
        source=", ".join(sorted(_sources(content, by_name))),
        kind=_kind(content),
        tags=tuple(map(str, _list(content.get("tags")))),
        feeds=feeds,
        advice=() if feeds else tuple(_advice(document)),
    )


def _kind(content: Mapping[str, Any]) -> str:
    correlation = content.get("correlation")
    if isinstance(correlation, dict):
        return str(correlation.get("type"))
    options = content.get("auditflow")
    grouped = isinstance(options, dict) and options.get("group-by")
    return "event, grouped" if grouped else "event"


def _sources(content: Mapping[str, Any], by_name: Mapping[str, Document]) -> set[str]:
    """The log sources of a rule; those of a correlation are the log sources of its rules."""
    sources: set[str] = set()
    # A correlation may depend on itself; lint reports it.
    visited: set[str] = set()
    remaining = [content]
    while remaining:
        content = remaining.pop()
        correlation, source = content.get("correlation"), content.get("logsource")
        if isinstance(correlation, dict):
            names = {str(name) for name in _list(correlation.get("rules"))} - visited
            visited |= names
            remaining += [by_name[name].content for name in names & by_name.keys()]
        elif isinstance(source, dict):
            parts = [str(source[key]) for key in _SOURCE_KEYS if source.get(key)]
            sources.add(" ".join(parts))
    return sources


def _exclusive_inputs(content: Mapping[str, Any]) -> set[str]:
    """The rules that make no findings of their own because of a correlation."""
    correlation = content.get("correlation")
    if not isinstance(correlation, dict) or correlation.get("generate"):
        return set()
    return {str(name) for name in _list(correlation.get("rules"))}


def _list(value: Any) -> list[Any]:
    """The value if it is a list. The file may have a value of another type; lint reports it."""
    return value if isinstance(value, list) else []


def _advice(document: Document) -> Iterable[str]:
    content = document.content
    for key in _WANTED:
        if not content.get(key):
            yield f"has no {key}"
    options = content.get("auditflow")
    if not isinstance(options, dict) or not options.get("runbook"):
        yield "has no auditflow.runbook: the recipient of an alert needs instructions"
    if not document.path.with_name(document.path.stem + TESTS).is_file():
        yield f"has no tests ({document.path.stem}{TESTS})"
