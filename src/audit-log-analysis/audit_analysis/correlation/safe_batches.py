"""How much may be counted before what it comes to is safe with the broker."""

from typing import Final, Generic, TypeVar

from msgspec import Struct

from audit_analysis.correlation.cascade import Counted

C = TypeVar("C")

#: The name under which all chains are one window.
_CHAINS: Final = "chains"


class Span(Struct, frozen=True, gc=False):
    """The oldest and the newest moment that a window sees, and its lateness (ms)."""

    oldest: int
    newest: int
    lateness: int

    def fits(self, other: "Span") -> bool:
        """Whether no event of either drives one of the other out of the window."""
        both = self.joined(other)
        return both.newest - both.oldest <= both.lateness

    def joined(self, other: "Span") -> "Span":
        """Both in one."""
        return Span(
            min(self.oldest, other.oldest),
            max(self.newest, other.newest),
            min(self.lateness, other.lateness),
        )


class Part(Struct, Generic[C], frozen=True):
    """What may be counted before what it comes to is safe, and the span of each of its windows."""

    counted: list[Counted[C]]
    spans: dict[str, Span]

    def fits(self, after: "Part[C]") -> bool:
        """Whether both can be one part, so that the second may be counted while what was seen in
        the first is not safe yet. A few that could be are not found."""
        few, many = sorted((self.spans, after.spans), key=len)
        return all(span.fits(many[name]) for name, span in few.items() if name in many)


class Parts(Generic[C]):
    """What is counted, in parts to publish one after the other; at least one, mostly just that.

    An event drives out of its window what is much older. What was seen of that must be safe before,
    for if the worker dies it cannot be seen again. So in a part no window moves on by more than the
    lateness. It takes a backlog, or a log that is replayed, to make a second part.
    """

    def __init__(self) -> None:
        self.before: list[Part[C]] = []
        self.last: Part[C] = Part([], {})

    def add(self, one: Counted[C]) -> None:
        """Take in one more, in the order in which they came."""
        moment, spec = one.observation.moment, one.observation.spec
        # Chains are all one window here: it is not known yet whom the outer ones will be about.
        name = _CHAINS if spec.feeds or one.rule.depth else one.observation.key
        span, known = Span(moment, moment, spec.lateness), self.last.spans.get(name)
        if known is None:
            self.last.spans[name] = span
        elif moment < known.newest - spec.lateness:
            pass  # late: it changes nothing
        elif known.fits(span):
            self.last.spans[name] = known.joined(span)
        else:
            self.before.append(self.last)
            self.last = Part([], {name: span})
        self.last.counted.append(one)
