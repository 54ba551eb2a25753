"""Rule files into a rule set, or into every fault that they have, each at its place."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from sigma.collection import SigmaCollection
from sigma.correlations import SigmaCorrelationRule
from sigma.exceptions import SigmaError, SigmaRuleLocation
from sigma.rule import SigmaRule

from audit_analysis.sigma import build, documents
from audit_analysis.sigma import compile as compiler
from audit_analysis.sigma.documents import Document
from audit_analysis.sigma.errors import RuleErrors, RuleFault, Unsupported
from audit_analysis.sigma.rule import Detector, RuleSet

#: Keys of whole documents that are valid Sigma and that this engine does not read.
_UNREAD = ("action", "filter")

Parsed = SigmaRule | SigmaCorrelationRule


def load(places: Iterable[Path], *, lateness: int) -> RuleSet:
    """Read and compile all rules. ``lateness`` (ms) is how late an event may come to a window.

    Raises:
        RuleErrors: every fault of every file.
    """
    faults: list[RuleFault] = []
    parsed: list[Parsed] = []
    origin: dict[int, Document] = {}
    for document in documents.read(documents.files(places), faults):
        for one in _parse(document, faults):
            origin[id(one)] = document
            parsed.append(one)
    _refuse_duplicates(parsed, origin, faults)
    collection = SigmaCollection(list(parsed), resolve_references=False)
    detectors: list[Detector] = []
    # Correlations first: resolving their references marks the rules that only feed them.
    for one in sorted(parsed, key=lambda rule: isinstance(rule, SigmaRule)):
        document = origin[id(one)]
        try:
            detectors += _build(one, collection, document.revision, lateness)
        except Unsupported as error:
            faults.append(document.fault(f"not supported: {error}"))
        except ValueError as error:
            faults.append(document.fault(error))
    if faults:
        raise RuleErrors(faults)
    return RuleSet(detectors)


def _parse(document: Document, faults: list[RuleFault]) -> list[Parsed]:
    if not isinstance(document.content, dict):
        faults.append(document.fault("a rule is a mapping of keys to values"))
        return []
    unread = [key for key in _UNREAD if key in document.content]
    if unread:
        faults.append(document.fault(f"not supported: {unread[0]}"))
        return []
    place = SigmaRuleLocation(document.path, document.line)
    try:
        collection = SigmaCollection.from_dicts(
            [document.content], collect_errors=True, source=place, resolve_references=False
        )
    except SigmaError as error:
        faults.append(document.fault(error))
        return []
    faults += [document.fault(error) for error in collection.errors]
    return [] if collection.errors else list(collection.rules)


def _build(
    one: Parsed, collection: SigmaCollection, revision: str, lateness: int
) -> list[Detector]:
    if isinstance(one, SigmaCorrelationRule):
        one.resolve_rule_references(collection)
        return list(build.correlation(one, revision=revision, lateness=lateness))
    if one._output:
        return [build.single(one, revision=revision, lateness=lateness)]
    compiler.rule(one)  # it only feeds a correlation; its faults are told at its own place
    return []


def _refuse_duplicates(
    parsed: Iterable[Parsed], origin: Mapping[int, Document], faults: list[RuleFault]
) -> None:
    seen: dict[str, Document] = {}
    for rule in parsed:
        document, identifier = origin[id(rule)], str(rule.id)
        if rule.id is None:
            faults.append(document.fault("a rule needs an id (a UUID): findings are named by it"))
        elif identifier in seen:
            first = seen[identifier]
            place = f"{first.path}:{first.line}"
            faults.append(document.fault(f"the id {identifier} is already used at {place}"))
        else:
            seen[identifier] = document
