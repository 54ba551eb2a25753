"""The synthetic workload: reproducible, mostly benign, with recognisable attacks."""

import datetime as dt
import random
from collections import Counter
from collections.abc import Iterator
from itertools import islice, pairwise

import pytest

from audit_event_generator.ingest.encoding import encode
from audit_event_generator.scenarios import routine_work, workload
from audit_event_generator.scenarios.attacks import ATTACKS
from audit_event_generator.scenarios.company import EXTERNAL_ADDRESSES, PEOPLE, SECURITY_SERVICES
from auditflow.contract.event import Event

MONDAY = dt.datetime(2026, 3, 16, 9, 0, tzinfo=dt.UTC)


def generate(
    seed: int, count: int, *, rate: float = 2, start: dt.datetime = MONDAY
) -> list[workload.WorkloadEvent]:
    def clock() -> Iterator[dt.datetime]:
        now = start
        while True:
            yield now
            now += dt.timedelta(seconds=1 / rate)

    ticks = clock()
    return list(islice(workload.generate(seed, lambda: next(ticks)), count))


def test_same_seed_gives_the_same_events() -> None:
    first, second, other = generate(7, 2000), generate(7, 2000), generate(8, 2000)

    assert first == second
    assert first != other
    ids = [item.event.event_id for item in first + other]
    assert len(set(ids)) == 4000


def test_another_day_gives_other_event_ids() -> None:
    later = generate(7, 500, start=MONDAY + dt.timedelta(days=1))

    assert not {item.event.event_id for item in generate(7, 500)} & {
        item.event.event_id for item in later
    }


def test_events_satisfy_the_contract() -> None:
    for item in generate(7, 3000):
        encode(item.event)
        event = item.event
        assert event.logsource is not None
        assert (event.logsource.product, event.logsource.category) == (
            "auditflow",
            event.event_type,
        )
        assert event.user_id
        assert event.server_hostname
        if event.event_type == "user_login":
            assert event.action_result in ("SUCCESS", "FAILURE")
            assert event.address
        if event.event_type == "file_modified":
            assert event.action_result == "MODIFIED"
            assert event.object
            assert event.object.startswith("/")


@pytest.mark.parametrize("rate", [0.1, 2, 50, 500])
def test_time_between_attacks(rate: float) -> None:
    count = max(2000, int(rate * 90))
    events = generate(3, count, rate=rate)

    starts = [item.event.timestamp for item in events if item.starts_scenario]

    gaps = [(b - a).total_seconds() for a, b in pairwise(starts)]
    assert starts
    assert min(gaps) >= 25
    if rate == 2:
        assert 40 <= sum(gaps) / len(gaps) <= 90
        assert (starts[0] - MONDAY).total_seconds() <= 15, "a demo shows an attack soon"


def test_every_attack_occurs_before_any_is_repeated() -> None:
    names = [item.starts_scenario for item in generate(11, 4000) if item.starts_scenario]

    assert set(names[: len(ATTACKS)]) == set(ATTACKS)


def suspicious(event: Event) -> bool:
    return event.severity == "CRITICAL" or event.client_ip in EXTERNAL_ADDRESSES


@pytest.mark.parametrize("rate", [2, 1000])
def test_most_events_are_benign(rate: float) -> None:
    events = [item.event for item in generate(5, 20_000, rate=rate)]

    assert sum(map(suspicious, events)) / len(events) < 0.15
    assert Counter(event.event_type for event in events).most_common(1)[0][1] < 15_000
    benign_failures: dict[tuple[str | None, str | None], list[dt.datetime]] = {}
    for event in events:
        if event.action_result == "FAILURE" and event.client_ip not in EXTERNAL_ADDRESSES:
            key = (event.user_id, event.server_hostname)
            benign_failures.setdefault(key, []).append(event.timestamp)
    assert benign_failures, "people mistype passwords"
    for times in benign_failures.values():
        for first, third in zip(times, times[2:], strict=False):
            assert (third - first).total_seconds() > 60, "not like a brute force"


def test_routine_work_does_not_touch_sensitive_objects() -> None:
    rng = random.Random(1)
    templates = [
        template
        for activity, _ in routine_work.ACTIVITIES
        for _ in range(300)
        for template in activity(rng, MONDAY)
    ]

    assert not [item for item in templates if (item.resource or "").startswith("/etc")]
    assert not [item for item in templates if item.resource in SECURITY_SERVICES]
    assert not [item for item in templates if item.event_type == "user_account_management"]


def test_people_mostly_work_in_their_hours() -> None:
    night = MONDAY.replace(hour=2)
    at_work = Counter(
        template.user
        for _ in range(500)
        for template in routine_work.sign_in(random.Random(_), night)
    )

    working = {person.name for person in PEOPLE if person.works_at(night)}
    assert working
    assert sum(at_work[name] for name in working) > 300


def runs(name: str) -> Iterator[list[tuple[str, str]]]:
    for seed in range(50):
        yield [(item.event_type, item.action_result) for item in ATTACKS[name](random.Random(seed))]


FAILED, ENTERED = ("user_login", "FAILURE"), ("user_login", "SUCCESS")


def test_every_attack_has_a_description() -> None:
    assert len(ATTACKS) == 8
    assert all(attack.__doc__ and "(" in attack.__doc__ for attack in ATTACKS.values())


def test_brute_force_targets_one_account() -> None:
    for run in runs("password_brute_force"):
        assert len(run) >= 5
        assert set(run) == {FAILED}
    templates = ATTACKS["password_brute_force"](random.Random(1))
    assert len({(item.user, item.host, item.ip) for item in templates}) == 1


def test_spray_targets_many_accounts_from_one_address() -> None:
    templates = ATTACKS["password_spray"](random.Random(1))

    assert len({item.user for item in templates}) == len(templates) >= 5
    assert len({(item.host, item.ip) for item in templates}) == 1


def test_successful_brute_force_ends_with_root() -> None:
    for run in runs("brute_force_that_succeeds"):
        assert run[:3] == [FAILED] * 3
        assert run[-2:] == [ENTERED, ("sudo_command", "SUCCESS")]


@pytest.mark.parametrize(
    ("name", "characteristic"),
    [
        ("sensitive_file_change", ("file_modified", "MODIFIED")),
        ("privilege_escalation", ("file_modified", "MODIFIED")),
        ("stopped_security_service", ("service_status_change", "STOPPED")),
        ("new_admin_account", ("user_account_management", "CREATED")),
        ("data_exfiltration", ("data_transfer", "SUCCESS")),
    ],
)
def test_attack_contains_its_characteristic_event(
    name: str, characteristic: tuple[str, str]
) -> None:
    assert all(characteristic in run for run in runs(name))
