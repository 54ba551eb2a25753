"""Generate synthetic events: routine work, with an attack about once per minute."""

import datetime as dt
import random
from collections import deque
from collections.abc import Callable, Iterator
from typing import Final

import msgspec
from msgspec import Struct

from audit_event_generator.scenarios import routine_work
from audit_event_generator.scenarios.attacks import ATTACKS
from audit_event_generator.scenarios.company import EventTemplate
from auditflow.contract import event, identity
from auditflow.contract.event import Event, LogSource

#: Minimum and maximum number of events between the starts of two attacks.
_EVENTS_BETWEEN_ATTACKS: Final = (90, 150)
#: Minimum time between the starts of two attacks, in seconds (a range to choose from), so that a
#: person can follow at a high rate.
_SECONDS_BETWEEN_ATTACKS: Final = (25, 45)
#: Number of events before the first attack. It is small, so that a demo shows an attack soon.
_FIRST_ATTACK_AFTER_EVENTS: Final = 15
#: Minimum time between two mistyped logins. More would look like an attack.
_MISTYPED_LOGIN_PAUSE: Final = dt.timedelta(minutes=3)
#: Number of activities that run at the same time.
_CONCURRENT_ACTIVITIES: Final = 6

Clock = Callable[[], dt.datetime]


class WorkloadEvent(Struct, frozen=True):
    """A synthetic event. ``starts_scenario`` is the name of the attack if it is its first event."""

    event: Event
    starts_scenario: str | None = None


def generate(seed: int, clock: Clock) -> Iterator[WorkloadEvent]:
    """Yield events without end. ``clock`` returns the timestamp of the next event, with an offset.

    The same ``seed`` and the same timestamps give the same events with the same identifiers.
    """
    rng = random.Random(seed)  # noqa: S311 # nosec B311 # synthetic data, not a secret
    routine = _RoutineWork(rng)
    attacks = _AttackSchedule(rng)
    number = 0
    while True:
        now = clock()
        template, starts_scenario = attacks.next(number, now)
        template = template or routine.next(now)
        yield WorkloadEvent(_to_event(template, now, f"{seed}/{number}"), starts_scenario)
        number += 1


class _RoutineWork:
    """Several benign activities, interleaved."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._running: list[deque[EventTemplate]] = []
        self._last_mistyped_login: dt.datetime | None = None

    def next(self, now: dt.datetime) -> EventTemplate:
        if len(self._running) < _CONCURRENT_ACTIVITIES:
            self._running.append(deque(self._start(now)))
        activity = self._rng.choice(self._running)
        template = activity.popleft()
        if not activity:
            self._running.remove(activity)
        return template

    def _start(self, now: dt.datetime) -> list[EventTemplate]:
        activities, weights = zip(*routine_work.ACTIVITIES, strict=True)
        activity = self._rng.choices(activities, weights)[0]
        if activity is routine_work.mistyped_sign_in:
            if (
                self._last_mistyped_login is not None
                and now - self._last_mistyped_login < _MISTYPED_LOGIN_PAUSE
            ):
                activity = routine_work.sign_in
            else:
                self._last_mistyped_login = now
        templates: list[EventTemplate] = activity(self._rng, now)
        return templates


class _AttackSchedule:
    """Runs one attack at a time. Every kind occurs before any kind is repeated."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._names: list[str] = []
        self._remaining: deque[EventTemplate] = deque()
        self._delay_events = 0
        self._next_number = _FIRST_ATTACK_AFTER_EVENTS
        self._next_time: dt.datetime | None = None

    def next(self, number: int, now: dt.datetime) -> tuple[EventTemplate | None, str | None]:
        """Return the next event of an attack if one is due, and the attack's name if it starts.

        ``number`` is the number of events so far.
        """
        starts_scenario = None
        if not self._remaining:
            waiting = self._next_time is not None and now < self._next_time
            if number < self._next_number or waiting:
                return None, None
            starts_scenario = self._start(number, now)
        elif self._delay_events:
            self._delay_events -= 1
            return None, None
        template = self._remaining.popleft()
        self._delay_events = self._remaining[0].delay_events if self._remaining else 0
        return template, starts_scenario

    def _start(self, number: int, now: dt.datetime) -> str:
        if not self._names:
            self._names = self._rng.sample(sorted(ATTACKS), len(ATTACKS))
        name = self._names.pop()
        self._remaining = deque(ATTACKS[name](self._rng))
        self._next_number = number + self._rng.randint(*_EVENTS_BETWEEN_ATTACKS)
        self._next_time = now + dt.timedelta(seconds=self._rng.randint(*_SECONDS_BETWEEN_ATTACKS))
        return name


def _to_event(template: EventTemplate, now: dt.datetime, position: str) -> Event:
    draft = Event(
        event_id=position,
        timestamp=now,
        event_type=template.event_type,
        source_service=template.source_service,
        server_hostname=template.host,
        severity=template.severity,
        user_id=template.user,
        action_result=template.action_result,
        client_ip=template.ip,
        resource=template.resource,
        details=dict(template.details),
        logsource=LogSource(product="auditflow", category=template.event_type),
    )
    # The hash covers position and time, so that the same seed gives other events tomorrow.
    return msgspec.structs.replace(draft, event_id=identity.record_id(event.encode(draft)))
