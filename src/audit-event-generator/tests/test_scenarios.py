"""The story: the same for the same seed, mostly honest work, and attacks that can be told."""

import datetime as dt
import random
from collections import Counter
from collections.abc import Iterator
from itertools import islice, pairwise

import pytest

from audit_event_generator.ingest.sealing import seal
from audit_event_generator.scenarios import benign, story
from audit_event_generator.scenarios.attacks import ATTACKS
from audit_event_generator.scenarios.world import OUTSIDE, PEOPLE, SECURITY_SERVICES
from auditflow.contract.event import Event

MONDAY = dt.datetime(2026, 3, 16, 9, 0, tzinfo=dt.UTC)


def told(
    seed: int, count: int, *, rate: float = 2, start: dt.datetime = MONDAY
) -> list[story.Told]:
    def clock() -> Iterator[dt.datetime]:
        now = start
        while True:
            yield now
            now += dt.timedelta(seconds=1 / rate)

    ticks = clock()
    return list(islice(story.tell(seed, lambda: next(ticks)), count))


def test_the_same_seed_tells_the_same_story() -> None:
    once, again, other = told(7, 2000), told(7, 2000), told(8, 2000)

    assert once == again
    assert once != other
    ids = [one.event.event_id for one in once + other]
    assert len(set(ids)) == 4000


def test_told_on_another_day_it_has_other_events() -> None:
    later = told(7, 500, start=MONDAY + dt.timedelta(days=1))

    assert not {one.event.event_id for one in told(7, 500)} & {one.event.event_id for one in later}


def test_every_event_fits_the_contract_in_the_shape_of_the_original() -> None:
    for one in told(7, 3000):
        seal(one.event)
        event = one.event
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
def test_an_attack_comes_every_minute_or_so_and_not_oftener(rate: float) -> None:
    count = max(2000, int(rate * 90))
    events = told(3, count, rate=rate)

    begins = [one.event.timestamp for one in events if one.begins]

    gaps = [(b - a).total_seconds() for a, b in pairwise(begins)]
    assert begins, "there is one at least"
    assert min(gaps) >= 25
    if rate == 2:
        assert 40 <= sum(gaps) / len(gaps) <= 90
        assert (begins[0] - MONDAY).total_seconds() <= 15, "a demo need not wait"


def test_all_kinds_of_attacks_come_before_any_comes_twice() -> None:
    names = [one.begins for one in told(11, 4000) if one.begins]

    assert set(names[: len(ATTACKS)]) == set(ATTACKS)


def suspicious(event: Event) -> bool:
    return event.severity == "CRITICAL" or event.client_ip in OUTSIDE


@pytest.mark.parametrize("rate", [2, 1000])
def test_most_of_it_is_honest_work_that_no_rule_should_mind(rate: float) -> None:
    events = [one.event for one in told(5, 20_000, rate=rate)]

    assert sum(map(suspicious, events)) / len(events) < 0.15
    assert Counter(event.event_type for event in events).most_common(1)[0][1] < 15_000
    honest_failures: dict[tuple[str | None, str | None], list[dt.datetime]] = {}
    for event in events:
        if event.action_result == "FAILURE" and event.client_ip not in OUTSIDE:
            key = (event.user_id, event.server_hostname)
            honest_failures.setdefault(key, []).append(event.timestamp)
    assert honest_failures, "people mistype"
    for times in honest_failures.values():
        for first, third in zip(times, times[2:], strict=False):
            assert (third - first).total_seconds() > 60, "never like a brute force"


def test_honest_work_leaves_the_sensitive_alone() -> None:
    rng = random.Random(1)
    steps = [step for habit, _ in benign.HABITS for _ in range(300) for step in habit(rng, MONDAY)]

    assert not [one for one in steps if (one.resource or "").startswith("/etc")]
    assert not [one for one in steps if one.resource in SECURITY_SERVICES]
    assert not [one for one in steps if one.event_type == "user_account_management"]


def test_people_keep_their_hours() -> None:
    night = MONDAY.replace(hour=2)
    at_work = Counter(
        step.user for _ in range(500) for step in benign.sign_in(random.Random(_), night)
    )

    working = {person.name for person in PEOPLE if person.works_at(night)}
    assert working
    assert sum(at_work[name] for name in working) > 300


def runs(name: str) -> Iterator[list[tuple[str, str]]]:
    for seed in range(50):
        yield [(one.event_type, one.action_result) for one in ATTACKS[name](random.Random(seed))]


FAILED, ENTERED = ("user_login", "FAILURE"), ("user_login", "SUCCESS")


def test_every_attack_is_described() -> None:
    assert len(ATTACKS) == 8
    assert all(attack.__doc__ and "(" in attack.__doc__ for attack in ATTACKS.values())


def test_a_brute_force_is_on_one_account_and_fails() -> None:
    for run in runs("password_brute_force"):
        assert len(run) >= 5
        assert set(run) == {FAILED}
    steps = ATTACKS["password_brute_force"](random.Random(1))
    assert len({(one.user, one.host, one.ip) for one in steps}) == 1


def test_a_spray_is_on_many_accounts_from_one_address() -> None:
    steps = ATTACKS["password_spray"](random.Random(1))

    assert len({one.user for one in steps}) == len(steps) >= 5
    assert len({(one.host, one.ip) for one in steps}) == 1


def test_a_brute_force_that_succeeds_ends_with_root() -> None:
    for run in runs("brute_force_that_succeeds"):
        assert run[:3] == [FAILED] * 3
        assert run[-2:] == [ENTERED, ("sudo_command", "SUCCESS")]


@pytest.mark.parametrize(
    ("name", "telling"),
    [
        ("sensitive_file_change", ("file_modified", "MODIFIED")),
        ("privilege_escalation", ("file_modified", "MODIFIED")),
        ("stopped_security_service", ("service_status_change", "STOPPED")),
        ("new_admin_account", ("user_account_management", "CREATED")),
        ("data_exfiltration", ("data_transfer", "SUCCESS")),
    ],
)
def test_an_attack_has_its_telling_event(name: str, telling: tuple[str, str]) -> None:
    assert all(telling in run for run in runs(name))
