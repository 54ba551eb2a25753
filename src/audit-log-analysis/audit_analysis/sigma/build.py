"""Builds detectors from the documents of rule files."""

import copy
import datetime as dt
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct
from sigma.collection import SigmaCollection
from sigma.correlations import SigmaCorrelationRule
from sigma.exceptions import SigmaRuleLocation, SigmaRuleNotFoundError
from sigma.filters import SigmaFilter
from sigma.modifiers import SigmaWideModifier, modifier_mapping
from sigma.rule import SigmaRule

from audit_analysis.sigma import (
    build_correlation,
    build_rule,
    correlation_graph,
    exclusions,
    limits,
    placeholders,
    text_sets,
)
from audit_analysis.sigma import compile as compiler
from audit_analysis.sigma.documents import Document, collect_faults
from audit_analysis.sigma.errors import RuleFault
from audit_analysis.sigma.placeholders import Placeholders
from audit_analysis.sigma.rule import Detector, Link, Rule

# pySigma only knows `wide`, which the specification also calls `utf16le`.
modifier_mapping.setdefault("utf16le", SigmaWideModifier)

ParsedRule = SigmaRule | SigmaCorrelationRule | SigmaFilter
#: Parsed rules with the documents that they come from.
_ParsedDocuments = list[tuple[ParsedRule, Document]]
_Rules = list[tuple[SigmaRule | SigmaCorrelationRule, Document]]


class Result(Struct, frozen=True):
    """The detectors of all rules, and the links between rules by the id of the inner rule."""

    detectors: list[Detector]
    links: dict[str, list[Link]]
    faults: list[RuleFault]


def build(
    files: Mapping[Path, Sequence[Document]],
    known: Placeholders,
    *,
    lateness: int,
    off: Collection[str] = (),
    today: dt.date | None = None,
) -> Result:
    """Build the rules without faults. ``lateness`` is in milliseconds.

    Rules whose ids are in ``off`` are skipped, and so are the correlations that depend on them.
    """
    faults: list[RuleFault] = []
    parsed: _ParsedDocuments = []
    for in_file in files.values():
        parsed += _parse_file(in_file, faults)
    parsed = placeholders.apply(_unique(parsed, faults), known, faults)
    rules = exclusions.apply(parsed, faults, today=today or dt.datetime.now(dt.UTC).date())
    all_documents = [document for in_file in files.values() for document in in_file]
    detectors, links = _build_all(rules, all_documents, lateness, faults)
    if off:
        dropped = correlation_graph.with_dependents(off, [rule for rule, _ in rules])
        detectors = [detector for detector in detectors if detector.rule.ref.id not in dropped]
        links = {
            inner: [link for link in outer if link.rule.ref.id not in dropped]
            for inner, outer in links.items()
        }
    return Result(detectors, links, faults)


def _parse_file(in_file: Sequence[Document], faults: list[RuleFault]) -> _ParsedDocuments:
    mappings = []
    for document in in_file:
        if isinstance(document.content, dict):
            mappings.append(document)
        else:
            faults.append(document.fault("a rule is a mapping of keys to values"))
    if not mappings:
        return []
    contents = [text_sets.replace_lists(document.content) for document in mappings]
    first = mappings[0]
    found: _ParsedDocuments = []
    with collect_faults(first, faults):
        limits.check_values(contents)
        if any("action" in content for content in contents):
            # The documents of a collection complete each other, so they are parsed together.
            # pySigma changes them.
            complete = first.with_([document.content for document in mappings[1:]])
            found += [(rule, complete) for rule in _parse(first, copy.deepcopy(contents), faults)]
        else:
            for document, content in zip(mappings, contents, strict=True):
                found += [(rule, document) for rule in _parse(document, [content], faults)]
    return found


def _parse(
    document: Document, contents: list[dict[str, Any]], faults: list[RuleFault]
) -> list[ParsedRule]:
    """The rules of documents that belong together; none if one of them has a fault."""
    parsed: list[ParsedRule] = []
    with collect_faults(document, faults):
        collection = SigmaCollection.from_dicts(
            contents,
            collect_errors=True,
            source=SigmaRuleLocation(document.path, document.line),
            resolve_references=False,
            collect_filters=True,
        )
        faults += [document.fault(error) for error in collection.errors]
        if not collection.errors:
            for rule in (*collection.rules, *collection.filters):
                limits.check_rule(rule)
            parsed += [*collection.rules, *collection.filters]
    return parsed


