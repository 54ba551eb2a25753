"""Finds the rules that an event could match by the event's values, without evaluating each rule.

For each field with requirements, complete values are looked up in a dictionary, and substrings are
found by one Aho-Corasick pass over the value, for any number of rules. Results are cached by value,
because values in logs repeat.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Final

from ahocorasick_rs import AhoCorasick
from msgspec import UNSET

from audit_analysis.sigma.fields import View, plain, text
from audit_analysis.sigma.prefilter import Requirement

#: For each value of an event that fulfils requirements: the numbers of the entries.
Fulfilled = tuple[frozenset[int], ...]

#: Maximum number of cached values for each field, and their maximum length.
_MAX_CACHED: Final = 20_000
_MAX_LENGTH: Final = 1024
_NONE: Final[frozenset[int]] = frozenset()


class _FieldIndex:
    """The requirements on one field, by the numbers of their entries."""

    def __init__(self, requirements: Mapping[int, Requirement]) -> None:
        equal: defaultdict[str, set[int]] = defaultdict(set)
        contain: defaultdict[str, set[int]] = defaultdict(set)
        for number, requirement in requirements.items():
            for value in requirement.equal:
                equal[value].add(number)
            for substring in requirement.contain:
                contain[substring].add(number)
        self._equal = {value: frozenset(numbers) for value, numbers in equal.items()}
        self._substrings = [frozenset(numbers) for numbers in contain.values()]
        self._automaton = AhoCorasick(list(contain)) if contain else None
        self._cache: dict[str, frozenset[int]] = {}

    def find(self, value: str) -> frozenset[int]:
        """The numbers of the entries whose requirement a value fulfils."""
        if self._automaton is None:  # A look-up of values that do not repeat costs more in a cache.
            return self._equal.get(value.lower(), _NONE)
        numbers = self._cache.get(value)
        if numbers is None:
            numbers = self._look_up(value.lower())
            if len(value) <= _MAX_LENGTH:
                if len(self._cache) >= _MAX_CACHED:
                    self._cache.clear()
                self._cache[value] = numbers
        return numbers

    def _look_up(self, value: str) -> frozenset[int]:
        numbers = self._equal.get(value, _NONE)
        if self._automaton is not None:
            # Overlapping matches: "shadow" must be found inside of "/etc/shadow" too.
            matches = self._automaton.find_matches_as_indexes(value, overlapping=True)
            if matches:
                numbers = numbers.union(*(self._substrings[index] for index, _, _ in matches))
        return numbers


class Index:
    """Finds entries by their requirements. An entry is identified by its number.

    If an entry has several requirements, the index uses the one with the rarest values: "the result
    is SUCCESS" excludes few rules, the name of a command excludes nearly all.
    """

    def __init__(self, entries: Sequence[Sequence[Requirement]]) -> None:
        shared = Counter(
            value
            for requirements in entries
            for requirement in requirements
            for value in _values(requirement)
        )
        always = set()
        by_field: defaultdict[str, dict[int, Requirement]] = defaultdict(dict)
        for number, requirements in enumerate(entries):
            if requirements:
                rarest = min(
                    requirements,
                    key=lambda requirement: (
                        max(shared[value] for value in _values(requirement)),
                        requirement.cost,
                    ),
                )
                by_field[rarest.field][number] = rarest
            else:
                always.add(number)
        self._always = frozenset(always)
        self._fields = [
            (field, plain((field,)), _FieldIndex(requirements).find)
            for field, requirements in by_field.items()
        ]

    def fulfilled(self, view: View) -> Fulfilled:
        """The requirements that an event fulfils. Equal for events with the same candidates."""
        fulfilled: Fulfilled = ()
        native = view.event if view.event.record is UNSET else None
        for field, attribute, find in self._fields:
            if attribute is not None and native is not None:
                name = attribute(native)
                if name is not None and (numbers := find(name)):
                    fulfilled = (*fulfilled, numbers)
                continue
            for value in view.values(field):
                name = value if value.__class__ is str else text(value)
                if name is not None and (numbers := find(name)):
                    fulfilled = (*fulfilled, numbers)
        return fulfilled

    def candidates(self, fulfilled: Fulfilled) -> list[int]:
        """The entries with a fulfilled requirement and the entries without one, in order."""
        return sorted(self._always.union(*fulfilled))


def _values(requirement: Requirement) -> list[tuple[str, str]]:
    return [(requirement.field, value) for value in requirement.equal | requirement.contain]
