"""The rules as their files describe them, with their source, for people who read alerts."""

import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct

from audit_analysis.ruletools import coverage
from audit_analysis.ruletools.coverage import Tagged
from audit_analysis.sigma import documents
from audit_analysis.sigma.documents import TESTS, Document
from audit_analysis.sigma.errors import RuleFault

#: Longest text of a rule's source, in characters. Rules have a few hundred.
MAX_SOURCE: Final = 50_000


class InputRule(Struct, frozen=True):
    """A rule whose events a correlation counts. Exclusions apply to it."""

    id: str
    logsource: dict[str, str]


class CatalogueRule(Struct, frozen=True, kw_only=True):
    """A rule without its source. ``feeds`` rules make no findings of their own."""

    id: str
    title: str
    level: str
    status: str
    kind: str
    description: str
    file: str
    line: int
    logsource: dict[str, str]
    tags: tuple[str, ...]
    falsepositives: tuple[str, ...]
    runbook: str | None
    tests: int
    feeds: bool
    inputs: tuple[InputRule, ...] = ()


class Exclusion(Struct, frozen=True, kw_only=True):
    """A Sigma filter. ``rules`` are identifiers or names of rules; empty for any rule."""

    id: str
    title: str
    rules: tuple[str, ...]
    owner: str
    reason: str
    expires: str
    source: str


class Cell(Struct, frozen=True):
    """A technique of ATT&CK in a tactic, and the identifiers of its rules."""

    id: str
    name: str
    rules: tuple[str, ...]


class Column(Struct, frozen=True):
    """A tactic of ATT&CK with the techniques that rules cover."""

    id: str
    name: str
    techniques: tuple[Cell, ...]


class RuleSource(Struct, frozen=True):
    """The YAML text of a rule, and that of its tests; ``tests`` is empty without tests."""

    source: str
    tests: str


class Catalogue(Struct, frozen=True):
    """All rules and exclusions, and the ATT&CK matrix of the rules that make findings."""

    rules: tuple[CatalogueRule, ...] = ()
    exclusions: tuple[Exclusion, ...] = ()
    matrix: tuple[Column, ...] = ()


class RuleCatalogue:
    """Reads rule files when they have changed. It is thread-safe."""

    def __init__(self, paths: Iterable[Path]) -> None:
        self._paths = tuple(paths)
        self._lock = threading.Lock()
        self._fingerprint: tuple[Any, ...] | None = None
        self._encoded = b""
        self._sources: dict[str, RuleSource] = {}

    def encoded(self) -> bytes:
        """The catalogue as JSON."""
        self._refresh()
        return self._encoded

    def source(self, rule_id: str) -> RuleSource | None:
        """The text of a rule and of its tests, or None if there is no rule with this identifier."""
        self._refresh()
        return self._sources.get(rule_id)

    def _refresh(self) -> None:
        with self._lock:
            fingerprint = tuple(_fingerprints(documents.watched(self._paths)))
            if fingerprint == self._fingerprint:
                return
            catalogue, self._sources = read(self._paths)
            self._encoded = msgspec.json.encode(catalogue)
            self._fingerprint = fingerprint


def read(paths: Iterable[Path]) -> tuple[Catalogue, dict[str, RuleSource]]:
    """The catalogue, and the source of each rule by its identifier. Faulty files are left out."""
    faults: list[RuleFault] = []
    found = [
        document
        for document in documents.read(documents.files(paths), faults)
        if isinstance(document.content, dict)
    ]
    texts = {document.path: _text(document.path) for document in found}
    sources = {id(document): _source(document, found, texts[document.path]) for document in found}
    rules = [item for item in found if {"detection", "correlation"} & item.content.keys()]
    by_name = {
        str(item.content[key]): item
        for item in rules
        for key in ("name", "id")
        if key in item.content
    }
    inputs = {str(name) for item in rules if _feeds(item.content) for name in _inputs(item.content)}
    described = tuple(_rule(item, by_name, inputs) for item in rules)
    catalogue = Catalogue(
        rules=described,
        exclusions=tuple(
            _exclusion(item.content, sources[id(item)])
            for item in found
            if "filter" in item.content
        ),
    )
    catalogue = msgspec.structs.replace(catalogue, matrix=_matrix(described))
    return catalogue, {
        str(item.content.get("id", "")): RuleSource(sources[id(item)], _tests_text(item.path))
        for item in rules
    }


