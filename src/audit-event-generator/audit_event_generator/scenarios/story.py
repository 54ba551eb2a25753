"""The story: work without end, and an attack in it every now and then."""

import datetime as dt
import random
from collections import deque
from collections.abc import Callable, Iterator
from typing import Final

import msgspec
from msgspec import Struct

from audit_event_generator.scenarios import benign
from audit_event_generator.scenarios.attacks import ATTACKS
from audit_event_generator.scenarios.world import Step
from auditflow.contract import event, identity
from auditflow.contract.event import Event, LogSource

#: Events between the beginnings of two attacks, and at least so much time when events come fast:
#: a person must be able to follow.
_EVENTS_BETWEEN: Final = (90, 150)
_SECONDS_BETWEEN: Final = (25, 45)
#: The first attack comes early, so that a demo need not wait.
_FIRST_AFTER_EVENTS: Final = 15
#: Honest typos are rare in time, however fast events come, or they would look like an attack.
_TYPO_PAUSE: Final = dt.timedelta(minutes=3)
#: Pieces of work that go on side by side.
_SIDE_BY_SIDE: Final = 6

Clock = Callable[[], dt.datetime]


class Told(Struct, frozen=True):
    """An event of the story, and the attack's name where it is an attack's first event."""

    event: Event
    begins: str | None = None


def tell(seed: int, clock: Clock) -> Iterator[Told]:
    """Tell the story, for ever. ``clock`` says when each event happens, with an offset.

    The same seed and the same times give the same events with the same identifiers.
    """
    rng = random.Random(seed)  # noqa: S311 # nosec B311 # a story, not a secret
    work = _Work(rng)
    raids = _Raids(rng)
    number = 0
    while True:
        now = clock()
        step, begins = raids.next(number, now)
        step = step or work.next(now)
        yield Told(_event(step, now, f"{seed}/{number}"), begins)
        number += 1


class _Work:
    """Benign sequences, several at once."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._running: list[deque[Step]] = []
        self._last_typo: dt.datetime | None = None

    def next(self, now: dt.datetime) -> Step:
        if len(self._running) < _SIDE_BY_SIDE:
            self._running.append(deque(self._begin(now)))
        sequence = self._rng.choice(self._running)
        step = sequence.popleft()
        if not sequence:
            self._running.remove(sequence)
        return step

    def _begin(self, now: dt.datetime) -> list[Step]:
        habits, weights = zip(*benign.HABITS, strict=True)
        habit = self._rng.choices(habits, weights)[0]
        if habit is benign.mistyped_sign_in:
            if self._last_typo is not None and now - self._last_typo < _TYPO_PAUSE:
                habit = benign.sign_in
            else:
                self._last_typo = now
        steps: list[Step] = habit(self._rng, now)
        return steps


class _Raids:
    """One attack at a time; all kinds of them before any comes twice."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._names: list[str] = []
        self._steps: deque[Step] = deque()
        self._noise = 0
        self._next_number = _FIRST_AFTER_EVENTS
        self._next_time: dt.datetime | None = None

    def next(self, number: int, now: dt.datetime) -> tuple[Step | None, str | None]:
        """The attack's step when it is its turn, and its name when it begins."""
        begins = None
        if not self._steps:
            waiting = self._next_time is not None and now < self._next_time
            if number < self._next_number or waiting:
                return None, None
            begins = self._begin(number, now)
        elif self._noise:
            self._noise -= 1
            return None, None
        step = self._steps.popleft()
        self._noise = self._steps[0].after if self._steps else 0
        return step, begins

    def _begin(self, number: int, now: dt.datetime) -> str:
        if not self._names:
            self._names = self._rng.sample(sorted(ATTACKS), len(ATTACKS))
        name = self._names.pop()
        self._steps = deque(ATTACKS[name](self._rng))
        self._next_number = number + self._rng.randint(*_EVENTS_BETWEEN)
        self._next_time = now + dt.timedelta(seconds=self._rng.randint(*_SECONDS_BETWEEN))
        return name


def _event(step: Step, now: dt.datetime, place: str) -> Event:
    draft = Event(
        event_id=place,
        timestamp=now,
        event_type=step.event_type,
        source_service=step.source_service,
        server_hostname=step.host,
        severity=step.severity,
        user_id=step.user,
        action_result=step.action_result,
        client_ip=step.ip,
        resource=step.resource,
        details=dict(step.details),
        logsource=LogSource(product="auditflow", category=step.event_type),
    )
    # Place and time are part of what is hashed: told again tomorrow, it is another event.
    return msgspec.structs.replace(draft, event_id=identity.record_id(event.encode(draft)))
