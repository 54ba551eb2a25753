"""Finds the rules that an event matches: candidates from an index, results from a cache."""

import itertools
from collections.abc import Callable, Iterable, Sequence
from math import inf
from time import perf_counter, thread_time
from typing import Any, Final, Generic, TypeVar

from msgspec import UNSET, Struct

from audit_analysis.sigma import fields
from audit_analysis.sigma.fields import View
from audit_analysis.sigma.index import Fulfilled, Index
from audit_analysis.sigma.prefilter import Requirement
from audit_analysis.sigma.values import Predicate
from audit_analysis.sigma.verdict_cache import Key, VerdictCache
from auditflow.contract.event import Event

T = TypeVar("T")

#: Maximum number of plans that a matcher keeps.
_MAX_PLANS: Final = 20_000
#: The result of an entry with more dependencies is not cached. Reading all these fields for the key
#: would cost more than the evaluation, which mostly ends at the first condition that does not hold.
_MAX_CACHED_DEPENDENCIES: Final = 8
#: Plan numbers. A number is never used again, because the cache may still hold results for it.
_plan_numbers: Final = itertools.count()


class Entry(Struct, Generic[T], frozen=True):
    """A predicate over events, and the ``target`` that an event matches if the predicate holds.

    All ``requirements`` are necessary conditions of ``matches``. ``dependencies`` are the fields
    that the result depends on; None means the whole event.
    """

    target: T
    matches: Predicate
    requirements: tuple[Requirement, ...] = ()
    dependencies: frozenset[str] | None = None


class _Plan(Struct, frozen=True, gc=False):
    """The entries to evaluate for an event that fulfils certain requirements, by their numbers.

    The results of the ``cacheable`` entries depend only on ``dependencies``. ``plain`` reads the
    first of these fields from an event without a record; ``other_dependencies`` are the remaining
    ones. The ``uncacheable`` entries depend on the whole event or on many fields.
    """

    number: int
    cacheable: tuple[int, ...]
    dependencies: tuple[str, ...]
    plain: Callable[[Event], Any] | None
    other_dependencies: tuple[str, ...]
    uncacheable: tuple[int, ...]


class Matcher(Generic[T]):
    """Evaluates many predicates for an event. Results have the order of the entries.

    Several matchers may share ``cache``. If the evaluation for one event takes longer than
    ``limit`` (seconds), ``on_slow`` is called for each entry that takes that long alone.
    """

    def __init__(
        self,
        entries: Iterable[Entry[T]],
        *,
        cache: VerdictCache[tuple[int, ...]],
        limit: float = inf,
        on_slow: Callable[[T, float], None] = lambda target, seconds: None,
    ) -> None:
        self._entries = tuple(entries)
        self._index = Index([entry.requirements for entry in self._entries])
        self._plans: dict[Fulfilled, _Plan] = {}
        self._cache = cache
        self._limit = limit
        self._on_slow = on_slow

    def match(self, view: View) -> Sequence[T]:
        """The targets of all entries that match an event."""
        fulfilled = self._index.fulfilled(view)
        plan = self._plans.get(fulfilled)
        if plan is None:
            plan = self._add_plan(fulfilled)
        numbers = self._cached(plan, view) if plan.cacheable else ()
        if plan.uncacheable:
            numbers = tuple(sorted((*numbers, *self._evaluate(plan.uncacheable, view))))
        return [self._entries[number].target for number in numbers] if numbers else ()

    def _cached(self, plan: _Plan, view: View) -> tuple[int, ...]:
        # The two kinds of keys differ in their length, or in the type of their second part.
        if plan.plain is None or view.event.record is not UNSET:
            key: Key = (plan.number, *[view.key(field) for field in plan.dependencies])
        elif plan.other_dependencies:
            others = [view.key(field) for field in plan.other_dependencies]
            key = (plan.number, plan.plain(view.event), *others)
        else:
            key = (plan.number, plan.plain(view.event))
        numbers = self._cache.get(key)
        if numbers is None:
            numbers = self._evaluate(plan.cacheable, view)
            self._cache.put(key, numbers)
        return numbers

    def _evaluate(self, numbers: Iterable[int], view: View) -> tuple[int, ...]:
        entries, started = self._entries, perf_counter()
        matching = tuple([number for number in numbers if entries[number].matches(view)])
        if perf_counter() - started > self._limit:
            self._find_slow(numbers, view)
        return matching

    def _find_slow(self, numbers: Iterable[int], view: View) -> None:
        """Evaluate each entry alone, and measure the CPU time of this thread only."""
        for number in numbers:
            entry, started = self._entries[number], thread_time()
            entry.matches(view)
            if (seconds := thread_time() - started) > self._limit:
                self._on_slow(entry.target, seconds)

    def _add_plan(self, fulfilled: Fulfilled) -> _Plan:
        cacheable: list[int] = []
        uncacheable: list[int] = []
        dependencies: set[str] = set()
        for number in self._index.candidates(fulfilled):
            needed = self._entries[number].dependencies
            if needed is None or len(needed) > _MAX_CACHED_DEPENDENCIES:
                uncacheable.append(number)
            else:
                cacheable.append(number)
                dependencies |= needed
        plain = [field for field in sorted(dependencies) if fields.plain([field])]
        others = tuple(sorted(dependencies.difference(plain)))
        plan = _Plan(
            number=next(_plan_numbers),
            cacheable=tuple(cacheable),
            dependencies=(*plain, *others),
            plain=fields.plain(plain),
            other_dependencies=others,
            uncacheable=tuple(uncacheable),
        )
        if len(self._plans) >= _MAX_PLANS:
            self._plans.clear()
        self._plans[fulfilled] = plan
        return plan
