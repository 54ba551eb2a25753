"""What stands for %name% in a rule that says ``|expand``: lists that differ from place to place.

A file called ``placeholders.yml`` in any folder of rules (or in a ConfigMap that is mounted as one)
says it, for all rules of all folders:

    domain_controllers: [dc-01, dc-02]
    admin_accounts: ["adm-*", root]      # * and ? are wildcards, as in a rule
    jump_host: 192.0.2.7

A value that has several placeholders stands for every combination. Rules change their revision with
what their placeholders stand for.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

import yaml
from msgspec import Struct
from sigma.correlations import SigmaCorrelationRule
from sigma.filters import SigmaFilter
from sigma.rule import SigmaDetection, SigmaDetectionItem, SigmaRule
from sigma.types import Placeholder, SigmaExpansion, SigmaRegularExpression, SigmaString, SigmaType

from audit_analysis.sigma import documents
from audit_analysis.sigma.documents import PLACEHOLDERS, Document
from audit_analysis.sigma.errors import RuleFault

Parsed = SigmaRule | SigmaCorrelationRule | SigmaFilter
_SCALARS: Final = (str, int, float)


class Placeholders(Struct, frozen=True):
    """Values by the names of placeholders."""

    values: Mapping[str, tuple[str, ...]]


def read(paths: Iterable[Path], faults: list[RuleFault]) -> Placeholders:
    """What the files at these places say. What is wrong with them is added to ``faults``."""
    known: dict[str, tuple[str, ...]] = {}
    places: dict[str, str] = {}
    for path in paths:
        try:
            node = yaml.compose(path.read_text(encoding="utf-8"), yaml.CSafeLoader)
            content = documents.content(node) if node else {}
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark
            faults.append(RuleFault(path, mark.line + 1 if mark else 1, f"YAML: {error.problem}"))
            continue
        except (OSError, UnicodeDecodeError) as error:
            faults.append(RuleFault(path, 1, f"cannot be read: {error}"))
            continue
        if not isinstance(content, dict):
            faults.append(RuleFault(path, 1, "must be a mapping of names to values"))
            continue
        lines = {key.value: key.start_mark.line + 1 for key, _ in node.value} if node else {}
        for name, said in content.items():
            fault = RuleFault(path, lines.get(str(name), 1), "")
            values = said if isinstance(said, list) else [said]
            if not values or not all(
                isinstance(one, _SCALARS) and not isinstance(one, bool) for one in values
            ):
                what = f"{name}: must be a text, a number, or a list of these"
            elif str(name) in known:
                what = f"{name}: is already defined at {places[str(name)]}"
            else:
                known[str(name)] = tuple(map(str, values))
                places[str(name)] = f"{path}:{fault.line}"
                continue
            faults.append(RuleFault(path, fault.line, what))
    return Placeholders(known)


def apply(
    read: Iterable[tuple[Parsed, Document]], known: Placeholders, faults: list[RuleFault]
) -> list[tuple[Parsed, Document]]:
    """The rules with the values for their placeholders; those whose placeholders nobody defines
    are left out."""
    done: list[tuple[Parsed, Document]] = []
    for one, document in read:
        if not isinstance(one, SigmaRule):
            done.append((one, document))
            continue
        items = [item for part in one.detection.detections.values() for item in _items(part)]
        names = {name for item in items for value in item.value for name in _names(value)}
        missing = sorted(names - known.values.keys())
        for name in missing:
            faults.append(
                document.fault(f"the placeholder %{name}% is defined in no {PLACEHOLDERS}")
            )
        if missing:
            continue
        for item in items if names else ():
            item.value = [new for value in item.value for new in _expanded(value, known)]
        used = {name: known.values[name] for name in sorted(names)}
        done.append((one, document.with_(used) if used else document))
    return done


def _items(detection: SigmaDetection) -> Iterator[SigmaDetectionItem]:
    for one in detection.detection_items:
        if isinstance(one, SigmaDetection):
            yield from _items(one)
        else:
            yield one


def _names(value: SigmaType) -> Iterator[str]:
    match value:
        case SigmaExpansion():
            for one in value.values:
                yield from _names(one)
        case SigmaRegularExpression():
            yield from _names(value.regexp)
        case SigmaString():
            yield from (part.name for part in value.s if isinstance(part, Placeholder))


def _expanded(value: SigmaType, known: Placeholders) -> list[SigmaType]:
    """A value for each combination of what its placeholders stand for.

    Raises:
        sigma.exceptions.SigmaError: there are too many combinations.
    """

    def stands_for(placeholder: Placeholder) -> Iterator[SigmaString]:
        return (SigmaString(one) for one in known.values[placeholder.name])

    match value:
        case SigmaExpansion():
            return [SigmaExpansion([new for one in value.values for new in _expanded(one, known)])]
        case SigmaString() | SigmaRegularExpression():
            return list(value.replace_placeholders(stands_for))
    return [value]
