"""Searches in archived events give what a plain filter over all events gives."""

import ipaddress
import random
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from src.tests.archived_events import START_MS, FolderArchive, archived, write

from audit_analysis.archive.table import ArchivedEvent
from audit_analysis.events_api.archive_search import ArchiveSearch
from audit_analysis.events_api.database import (
    Cancellation,
    SearchCancelled,
    SearchDatabase,
    SearchLimits,
    SearchTimeout,
    SearchTooLarge,
    TooManySearches,
)
from audit_analysis.events_api.query import (
    Condition,
    EventFilter,
    EventQuery,
    InvalidCondition,
    Modifier,
    Order,
    Position,
    parse_condition,
)

USERS = ("alice", "Alice", "bob", "a'; DROP TABLE pending; --", "ümlaut", None)
HOSTS = ("web-01", "web-02", "db%_01", None)
ADDRESSES = ("192.0.2.1", "192.0.3.7", "10.1.2.3", "2001:db8::1", "no address", "999.1.1.1", None)
ALL = EventFilter(since_ms=0, until_ms=2**52)


def random_events(number: int, seed: int) -> list[ArchivedEvent]:
    rng = random.Random(seed)
    return [
        archived(
            index,
            at_ms=START_MS + rng.randrange(60) * 1000,
            user=rng.choice(USERS),
            host=rng.choice(HOSTS),
            address=rng.choice(ADDRESSES),
            refused=rng.random() < 0.1,
            late=rng.random() < 0.1,
            record=rng.choice(
                (
                    b'{"details":{"port":22,"cmd":"Curl \\u00fcber \\"x\\" c:\\\\temp\\/y"}}',
                    '{"details":{"port":"22","cmd":"Über /tmp"}}'.encode(),
                    b'{"details":{"port":443}}',
                    b"\xff not JSON",
                )
            ),
        )
        for index in range(number)
    ]


def matches(event: ArchivedEvent, condition: Condition) -> bool:
    """The meaning of a condition, without SQL."""
    if condition.field == "record.details.port":
        value: str | None = {True: "22"}.get(b"22" in event.record)
        value = "443" if b"443" in event.record else value
    else:
        value = getattr(event, condition.field)
    if value is None:
        found = False
    elif condition.modifier is Modifier.EQUALS:
        found = value == condition.value
    elif condition.modifier is Modifier.CIDR:
        try:
            found = ipaddress.IPv4Address(value) in ipaddress.IPv4Network(condition.value)
        except ValueError:
            found = False
    else:
        test = {
            Modifier.CONTAINS: str.__contains__,
            Modifier.STARTSWITH: str.startswith,
            Modifier.ENDSWITH: str.endswith,
        }[condition.modifier]
        found = bool(test(value.lower(), condition.value.lower()))
    return found is not condition.negated


