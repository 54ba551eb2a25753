"""Rule files into a rule set, or into every fault that they have, each at its place."""

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

from audit_analysis.sigma import build, correlation_graph, documents, exclusions, placeholders
from audit_analysis.sigma import compile as compiler
from audit_analysis.sigma.documents import Document
from audit_analysis.sigma.errors import RuleErrors, RuleFault, Unsupported
from audit_analysis.sigma.rule import Detector, Link, Rule, RuleSet, Watch

# The specification's name for what pySigma knows as `wide` only.
modifier_mapping.setdefault("utf16le", SigmaWideModifier)

#: What pySigma raises where a file has a truth value or a number for a text.
_NOT_SIGMA = (TypeError, AttributeError, KeyError)

Parsed = SigmaRule | SigmaCorrelationRule | SigmaFilter
#: What was read, with where it stands.
_Read = list[tuple[Parsed, Document]]


def load(
    places: Iterable[Path],
    *,
    lateness: int,
    foreign: Iterable[Path] = (),
    off: Collection[str] = (),
    today: dt.date | None = None,
    watch: Watch | None = None,
) -> RuleSet:
    """Read and compile all rules. ``lateness`` (ms) is how late an event may come to a window.

    Rules whose ids are in ``off`` are left out, with the correlations that rest on them.
    ``watch`` is told of those that are slow.

    A fault in ``places`` refuses everything, for these rules are ours to mend. A rule of
    ``foreign`` places that cannot be used is left out, and told in ``RuleSet.refused``.

    Raises:
        RuleErrors: every fault of our own files.
    """
    faults: list[RuleFault] = []
    places, foreign = tuple(places), tuple(foreign)
    own = documents.files(places)
    others = [path for path in documents.files(foreign) if path not in own]
    read = _once_each(_read(own, faults) + _read(others, faults), faults)
    read = exclusions.apply(read, faults, today=today or dt.datetime.now(dt.UTC).date())
    known = placeholders.read(
        dict.fromkeys(documents.placeholder_files([*places, *foreign])), faults
    )
    read = placeholders.apply(read, known, faults)
    detectors, links = _build_all(read, lateness, faults)
    if off:
        dropped = correlation_graph.resting_on(off, [one for one, _ in read])
        detectors = [one for one in detectors if one.rule.ref.id not in dropped]
        links = {
            below: [link for link in above if link.rule.ref.id not in dropped]
            for below, above in links.items()
        }
    own += documents.placeholder_files(places)
    ours = [fault for fault in faults if fault.path in own]
    if ours:
        raise RuleErrors(ours)
    return RuleSet(detectors, links=links, refused=faults, watch=watch)


def _read(paths: Iterable[Path], faults: list[RuleFault]) -> _Read:
    found: _Read = []
    for _, of_file in groupby(documents.read(paths, faults), key=lambda document: document.path):
        in_file = list(of_file)
        if any(isinstance(one.content, dict) and "action" in one.content for one in in_file):
            # A collection: its documents complete each other, so they are read together.
            found += [(one, in_file[0]) for one in _parse(in_file, faults)]
            continue
        for document in in_file:
            found += [(one, document) for one in _parse([document], faults)]
    return found


def _parse(together: list[Document], faults: list[RuleFault]) -> list[Parsed]:
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
    except _NOT_SIGMA as error:
        faults.append(first.fault(f"not a Sigma rule: {error}"))
        return []
    faults += [first.fault(error) for error in collection.errors]
    return [] if collection.errors else [*collection.rules, *collection.filters]


def _build_all(
    read: _Read, lateness: int, faults: list[RuleFault]
) -> tuple[list[Detector], dict[str, list[Link]]]:
    """The ways from events to rules, and from rules to the rules that correlate them."""
    rules = [one for one, _ in read if not isinstance(one, SigmaFilter)]
    collection = SigmaCollection(list(rules), resolve_references=False)
    # Correlations first: resolving their references marks the rules that only feed them.
    detectors, links = _correlations(read, collection, lateness, faults)
    for one, document in read:
        with _told(document, faults):
            if isinstance(one, SigmaRule) and one._output:
                detectors.append(build.single(one, revision=document.revision, lateness=lateness))
            elif isinstance(one, SigmaRule):
                compiler.rule(one)  # it only feeds a correlation; its faults are told here
    return detectors, links


def _correlations(
    read: _Read, collection: SigmaCollection, lateness: int, faults: list[RuleFault]
) -> tuple[list[Detector], dict[str, list[Link]]]:
    found: dict[str, tuple[SigmaCorrelationRule, Document]] = {}
    for one, document in read:
        if isinstance(one, SigmaCorrelationRule):
            with _told(document, faults):
                one.resolve_rule_references(collection)
                found[str(one.id)] = one, document
    detectors: list[Detector] = []
    links: defaultdict[str, list[Link]] = defaultdict(list)
    built: dict[str, Rule] = {}
    rests_on = {name: correlation_graph.below(one) for name, (one, _) in found.items()}
    feeding = {below for names in rests_on.values() for below in names}
    for name in correlation_graph.in_order(rests_on):
        one, document = found[name]
        with _told(document, faults):
            for below in rests_on[name]:
                if below not in built:
                    raise ValueError(
                        f"it rests on the correlation {below}, which cannot be used "
                        "or rests on this one"
                    )
            made = build.correlation(
                one,
                revision=document.revision,
                lateness=lateness,
                below=built,
                feeds=name in feeding,
            )
            built[name] = made.rule
            detectors += made.detectors
            for below, link in made.links:
                links[below].append(link)
    return detectors, dict(links)


@contextmanager
def _told(document: Document, faults: list[RuleFault]) -> Iterator[None]:
    """What is wrong within is a fault of the document."""
    try:
        yield
    except Unsupported as error:
        faults.append(document.fault(f"not supported: {error}"))
    except ValueError as error:
        faults.append(document.fault(error))
    except _NOT_SIGMA as error:
        faults.append(document.fault(f"not a Sigma rule: {error}"))


def _once_each(read: _Read, faults: list[RuleFault]) -> _Read:
    """Without the rules that have no id, or one that was used before."""
    first: dict[str, Document] = {}
    kept: _Read = []
    for one, document in read:
        identifier = str(one.id)
        if one.id is None:
            faults.append(document.fault("a rule needs an id (a UUID): findings are named by it"))
        elif identifier in first:
            place = f"{first[identifier].path}:{first[identifier].line}"
            faults.append(document.fault(f"the id {identifier} is already used at {place}"))
        else:
            first[identifier] = document
            kept.append((one, document))
    return kept
