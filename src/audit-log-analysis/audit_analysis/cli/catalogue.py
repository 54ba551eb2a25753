"""What rule files say of themselves, without building them: for lists, charts and advice."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from audit_analysis.sigma import documents
from audit_analysis.sigma.documents import TESTS, Document
from audit_analysis.sigma.errors import RuleFault

#: Keys that a rule can do without, and that whoever is woken by it cannot.
_WANTED: Final = ("description", "level", "tags", "falsepositives")


class Entry(Struct, frozen=True, kw_only=True):
    """A rule. ``feeds`` says that it only counts for a correlation, and never fires by itself."""

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


def read(places: Iterable[Path]) -> list[Entry]:
    """Every rule, by source and title. Documents that are no rules are left out."""
    faults: list[RuleFault] = []
    found = [
        one
        for one in documents.read(documents.files(places), faults)
        if isinstance(one.content, dict) and {"detection", "correlation"} & one.content.keys()
    ]
    named = {
        str(one.content[key]): one for one in found for key in ("id", "name") if key in one.content
    }
    fed = {name for one in found for name in _feeders(one.content)}
    entries = [_entry(one, named, fed) for one in found]
    return sorted(entries, key=lambda entry: (entry.source, entry.title))


def _entry(document: Document, named: Mapping[str, Document], fed: set[str]) -> Entry:
    said = document.content
    feeds = bool(fed & {str(said.get("id")), str(said.get("name"))})
    return Entry(
        path=document.path,
        line=document.line,
        id=str(said.get("id", "")),
        title=str(said.get("title", "")),
        level=str(said.get("level", "medium")),
        status=str(said.get("status", "")),
        source=", ".join(sorted(_sources(said, named))),
        kind=_kind(said),
        tags=tuple(map(str, said.get("tags") or ())),
        feeds=feeds,
        advice=() if feeds else tuple(_advice(document)),
    )


def _kind(said: Mapping[str, Any]) -> str:
    correlation = said.get("correlation")
    if isinstance(correlation, dict):
        return str(correlation.get("type"))
    options = said.get("auditflow")
    grouped = isinstance(options, dict) and options.get("group-by")
    return "event, grouped" if grouped else "event"


def _sources(
    said: Mapping[str, Any], named: Mapping[str, Document], above: frozenset[str] = frozenset()
) -> set[str]:
    correlation = said.get("correlation")
    if isinstance(correlation, dict):
        names = {str(name) for name in correlation.get("rules") or ()} - above
        bases = [named[name] for name in sorted(names & named.keys())]
        # A correlation that rests on itself is at fault, which is for the linter to say.
        return {one for base in bases for one in _sources(base.content, named, above | names)}
    source = said.get("logsource")
    if not isinstance(source, dict):
        return set()
    parts = [str(source[key]) for key in ("product", "service", "category") if source.get(key)]
    return {" ".join(parts)}


def _feeders(said: Mapping[str, Any]) -> set[str]:
    """The rules that a correlation takes for itself."""
    correlation = said.get("correlation")
    if not isinstance(correlation, dict) or correlation.get("generate"):
        return set()
    return {str(name) for name in correlation.get("rules") or ()}


def _advice(document: Document) -> Iterable[str]:
    said = document.content
    for key in _WANTED:
        if not said.get(key):
            yield f"has no {key}"
    options = said.get("auditflow")
    if not isinstance(options, dict) or not options.get("runbook"):
        yield "has no auditflow.runbook: whoever gets the alert will ask what to do"
    if not document.path.with_name(document.path.stem + TESTS).is_file():
        yield f"has no tests beside it ({document.path.stem}{TESTS})"
