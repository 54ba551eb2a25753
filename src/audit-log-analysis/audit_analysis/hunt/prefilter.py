"""A condition in SQL that every event fulfils which a rule could match. Pure.

The condition is necessary, never sufficient: the matcher decides. A value that a rule requires must
occur in the event's JSON. JSON can escape each character, so an event with such escapes is never
excluded. Requirements whose values do not occur literally are not used.
"""

import re
from collections.abc import Callable, Iterable
from typing import Any, Final

from audit_analysis.archive.table import source_of
from audit_analysis.hunt.parameters import Parameters
from audit_analysis.sigma import logsource
from audit_analysis.sigma.prefilter import Requirement
from audit_analysis.sigma.rule import Detector
from auditflow.contract.event import LogSource

#: Fields whose values are computed: the JSON has another text, or none.
_COMPUTED: Final = frozenset({"timestamp", "severity", "TargetFilename"})
#: Maximum number of alternatives of a regular expression.
_MAX_LITERALS: Final = 500
#: Maximum number of regular expressions for a detector.
_MAX_PATTERNS: Final = 2
_NUMBER: Final = re.compile(r"[0-9.e+-]+")
_INTEGER: Final = re.compile(r"[0-9]+")
#: An event with one of these can contain a value in another form: escapes, and the only character
#: outside of ASCII whose lower case begins with a letter of ASCII and that RE2 does not fold.
_OTHER_FORMS: Final = ("\\\\u", "\u0130")


class EventCondition:
    """The condition of some detectors, its parameters, and the sources that can fulfil it."""

    def __init__(self, detectors: Iterable[Detector]) -> None:
        self.parameters = Parameters("hunt")
        detectors = tuple(detectors)
        terms = [self._of_detector(detector) for detector in detectors]
        self.text = " OR ".join(f"({term})" for term in dict.fromkeys(terms)) or "false"
        self.sources = _sources([detector.logsource for detector in detectors])

    def _of_detector(self, detector: Detector) -> str:
        terms = [*of_logsource(detector.logsource, self.parameters.add)]
        patterns = [
            pattern
            for requirement in detector.requirements
            if (pattern := _pattern(requirement)) is not None
        ]
        for _, expression in sorted(patterns, reverse=True)[:_MAX_PATTERNS]:
            # Long literals first: they are the rarest in most cases.
            name = self.parameters.add(expression)
            terms.append(f"coalesce(regexp_matches(try(decode(record)), {name}), true)")
        return " AND ".join(terms) or "true"


def of_logsource(rule: LogSource, add: Callable[[Any], str]) -> Iterable[str]:
    """The conditions of the log source of a rule. ``add`` gives the parameter of a value."""
    if rule.product is None:
        return
    if rule.product != "auditflow":
        yield f"product = {add(rule.product)}"
        return
    yield "coalesce(product, 'auditflow') = 'auditflow'"
    if rule.category is not None:
        types = [
            event_type
            for event_type, category in logsource.categories().items()
            if category == rule.category
        ]
        yield f"event_type IN {add(types)}" if types else "false"


def _pattern(requirement: Requirement) -> tuple[int, str] | None:
    """The length of the shortest literal, and the pattern. None if it is not usable."""
    literals = requirement.equal | requirement.contain
    if requirement.field in _COMPUTED or not literals or len(literals) > _MAX_LITERALS:
        return None
    usable = all(map(_is_literal, requirement.contain)) and all(
        _is_literal(value) or _INTEGER.fullmatch(value) for value in requirement.equal
    )
    if not usable:
        return None
    alternatives = ["".join(map(_character, literal)) for literal in sorted(literals)]
    return min(map(len, literals)), "(?i)" + "|".join([*alternatives, *_OTHER_FORMS])


def _is_literal(value: str) -> bool:
    """Whether a text in lower case occurs in the JSON of each value that contains it.

    A number can be written in several ways, and its text can be "1e+20", "inf" or "nan".
    """
    return (
        value.isascii()
        and value.isprintable()
        and len(value) > 1
        and not _NUMBER.fullmatch(value)
        and value not in "-infinity nan"
    )


def _character(character: str) -> str:
    if character == "/":
        return r"\\?/"
    if character in '"\\':
        return re.escape("\\" + character)
    return re.escape(character)


def _sources(rules: Iterable[LogSource]) -> list[str] | None:
    """The sources of files; None if any source can contain a matching event."""
    sources: set[str] = set()
    for rule in rules:
        if rule.product is None:
            return None
        sources.add(source_of(rule))
        if rule.product == "auditflow":
            sources.add(source_of(None))
    return sorted(sources)
