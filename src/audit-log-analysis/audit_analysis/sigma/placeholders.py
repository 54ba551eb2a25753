"""Replaces placeholders (%name%) in rules with the modifier ``expand`` by site-specific values.

A file ``placeholders.yml`` in any folder of rules, or in a ConfigMap that is mounted as one,
defines the values for all rules of all folders:

    domain_controllers: [dc-01, dc-02]
    admin_accounts: ["adm-*", root]      # * and ? are wildcards, as in a rule
    jump_host: 192.0.2.7

A value with several placeholders is replaced by every combination. The revision of a rule changes
when the values of its placeholders change.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

from msgspec import Struct
from sigma.correlations import SigmaCorrelationRule
from sigma.filters import SigmaFilter
from sigma.rule import SigmaDetection, SigmaDetectionItem, SigmaRule
from sigma.types import Placeholder, SigmaExpansion, SigmaRegularExpression, SigmaString, SigmaType

from audit_analysis.sigma import yaml_reader
from audit_analysis.sigma.documents import PLACEHOLDERS, Document, collect_faults
from audit_analysis.sigma.errors import RuleFault
from audit_analysis.sigma.yaml_reader import YamlFault

ParsedRule = SigmaRule | SigmaCorrelationRule | SigmaFilter
_SCALARS: Final = (str, int, float)


class Placeholders(Struct, frozen=True):
    """Values by the names of placeholders."""

    values: Mapping[str, tuple[str, ...]]


def read(paths: Iterable[Path], faults: list[RuleFault]) -> Placeholders:
    """Read the values of placeholders from files. Adds the faults of the files to ``faults``."""
    known: dict[str, tuple[str, ...]] = {}
    locations: dict[str, str] = {}
    for path in paths:
        try:
            found = list(yaml_reader.read_documents(yaml_reader.read_text(path)))
        except YamlFault as fault:
            faults.append(RuleFault.of(path, fault.line, fault.message))
            continue
        if len(found) > 1:
            faults.append(RuleFault(path, found[1].line, "must be one document"))
            continue
        content = found[0].content if found else {}
        if not isinstance(content, dict):
            faults.append(RuleFault(path, 1, "must be a mapping of names to values"))
            continue
        lines = found[0].key_lines if found else {}
        for name, definition in content.items():
            line = lines.get(name, 1)
            values = definition if isinstance(definition, list) else [definition]
            if not values or not all(
                isinstance(value, _SCALARS) and not isinstance(value, bool) for value in values
            ):
                message = f"{name}: must be a text, a number, or a list of these"
            elif str(name) in known:
                message = f"{name}: is already defined at {locations[str(name)]}"
            else:
                known[str(name)] = tuple(map(str, values))
                locations[str(name)] = f"{path}:{line}"
                continue
            faults.append(RuleFault.of(path, line, message))
    return Placeholders(known)


def apply(
    parsed: Iterable[tuple[ParsedRule, Document]], known: Placeholders, faults: list[RuleFault]
) -> list[tuple[ParsedRule, Document]]:
    """Replace the placeholders of rules and exclusions.

    Those with undefined placeholders are skipped.
    """
    result: list[tuple[ParsedRule, Document]] = []
    for rule, document in parsed:
        if isinstance(rule, SigmaCorrelationRule):
            result.append((rule, document))
            continue
        detections = rule.filter if isinstance(rule, SigmaFilter) else rule.detection
        items = [item for detection in detections.detections.values() for item in _items(detection)]
        names = {name for item in items for value in item.value for name in _names(value)}
        missing = sorted(names - known.values.keys())
        for name in missing:
            faults.append(
                document.fault(f"the placeholder %{name}% is defined in no {PLACEHOLDERS}")
            )
        if missing:
            continue
        with collect_faults(document, faults):
            for item in items if names else ():
                item.value = [new for value in item.value for new in _expanded(value, known)]
            used = {name: known.values[name] for name in sorted(names)}
            result.append((rule, document.with_(used) if used else document))
    return result


def _items(detection: SigmaDetection) -> Iterator[SigmaDetectionItem]:
    for item in detection.detection_items:
        if isinstance(item, SigmaDetection):
            yield from _items(item)
        else:
            yield item


def _names(value: SigmaType) -> Iterator[str]:
    match value:
        case SigmaExpansion():
            for alternative in value.values:
                yield from _names(alternative)
        case SigmaRegularExpression():
            yield from _names(value.regexp)
        case SigmaString():
            yield from (part.name for part in value.s if isinstance(part, Placeholder))


def _expanded(value: SigmaType, known: Placeholders) -> list[SigmaType]:
    """The values that replace a value: one for each combination of its placeholders' values.

    Raises:
        sigma.exceptions.SigmaError: there are too many combinations.
    """

    def values_of(placeholder: Placeholder) -> Iterator[SigmaString]:
        return (SigmaString(text) for text in known.values[placeholder.name])

    match value:
        case SigmaExpansion():
            return [
                SigmaExpansion([new for each in value.values for new in _expanded(each, known)])
            ]
        case SigmaString() | SigmaRegularExpression():
            return list(value.replace_placeholders(values_of))
    return [value]
