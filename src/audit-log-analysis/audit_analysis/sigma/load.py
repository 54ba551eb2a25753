"""Rule files into a rule set, or into every fault that they have, each at its place."""

import datetime as dt
from collections.abc import Iterable
from itertools import groupby
from pathlib import Path

from sigma.collection import SigmaCollection
from sigma.correlations import SigmaCorrelationRule
from sigma.exceptions import SigmaError, SigmaRuleLocation
from sigma.filters import SigmaFilter
from sigma.rule import SigmaRule

from audit_analysis.sigma import build, documents, exclusions
from audit_analysis.sigma import compile as compiler
from audit_analysis.sigma.documents import Document
from audit_analysis.sigma.errors import RuleErrors, RuleFault, Unsupported
from audit_analysis.sigma.rule import Detector, RuleSet

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
    today: dt.date | None = None,
) -> RuleSet:
    """Read and compile all rules. ``lateness`` (ms) is how late an event may come to a window.

    A fault in ``places`` refuses everything, for these rules are ours to mend. A rule of
    ``foreign`` places that cannot be used is left out, and told in ``RuleSet.refused``.

    Raises:
        RuleErrors: every fault of our own files.
    """
    faults: list[RuleFault] = []
    own = documents.files(places)
    others = [path for path in documents.files(foreign) if path not in own]
    read = _once_each(_read(own, faults) + _read(others, faults), faults)
    read = exclusions.apply(read, faults, today=today or dt.datetime.now(dt.UTC).date())
    detectors = _build_all(read, lateness, faults)
    ours = [fault for fault in faults if fault.path in own]
    if ours:
        raise RuleErrors(ours)
    return RuleSet(detectors, refused=faults)


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


def _build_all(read: _Read, lateness: int, faults: list[RuleFault]) -> list[Detector]:
    rules = [one for one, _ in read if not isinstance(one, SigmaFilter)]
    collection = SigmaCollection(list(rules), resolve_references=False)
    detectors: list[Detector] = []
    # Correlations first: resolving their references marks the rules that only feed them.
    for one, document in sorted(read, key=lambda each: isinstance(each[0], SigmaRule)):
        try:
            if isinstance(one, SigmaCorrelationRule):
                one.resolve_rule_references(collection)
                detectors += build.correlation(one, revision=document.revision, lateness=lateness)
            elif isinstance(one, SigmaRule) and one._output:
                detectors.append(build.single(one, revision=document.revision, lateness=lateness))
            elif isinstance(one, SigmaRule):
                compiler.rule(one)  # it only feeds a correlation; its faults are told here
        except Unsupported as error:
            faults.append(document.fault(f"not supported: {error}"))
        except ValueError as error:
            faults.append(document.fault(error))
        except _NOT_SIGMA as error:
            faults.append(document.fault(f"not a Sigma rule: {error}"))
    return detectors


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