conditions = st.one_of(
    st.builds(
        Condition,
        st.just("user"),
        st.sampled_from([user for user in USERS if user] + ["ALI", "LICE", "'"]),
        st.sampled_from(
            [Modifier.EQUALS, Modifier.CONTAINS, Modifier.STARTSWITH, Modifier.ENDSWITH]
        ),
        st.booleans(),
    ),
    st.builds(
        Condition, st.just("host"), st.sampled_from(["%", "_", "01"]), st.just(Modifier.CONTAINS)
    ),
    st.builds(
        Condition,
        st.just("address"),
        st.sampled_from(["192.0.0.0/16", "192.0.2.1/32", "0.0.0.0/0", "10.0.0.0/8"]),
        st.just(Modifier.CIDR),
        st.booleans(),
    ),
    st.builds(
        Condition,
        st.just("record.details.port"),
        st.sampled_from(["22", "443", "1"]),
        st.just(Modifier.EQUALS),
        st.booleans(),
    ),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("archive")


@pytest.fixture(scope="module")
def events() -> list[ArchivedEvent]:
    return random_events(300, 1)


@pytest.fixture(scope="module")
def search(folder: Path, events: list[ArchivedEvent]) -> ArchiveSearch:
    """Twenty files that overlap in time and contain some events twice, and pending events."""
    rng = random.Random(2)
    parts: list[list[ArchivedEvent]] = [[] for _ in range(21)]
    for event in events:
        for part in rng.sample(parts, k=rng.choice((1, 1, 2))):
            part.append(event)
    files = [write(folder / f"{number}.parquet", part) for number, part in enumerate(parts[1:])]
    return ArchiveSearch(FolderArchive(files, parts[0]), database(folder))


def database(folder: Path, **limits: Any) -> SearchDatabase:
    return SearchDatabase(SearchLimits(**{"seconds": 60, **limits}), folders=[folder])


@settings(max_examples=25, deadline=None)
@given(
    criteria=st.builds(
        EventFilter,
        since_ms=st.integers(START_MS - 5000, START_MS + 30_000),
        until_ms=st.integers(START_MS + 20_000, START_MS + 65_000),
        conditions=st.lists(conditions, max_size=2).map(tuple),
        refused=st.sampled_from([None, True, False]),
        late=st.sampled_from([None, None, True, False]),
    ),
    order=st.sampled_from(Order),
    limit=st.integers(1, 120),
)
def test_pages_histogram_and_facets_are_those_of_a_plain_filter(
    criteria: EventFilter,
    order: Order,
    limit: int,
    search: ArchiveSearch,
    events: list[ArchivedEvent],
) -> None:
    expected = sorted(
        (
            event
            for event in events
            if criteria.since_ms <= event.occurred_ms < criteria.until_ms
            and all(matches(event, condition) for condition in criteria.conditions)
            and criteria.refused in (None, event.refused)
            and criteria.late in (None, event.late)
        ),
        key=lambda event: (event.occurred_ms, event.event_id),
        reverse=order is Order.NEWEST,
    )
    found: list[str] = []
    page_query = EventQuery(filter=criteria, order=order, limit=limit)
    while True:
        page = search.page(page_query)
        assert len(page.events) <= limit
        found += [event.event_id for event in page.events]
        if page.next is None:
            break
        page_query = EventQuery(filter=criteria, order=order, limit=limit, after=page.next)
    assert found == [event.event_id for event in expected]
    counts = search.histogram(criteria, interval_ms=10_000)
    assert sum(counts.values()) == len(expected)
    for start, count in counts.items():
        assert count == sum(start <= event.occurred_ms < start + 10_000 for event in expected)
    values = dict(search.facet(criteria, "user", limit=10))
    assert values == {
        user: sum(event.user == user for event in expected)
        for user in {event.user for event in expected}
    }
    exported = [event for part in search.export(criteria, seconds=60) for event in part]
    assert sorted(exported) == sorted(expected)


@pytest.mark.parametrize(
    ("text", "number_of_records"),
    [
        ("curl", 1), ("CURL ÜBER", 1), ("über", 2), ('"x"', 1), ("c:\\temp/y", 1), ("/tmp", 1),
        (".*", 0), ("(?i)", 0), ("port", 3),
    ],
)  # fmt: skip
def test_text_is_found_in_any_letter_case_and_as_json_escapes_it(
    text: str, number_of_records: int, search: ArchiveSearch
) -> None:
    criteria = EventFilter(since_ms=0, until_ms=2**52, text=text)
    parts = list(search.export(criteria, seconds=60))
    assert len({event.record for part in parts for event in part}) == number_of_records


def test_one_event_is_found_by_its_id(search: ArchiveSearch, events: list[ArchivedEvent]) -> None:
    for event in (events[0], events[150], events[299]):
        assert search.event(event.event_id) == event
    assert search.event("' OR true --") is None


def test_a_search_ends_at_its_deadline(folder: Path) -> None:
    with database(folder).search(seconds=0.2) as search, pytest.raises(SearchTimeout):
        search.rows("SELECT count(*) FROM range(1000000000000) a(i) WHERE hash(i) = 1", {})


def test_a_search_is_cancelled(folder: Path) -> None:
    cancellation = Cancellation()
    with database(folder).search(cancellation=cancellation) as search:
        timer = threading.Timer(0.2, cancellation.cancel)
        timer.start()
        with pytest.raises(SearchCancelled):
            search.rows("SELECT count(*) FROM range(1000000000000) a(i) WHERE hash(i) = 1", {})
        # and no further statement starts
        with pytest.raises(SearchCancelled):
            search.rows("SELECT 1", {})


def test_the_memory_of_a_search_is_limited(folder: Path) -> None:
    with database(folder, memory_mebibytes=50).search() as search, pytest.raises(SearchTooLarge):
        search.rows("SELECT count(DISTINCT i) FROM range(50000000) a(i)", {})


def test_a_search_reads_only_the_archive_and_changes_no_setting(folder: Path) -> None:
    with database(folder).search() as search:
        for statement in (
            "SELECT * FROM read_csv('/etc/passwd')",
            "COPY (SELECT 1) TO '/tmp/auditflow-test.csv'",
            "INSTALL httpfs",
            "SET enable_external_access = true",
        ):
            with pytest.raises(Exception, match=r"(?i)disabled|locked|not allowed"):
                search.rows(statement, {})


def test_the_queue_of_searches_is_limited(folder: Path) -> None:
    limited = database(folder, running=1, waiting=0)
    with limited.search(), pytest.raises(TooManySearches), limited.search():
        pass
    with limited.search() as search:
        assert search.rows("SELECT 1", {}) == [(1,)]


@pytest.mark.parametrize(
    "text",
    [
        "", "user", "user|like=a", "password=a", "user=", "user=\0", "address|cidr=10.0.0.0/40",
        "record.=a", 'record.a"b=c', "record.a\\=c", "record." + "a" * 300 + "=c", "record.a..b=c",
    ],
)  # fmt: skip
def test_invalid_conditions_are_refused(text: str) -> None:
    with pytest.raises(InvalidCondition):
        parse_condition(text)


def test_conditions_are_read() -> None:
    assert parse_condition("!user|startswith=a=b") == Condition(
        "user", "a=b", Modifier.STARTSWITH, negated=True
    )
    assert parse_condition("record.details.port=22").field == "record.details.port"


def test_an_empty_archive_has_no_events(folder: Path) -> None:
    search = ArchiveSearch(FolderArchive([]), database(folder))
    assert search.page(EventQuery(filter=ALL)).events == []
    assert search.event("e") is None
    assert search.histogram(ALL, interval_ms=1000) == {}


@pytest.mark.parametrize("order", list(Order))
def test_a_page_without_conditions_reads_only_the_files_that_it_needs(
    tmp_path: Path, order: Order
) -> None:
    # Given six files with ten events each, of which only the third can be read
    files = [
        write(tmp_path / f"{number}.parquet", [archived(10 * number + part) for part in range(10)])
        for number in range(6)
    ]
    for number in (0, 1, 3, 4, 5):
        (tmp_path / f"{number}.parquet").unlink()
    search = ArchiveSearch(FolderArchive(files), database(tmp_path))
    # when the page after the events of the files before it is read
    is_newest = order is Order.NEWEST
    border = archived(30 if is_newest else 19)
    after = Position(order, border.occurred_ms + (-1 if is_newest else 1), border.event_id)
    found = search.page(EventQuery(filter=ALL, order=order, limit=5, after=after))
    # then no other file is opened
    wanted = range(29, 24, -1) if is_newest else range(20, 25)
    assert [event.event_id for event in found.events] == [f"e{number:05}" for number in wanted]
    assert found.next is not None


def test_a_search_starts_no_thread_after_its_beginning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python would wait forever for a thread that has no memory to start."""
    started = []
    start = threading.Thread.start

    def record(thread: threading.Thread) -> None:
        started.append(thread.name)
        start(thread)

    searched = database(tmp_path)
    monkeypatch.setattr(threading.Thread, "start", record)
    with searched.search() as search:
        at_beginning = len(started)
        assert len(list(search.stream("SELECT * FROM range(100)", {}, size=1))) >= 1
        assert search.rows("SELECT 1", {}) == [(1,)]
    assert at_beginning == len(started) == 1
