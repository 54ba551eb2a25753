"""The rules that an event matches: found by an index, asked once, and remembered by value."""

import itertools
from collections.abc import Callable, Iterable, Sequence
from math import inf
from time import perf_counter, thread_time
from typing import Any, Final, Generic, TypeVar

from msgspec import UNSET, Struct

from audit_analysis.sigma import fields
from audit_analysis.sigma.fields import View
from audit_analysis.sigma.index import Found, Index
from audit_analysis.sigma.prefilter import Requirement
from audit_analysis.sigma.values import Predicate
from audit_analysis.sigma.verdict_cache import Key, Memory
from auditflow.contract.event import Event

T = TypeVar("T")

#: Combinations of requirements of which it is remembered what to ask.
_PLANS: Final = 20_000
#: Names of plans: never that of one that was forgotten, for its answers may be known still.
_numbers: Final = itertools.count()


class Question(Struct, Generic[T], frozen=True):
    """Whether an event is what ``thing`` describes.

    Each of ``requirements`` must hold for ``matches`` to be worth asking. ``reads`` are the fields
    on which the answer depends; None: on anything.
    """

    thing: T
    matches: Predicate
    requirements: tuple[Requirement, ...] = ()
    reads: frozenset[str] | None = None


class _Plan(Struct, frozen=True, gc=False):
    """What to ask of an event that fulfils some requirements: questions by their numbers.

    What becomes of the ``keyed`` ones depends on the fields of ``reads`` and on nothing else. Of
    these ``plain`` gives the first ones of an event without a record, and ``rest`` are the others.
    """

    number: int
    keyed: tuple[int, ...]
    reads: tuple[str, ...]
    plain: Callable[[Event], Any] | None
    rest: tuple[str, ...]
    others: tuple[int, ...]


class Matcher(Generic[T]):
    """Answers many questions about an event at once. The order of the questions is kept.

    Answers are kept in ``memory``, which other matchers may share. When the questions about an
    event took longer than ``bound`` (seconds), ``slow`` is told of each that does so by itself.
    """

    def __init__(
        self,
        questions: Iterable[Question[T]],
        *,
        memory: Memory[tuple[int, ...]],
        bound: float = inf,
        slow: Callable[[T, float], None] = lambda thing, seconds: None,
    ) -> None:
        self._questions = tuple(questions)
        self._index = Index([one.requirements for one in self._questions])
        self._plans: dict[Found, _Plan] = {}
        self._memory = memory
        self._bound = bound
        self._slow = slow

    def match(self, view: View) -> Sequence[T]:
        """All things that describe the event."""
        found = self._index.found(view)
        plan = self._plans.get(found)
        if plan is None:
            plan = self._plan(found)
        numbers = self._keyed(plan, view) if plan.keyed else ()
        if plan.others:
            numbers = tuple(sorted((*numbers, *self._asked(plan.others, view))))
        return [self._questions[number].thing for number in numbers] if numbers else ()

    def _keyed(self, plan: _Plan, view: View) -> tuple[int, ...]:
        # The two ways give keys that differ in length, or in what stands behind the number.
        if plan.plain is None or view.event.record is not UNSET:
            key: Key = (plan.number, *[view.key(field) for field in plan.reads])
        elif plan.rest:
            key = (plan.number, plan.plain(view.event), *[view.key(field) for field in plan.rest])
        else:
            key = (plan.number, plan.plain(view.event))
        known = self._memory.recall(key)
        if known is None:
            known = self._asked(plan.keyed, view)
            self._memory.keep(key, known)
        return known

    def _asked(self, numbers: Iterable[int], view: View) -> tuple[int, ...]:
        questions, began = self._questions, perf_counter()
        yes = tuple([number for number in numbers if questions[number].matches(view)])
        if perf_counter() - began > self._bound:
            self._time(numbers, view)
        return yes

    def _time(self, numbers: Iterable[int], view: View) -> None:
        """Ask again, each alone and by the clock of this thread: others may have had the core."""
        for number in numbers:
            question, began = self._questions[number], thread_time()
            question.matches(view)
            if (seconds := thread_time() - began) > self._bound:
                self._slow(question.thing, seconds)

    def _plan(self, found: Found) -> _Plan:
        keyed: list[int] = []
        others: list[int] = []
        reads: set[str] = set()
        for number in self._index.candidates(found):
            read = self._questions[number].reads
            if read is None:
                others.append(number)
            else:
                keyed.append(number)
                reads |= read
        first = [field for field in sorted(reads) if fields.plain([field])]
        rest = tuple(sorted(reads.difference(first)))
        plan = _Plan(
            number=next(_numbers),
            keyed=tuple(keyed),
            reads=(*first, *rest),
            plain=fields.plain(first),
            rest=rest,
            others=tuple(others),
        )
        if len(self._plans) >= _PLANS:
            self._plans.clear()
        self._plans[found] = plan
        return plan
