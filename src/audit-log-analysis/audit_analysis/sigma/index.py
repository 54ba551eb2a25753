"""Which of many rules an event could match, found by its values instead of by asking each rule.

For each field that rules require something of, whole values are looked up in a dictionary, and
pieces of text by one pass of Aho-Corasick over the value, however many rules there are. What a
value leads to is remembered, since the values of logs repeat.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Final

from ahocorasick_rs import AhoCorasick
from msgspec import UNSET

from audit_analysis.sigma.fields import View, plain, text
from audit_analysis.sigma.prefilter import Requirement

#: The numbers of those whose requirement one of an event's values fulfils, for each such value.
Found = tuple[frozenset[int], ...]

#: Values remembered for each field, and the longest that is worth it.
_REMEMBERED: Final = 20_000
_LONGEST: Final = 1024


class _FieldIndex:
    """The rules that require something of one field, by their numbers."""

    def __init__(self, requirements: Mapping[int, Requirement]) -> None:
        equal: defaultdict[str, set[int]] = defaultdict(set)
        contain: defaultdict[str, set[int]] = defaultdict(set)
        for number, one in requirements.items():
            for value in one.equal:
                equal[value].add(number)
            for piece in one.contain:
                contain[piece].add(number)
        self._equal = {value: frozenset(numbers) for value, numbers in equal.items()}
        self._pieces = [frozenset(numbers) for numbers in contain.values()]
        self._automaton = AhoCorasick(list(contain)) if contain else None
        self._known: dict[str, frozenset[int]] = {}

    def find(self, value: str) -> frozenset[int]:
        """The rules whose requirement a value fulfils."""
        known = self._known.get(value)
        if known is None:
            known = self._look_up(value.lower())
            if len(value) <= _LONGEST:
                if len(self._known) >= _REMEMBERED:
                    self._known.clear()
                self._known[value] = known
        return known

    def _look_up(self, value: str) -> frozenset[int]:
        found = self._equal.get(value, frozenset())
        if self._automaton is not None:
            hits = self._automaton.find_matches_as_indexes(value, overlapping=True)
            if hits:
                found = found.union(*(self._pieces[piece] for piece, _, _ in hits))
        return found


class Index:
    """Things with requirements, by their numbers, to be found by events.

    Of several requirements of a thing the one that the fewest others share is asked: "the result is
    SUCCESS" tells nothing where a command's name tells all.
    """

    def __init__(self, entries: Sequence[Sequence[Requirement]]) -> None:
        shared = Counter(
            value for requirements in entries for one in requirements for value in _values(one)
        )
        always = set()
        by_field: defaultdict[str, dict[int, Requirement]] = defaultdict(dict)
        for number, requirements in enumerate(entries):
            if requirements:
                rarest = min(
                    requirements,
                    key=lambda one: (max(shared[value] for value in _values(one)), one.cost),
                )
                by_field[rarest.field][number] = rarest
            else:
                always.add(number)
        self._always = frozenset(always)
        self._fields = [
            (field, plain((field,)), _FieldIndex(of_it)) for field, of_it in by_field.items()
        ]

    def found(self, view: View) -> Found:
        """What the event fulfils, as ``candidates`` takes it. The same is equal."""
        found: Found = ()
        native = view.event if view.event.record is UNSET else None
        for field, attribute, index in self._fields:
            if attribute is not None and native is not None:
                name = attribute(native)
                if name is not None and (more := index.find(name)):
                    found = (*found, more)
                continue
            for value in view.values(field):
                name = value if value.__class__ is str else text(value)
                if name is not None and (more := index.find(name)):
                    found = (*found, more)
        return found

    def candidates(self, found: Found) -> list[int]:
        """All whose requirement is fulfilled and all without one, in order."""
        return sorted(self._always.union(*found))


def _values(requirement: Requirement) -> list[tuple[str, str]]:
    return [(requirement.field, value) for value in requirement.equal | requirement.contain]
