"""Loads rule files into a rule set, and collects every fault with its location."""

import datetime as dt
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path

from sigma.collection import SigmaCollection
from sigma.correlations import SigmaCorrelationRule
from sigma.exceptions import SigmaError, SigmaRuleLocation
from sigma.filters import SigmaFilter
from sigma.modifiers import SigmaWideModifier, modifier_mapping
from sigma.rule import SigmaRule

from audit_analysis.sigma import (
    build_correlation,
    build_rule,
    correlation_graph,
    documents,
    exclusions,
    placeholders,
)
from audit_analysis.sigma import compile as compiler
from audit_analysis.sigma.documents import Document
from audit_analysis.sigma.errors import RuleErrors, RuleFault, Unsupported
from audit_analysis.sigma.rule import Detector, Link, Rule, RuleSet, RuleWatchdog

# pySigma only knows `wide`, which the specification also calls `utf16le`.
modifier_mapping.setdefault("utf16le", SigmaWideModifier)

#: What pySigma raises if a file has a value of a wrong type.
_WRONG_TYPE = (TypeError, AttributeError, KeyError)

ParsedRule = SigmaRule | SigmaCorrelationRule | SigmaFilter
#: Parsed rules with the documents that they come from.
_ParsedDocuments = list[tuple[ParsedRule, Document]]


def load(
    paths: Iterable[Path],
    *,
    lateness: int,
    foreign: Iterable[Path] = (),
    off: Collection[str] = (),
    today: dt.date | None = None,
    watchdog: RuleWatchdog | None = None,
) -> RuleSet:
    """Read and compile all rules. ``lateness`` is the maximum delay of an event (ms).

    Rules whose ids are in ``off`` are skipped, and so are the correlations that depend on them.
    Rules of ``foreign`` paths with faults are skipped; the faults are in ``RuleSet.refused``.

    Raises:
        RuleErrors: all faults of the files in ``paths``.
    """
    faults: list[RuleFault] = []
    paths, foreign = tuple(paths), tuple(foreign)
    own = documents.files(paths)
    others = [path for path in documents.files(foreign) if path not in own]
    parsed = _unique(_parse_files(own, faults) + _parse_files(others, faults), faults)
    parsed = exclusions.apply(parsed, faults, today=today or dt.datetime.now(dt.UTC).date())
    known = placeholders.read(
        dict.fromkeys(documents.placeholder_files([*paths, *foreign])), faults
    )
    parsed = placeholders.apply(parsed, known, faults)
    detectors, links = _build_all(parsed, lateness, faults)
    if off:
        dropped = correlation_graph.with_dependents(off, [rule for rule, _ in parsed])
        detectors = [detector for detector in detectors if detector.rule.ref.id not in dropped]
        links = {
            inner: [link for link in outer if link.rule.ref.id not in dropped]
            for inner, outer in links.items()
        }
    own += documents.placeholder_files(paths)
    own_faults = [fault for fault in faults if fault.path in own]
    if own_faults:
        raise RuleErrors(own_faults)
    return RuleSet(detectors, links=links, refused=faults, watchdog=watchdog)


def _parse_files(paths: Iterable[Path], faults: list[RuleFault]) -> _ParsedDocuments:
    found: _ParsedDocuments = []
    for _, documents_of_file in groupby(
        documents.read(paths, faults), key=lambda document: document.path
    ):
        in_file = list(documents_of_file)
        if any(
            isinstance(document.content, dict) and "action" in document.content
            for document in in_file
        ):
            # The documents of a collection complete each other, so they are parsed together.
            found += [(rule, in_file[0]) for rule in _parse(in_file, faults)]
            continue
        for document in in_file:
            found += [(rule, document) for rule in _parse([document], faults)]
    return found


def _parse(together: list[Document], faults: list[RuleFault]) -> list[ParsedRule]:
    first = together[0]
    if not all(isinstance(document.content, dict) for document in together):
        faults.append(first.fault("a rule is a mapping of keys to values"))
        return []
    try:
        collection = SigmaCollection.from_dicts(
            [document.content for document in together],
            collect_errors=True,
            source=SigmaRuleLocation(first.path, first.line),
            resolve_references=False,
            collect_filters=True,
        )
    except SigmaError as error:
        faults.append(first.fault(error))
        return []
    except _WRONG_TYPE as error:
        faults.append(first.fault(f"not a Sigma rule: {error}"))
        return []
    faults += [first.fault(error) for error in collection.errors]
    return [] if collection.errors else [*collection.rules, *collection.filters]


def _build_all(
    parsed: _ParsedDocuments, lateness: int, faults: list[RuleFault]
) -> tuple[list[Detector], dict[str, list[Link]]]:
    """The detectors of all rules, and the links between rules by the id of the inner rule."""
    rules = [rule for rule, _ in parsed if not isinstance(rule, SigmaFilter)]
    collection = SigmaCollection(list(rules), resolve_references=False)
    # Correlations first: resolving their references marks the rules that only feed them.
    detectors, links = _build_correlations(parsed, collection, lateness, faults)
    for rule, document in parsed:
        with _collect_faults(document, faults):
            if isinstance(rule, SigmaRule) and rule._output:
                detectors.append(
                    build_rule.detector(rule, revision=document.revision, lateness=lateness)
                )
            elif isinstance(rule, SigmaRule):
                compiler.rule(rule)  # It only feeds a correlation. This reports its faults.
    return detectors, links


def _build_correlations(
    parsed: _ParsedDocuments,
    collection: SigmaCollection,
    lateness: int,
    faults: list[RuleFault],
) -> tuple[list[Detector], dict[str, list[Link]]]:
    found: dict[str, tuple[SigmaCorrelationRule, Document]] = {}
    for rule, document in parsed:
        if isinstance(rule, SigmaCorrelationRule):
            with _collect_faults(document, faults):
                rule.resolve_rule_references(collection)
                found[str(rule.id)] = rule, document
    detectors: list[Detector] = []
    links: defaultdict[str, list[Link]] = defaultdict(list)
    built: dict[str, Rule] = {}
    dependencies = {
        rule_id: correlation_graph.inner_correlations(rule) for rule_id, (rule, _) in found.items()
    }
    feeding = {inner for inner_ids in dependencies.values() for inner in inner_ids}
    for rule_id in correlation_graph.topological_order(dependencies):
        rule, document = found[rule_id]
        with _collect_faults(document, faults):
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
            )
            built[rule_id] = correlation.rule
            detectors += correlation.detectors
            for inner, link in correlation.links:
                links[inner].append(link)
    return detectors, dict(links)


@contextmanager
def _collect_faults(document: Document, faults: list[RuleFault]) -> Iterator[None]:
    """Add errors that the block raises to ``faults``, with the location of the document."""
    try:
        yield
    except Unsupported as error:
        faults.append(document.fault(f"not supported: {error}"))
    except ValueError as error:
        faults.append(document.fault(error))
    except _WRONG_TYPE as error:
        faults.append(document.fault(f"not a Sigma rule: {error}"))


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
