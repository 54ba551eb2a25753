"""Which of many rules an event could match, found by its values instead of by asking each rule.

For each field that rules require something of, whole values are looked up in a dictionary, and
pieces of text by one pass of Aho-Corasick over the value, however many rules there are. What a
value leads to is remembered, since the values of logs repeat.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Generic, TypeVar

from ahocorasick_rs import AhoCorasick

from audit_analysis.sigma.fields import View
from audit_analysis.sigma.require import Requirement

T = TypeVar("T")

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
        """The rules whose requirement a value (in lower case) fulfils."""
        known = self._known.get(value)
        if known is None:
            known = self._look_up(value)
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


class Index(Generic[T]):
    """Things with requirements, to be found by events. The order in which they came is kept.

    Of several requirements of a thing the one that the fewest others share is asked: "the result is
    SUCCESS" tells nothing where a command's name tells all.
    """

    def __init__(self, entries: Sequence[tuple[T, Sequence[Requirement]]]) -> None:
        self._things = [thing for thing, _ in entries]
        shared = Counter(
            value for _, requirements in entries for one in requirements for value in _values(one)
        )
        always = set()
        by_field: defaultdict[str, dict[int, Requirement]] = defaultdict(dict)
        for number, (_, requirements) in enumerate(entries):
            if requirements:
                rarest = min(
                    requirements,
                    key=lambda one: (max(shared[value] for value in _values(one)), one.cost),
                )
                by_field[rarest.field][number] = rarest
            else:
                always.add(number)
        self._always = frozenset(always)
        self._fields = [(field, _FieldIndex(of_it)) for field, of_it in by_field.items()]

    def candidates(self, view: View) -> Iterable[T]:
        """Everything whose requirement the event fulfils, and everything without one."""
        found: set[int] | frozenset[int] = self._always
        for field, index in self._fields:
            for value in view.lowered(field):
                more = index.find(value)
                if more:
                    found = found | more
        return (self._things[number] for number in sorted(found))


def _values(requirement: Requirement) -> list[tuple[str, str]]:
    return [(requirement.field, value) for value in requirement.equal | requirement.contain]