def _matrix(rules: Iterable[CatalogueRule]) -> tuple[Column, ...]:
    chart = coverage.chart(
        Tagged(rule.title, rule.level, rule.id, rule.tags) for rule in rules if not rule.feeds
    )
    return tuple(
        Column(
            tactic.id,
            tactic.name,
            tuple(
                Cell(technique.id, technique.name, tuple(rule.source for rule in covering))
                for technique, covering in techniques
            ),
        )
        for tactic, techniques in chart.by_tactic()
    )


def _rule(document: Document, by_name: Mapping[str, Document], inputs: set[str]) -> CatalogueRule:
    content = document.content
    own = _mapping(content.get("auditflow"))
    return CatalogueRule(
        id=str(content.get("id", "")),
        title=str(content.get("title", "")),
        level=str(content.get("level", "")),
        status=str(content.get("status", "")),
        kind=str(_mapping(content.get("correlation")).get("type", "single event")),
        description=str(content.get("description", "")),
        file=f"{document.path.parent.name}/{document.path.name}",
        line=document.line,
        logsource=_texts(content.get("logsource")),
        tags=_list(content.get("tags")),
        falsepositives=_list(content.get("falsepositives")),
        runbook=str(own["runbook"]) if own.get("runbook") else None,
        tests=_tests(document.path),
        feeds=bool(inputs & {str(content.get("id")), str(content.get("name"))}),
        inputs=tuple(_input_rules(content, by_name)),
    )


def _input_rules(content: Mapping[str, Any], by_name: Mapping[str, Document]) -> list[InputRule]:
    """The rules about single events that a correlation uses, at any depth."""
    found: dict[str, InputRule] = {}
    pending = [str(name) for name in _inputs(content)]
    visited: set[str] = set()
    while pending:
        name = pending.pop()
        document = by_name.get(name)
        if document is None or name in visited:
            continue
        visited.add(name)
        if "correlation" in document.content:
            pending += [str(each) for each in _inputs(document.content)]
        else:
            identifier = str(document.content.get("id", ""))
            found[identifier] = InputRule(identifier, _texts(document.content.get("logsource")))
    return [found[identifier] for identifier in sorted(found)]


def _exclusion(content: Mapping[str, Any], source: str) -> Exclusion:
    own = _mapping(content.get("auditflow"))
    rules = _mapping(content.get("filter")).get("rules")
    return Exclusion(
        id=str(content.get("id", "")),
        title=str(content.get("title", "")),
        rules=() if rules == "any" else _list(rules),
        owner=str(own.get("owner", "")),
        reason=str(own.get("reason", "")),
        expires=str(own.get("expires", "")),
        source=source,
    )


def _feeds(content: Mapping[str, Any]) -> bool:
    """Whether the inputs of this correlation make no findings (unless it generates them)."""
    return not _mapping(content.get("correlation")).get("generate", False)


def _inputs(content: Mapping[str, Any]) -> list[Any]:
    rules = _mapping(content.get("correlation")).get("rules") or []
    return rules if isinstance(rules, list) else [rules]


def _tests(path: Path) -> int:
    """The number of tests beside a rule file."""
    beside = _tests_file(path)
    if not beside.is_file():
        return 0
    faults: list[RuleFault] = []
    content = [document.content for document in documents.read((beside,), faults)]
    return sum(len(_list_of(item.get("tests"))) for item in content if isinstance(item, dict))


def _tests_file(path: Path) -> Path:
    return path.with_name(path.name.removesuffix(".yml") + TESTS)


def _tests_text(path: Path) -> str:
    """The text of the tests beside a rule file."""
    beside = _tests_file(path)
    return _text(beside)[:MAX_SOURCE] if beside.is_file() else ""


def _source(document: Document, found: list[Document], text: str) -> str:
    """The lines of a document in its file, without separators."""
    following = [
        other.line for other in found if other.path == document.path and other.line > document.line
    ]
    lines = text.splitlines()[document.line - 1 : min(following, default=10**9) - 1]
    kept = [line for line in lines if line.strip() != "---"]
    return "\n".join(kept).strip()[:MAX_SOURCE] + "\n"


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace")
    except OSError:
        return ""


def _fingerprints(paths: Iterable[Path]) -> Iterable[tuple[str, int, int]]:
    for path in paths:
        try:
            status = path.stat()
        except OSError:
            continue
        yield str(path), status.st_size, status.st_mtime_ns


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _texts(value: Any) -> dict[str, str]:
    return {str(key): str(item) for key, item in _mapping(value).items()}


def _list_of(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _list(value: Any) -> tuple[str, ...]:
    return tuple(
        str(item) for item in (value if isinstance(value, list) else [value] if value else [])
    )