def _build_all(
    rules: _Rules, all_documents: Iterable[Document], lateness: int, faults: list[RuleFault]
) -> tuple[list[Detector], dict[str, list[Link]]]:
    """The detectors of all rules, and the links between rules by the id of the inner rule."""
    # Correlations first: resolving their references marks the rules that only feed them.
    detectors, links = _build_correlations(rules, all_documents, lateness, faults)
    for rule, document in rules:
        with collect_faults(document, faults):
            if isinstance(rule, SigmaRule) and rule._output:
                detectors.append(
                    build_rule.detector(rule, revision=document.revision, lateness=lateness)
                )
            elif isinstance(rule, SigmaRule):
                compiler.rule(rule)  # It only feeds a correlation. This reports its faults.
    return detectors, links


def _build_correlations(
    rules: _Rules, all_documents: Iterable[Document], lateness: int, faults: list[RuleFault]
) -> tuple[list[Detector], dict[str, list[Link]]]:
    collection = SigmaCollection([rule for rule, _ in rules], resolve_references=False)
    by_name = _documents_by_name(all_documents)
    found: dict[str, tuple[SigmaCorrelationRule, Document]] = {}
    for rule, document in rules:
        if isinstance(rule, SigmaCorrelationRule):
            with collect_faults(document, faults):
                for reference in rule.rules or ():
                    _check_reference(reference.reference, collection, by_name)
                rule.resolve_rule_references(collection)
                found[str(rule.id)] = rule, document
    detectors: list[Detector] = []
    links: defaultdict[str, list[Link]] = defaultdict(list)
    built: dict[str, Rule] = {}
    dependencies = {
        rule_id: correlation_graph.inner_correlations(rule) for rule_id, (rule, _) in found.items()
    }
    revisions = {id(rule): document.revision for rule, document in rules}
    feeding = {inner for inner_ids in dependencies.values() for inner in inner_ids}
    for rule_id in correlation_graph.topological_order(dependencies):
        rule, document = found[rule_id]
        with collect_faults(document, faults):
            for inner in dependencies[rule_id]:
                if inner not in built:
                    raise ValueError(
                        f"it depends on the correlation {inner}, which has a fault "
                        "or depends on this one"
                    )
            correlation = build_correlation.correlation(
                rule,
                revision=document.revision,
                lateness=lateness,
                inner=built,
                feeds=rule_id in feeding,
                built_from=_built_from(rule, revisions, built),
            )
            built[rule_id] = correlation.rule
            detectors += correlation.detectors
            for inner, link in correlation.links:
                links[inner].append(link)
    return detectors, dict(links)


def _built_from(
    rule: SigmaCorrelationRule, revisions: Mapping[int, str], built: Mapping[str, Rule]
) -> tuple[str, ...]:
    """The revisions of the rules below a correlation. ``revisions`` are those by ``id(rule)``."""
    found: set[str] = set()
    for reference in rule.referenced_rules:
        found.add(revisions[id(reference.rule)])
        if isinstance(reference.rule, SigmaCorrelationRule):
            found.update(built[str(reference.rule.id)].built_from)
    return tuple(sorted(found))


def _documents_by_name(all_documents: Iterable[Document]) -> dict[str, Document]:
    """All documents by the texts that a correlation may refer to."""
    return {
        str(document.content[key]): document
        for document in all_documents
        if isinstance(document.content, dict)
        for key in ("id", "name")
        if key in document.content
    }


def _check_reference(
    name: str, collection: SigmaCollection, by_name: Mapping[str, Document]
) -> None:
    """Check that a correlation can use a rule. Raises ValueError."""
    try:
        collection[name]
    except SigmaRuleNotFoundError:
        document = by_name.get(name)
        if document is None:
            raise ValueError(f"it depends on the rule {name}, which does not exist") from None
        raise ValueError(
            f"it depends on the rule {name}, which has a fault ({document.path}:{document.line})"
        ) from None


def _unique(parsed: _ParsedDocuments, faults: list[RuleFault]) -> _ParsedDocuments:
    """The rules without those that have no id or the id of an earlier rule."""
    first: dict[str, Document] = {}
    kept: _ParsedDocuments = []
    for rule, document in parsed:
        rule_id = str(rule.id)
        if rule.id is None:
            faults.append(
                document.fault("a rule needs an id (a UUID): its findings are identified by it")
            )
        elif rule_id in first:
            location = f"{first[rule_id].path}:{first[rule_id].line}"
            faults.append(document.fault(f"the id {rule_id} is already used at {location}"))
        else:
            first[rule_id] = document
            kept.append((rule, document))
    return kept
