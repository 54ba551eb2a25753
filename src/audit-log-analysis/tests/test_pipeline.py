"""A batch, from bytes to findings, with windows in memory."""

import datetime as dt

import msgspec
import pytest

from audit_analysis.service.archiving import Archiver
from audit_analysis.service.pipeline import POSTPONED_EVENTS
from auditflow.amqp import Delivery, topology
from auditflow.contract import event_hashes, finding, finding_message
from auditflow.errors import PublishError

from .pipeline_bench import NOW, Bench, delivery, failed_login


@pytest.fixture
def bench() -> Bench:
    return Bench()


#: Three bursts, an hour count_each.
BURSTS = [
    msgspec.json.encode(failed_login(10 * hour + number, seconds=3600 * hour - 36000 + number))
    for hour in range(3)
    for number in range(3)
]


def test_a_burst_becomes_one_finding_that_explains_itself(bench: Bench) -> None:
    events = [failed_login(number, seconds=-number) for number in range(5)]
    bench.send(*[msgspec.json.encode(event) for event in events])
    (finding,) = bench.findings
    assert finding.rule.title == "Burst of failed logins"
    assert finding.entity == {"user_id": "alice", "server_hostname": "web-01"}
    assert finding.count == 5
    assert finding.description == (
        "5 failed logins of alice on web-01, at least 3 of them within 1 minute"
    )
    assert [ref.event_id for ref in finding.evidence.events] == ["e4", "e3", "e2", "e1", "e0"]
    assert finding.evidence.first_event is not msgspec.UNSET
    assert finding.evidence.last_event is not msgspec.UNSET
    assert msgspec.json.decode(finding.evidence.first_event) == events[4]
    assert msgspec.json.decode(finding.evidence.last_event) == events[0]
    assert (finding.actor, finding.client_ip, finding.environment) == ("alice", "192.0.2.1", "test")
    assert finding.correlation_id == "c-1"


def test_a_batch_publishes_a_finding_once(bench: Bench) -> None:
    bench.send(msgspec.json.encode([failed_login(number) for number in range(100)]))
    assert len(bench.published) == 1


def test_versions_of_a_large_finding_list_all_events(bench: Bench) -> None:
    # Given a burst of 1,500 events in batches, of which one is delivered again after a failure
    events = [failed_login(number, seconds=number / 20) for number in range(1500)]
    for start in range(0, 1500, 300):
        body = msgspec.json.encode(events[start : start + 300])
        bench.fails = (bench.calls + 1, "it is waited for") if start == 600 else None
        if bench.fails:
            with pytest.raises(PublishError):
                bench.send(body)
        bench.send(body)
    # Then the versions have the hashes of all events, and each lists few events again
    (found,) = bench.findings
    names = event_hashes.of_events(event["event_id"] for event in events)
    assert (found.count, finding.event_set(found.evidence)) == (1500, names)
    last = finding.decode(bench.published[-1].body, now=NOW)
    assert event_hashes.size(last.evidence.event_hashes) <= 401


def test_a_published_version_is_not_published_again(bench: Bench) -> None:
    bodies = [msgspec.json.encode(failed_login(number)) for number in range(3)]
    bench.send(*bodies)
    bench.send(*bodies)
    assert len(bench.published) == 1


def test_a_redelivered_batch_publishes_the_same_findings(
    bench: Bench,
) -> None:
    bodies = [msgspec.json.encode(failed_login(number)) for number in range(3)]
    bench.broker_is_down = True
    with pytest.raises(PublishError):
        bench.send(*bodies)
    assert bench.ledger() == {"analysed": 0, "late": 0, "rejected": 0}
    bench.broker_is_down = False
    bench.send(*bodies)
    assert [finding.count for finding in bench.findings] == [3]
    assert bench.ledger() == {"analysed": 3, "late": 0, "rejected": 0}


@pytest.mark.parametrize("number", [b"1e999", b"-1e999", b"9" * 5000])
@pytest.mark.parametrize("position", [0, 1, 2])
def test_an_unknown_field_that_cannot_be_decoded_hides_no_alert(
    bench: Bench, number: bytes, position: int
) -> None:
    # given a burst, of which one event has a field outside the contract
    bodies = [msgspec.json.encode(failed_login(n, seconds=n)) for n in range(3)]
    bodies[position] = bodies[position][:-1] + b',"other":' + number + b"}"
    # when it is analysed
    assert bench.send(*bodies) == []
    # then the receiver of the finding accepts it, with complete events
    (found,) = bench.findings
    assert found.count == 3
    for raw in (found.evidence.first_event, found.evidence.last_event):
        assert raw is not msgspec.UNSET
        assert msgspec.json.decode(raw)["user_id"] == "alice"


@pytest.mark.parametrize("number", [b"1e999", b"9" * 5000])
def test_an_unknown_field_that_cannot_be_decoded_hides_no_alert_of_one_event(
    bench: Bench, number: bytes
) -> None:
    body = msgspec.json.encode(
        failed_login(
            1, event_type="file_modified", action_result="MODIFIED", resource="/etc/passwd"
        )
    )
    assert bench.send(body[:-1] + b',"other":' + number + b"}") == []
    assert [found.rule.title for found in bench.findings] == ["Sensitive file changed"]


def test_the_finding_continues_the_trace(bench: Bench) -> None:
    bench.send(msgspec.json.encode([failed_login(number) for number in range(3)]))
    (message,) = bench.published
    assert message.headers == {"traceparent": f"00-{'1' * 32}-{'2' * 16}-01"}
    assert message.correlation_id == "c-1"


def sensitive_file(number: int) -> bytes:
    return msgspec.json.encode(
        failed_login(
            number, event_type="file_modified", action_result="MODIFIED", resource="/etc/passwd"
        )
    )


def test_findings_of_a_batch_are_published_in_arrays_with_their_headers() -> None:
    # Given a pipeline that sends up to two findings in a message
    bench = Bench(findings_per_message=2)
    # When a batch has three findings, one of which has another trace
    deliveries = [delivery(sensitive_file(number)) for number in range(2)]
    deliveries.append(Delivery(sensitive_file(2)))
    bench.pipeline(deliveries)
    # Then there are an array of two and a single finding, and each finding has its headers
    array, single = bench.published
    assert array.routing_key == "finding.batch"
    headers = {"traceparent": f"00-{'1' * 32}-{'2' * 16}-01"}
    elements = finding_message.decode(array.body)
    assert [found for _, found in elements] == [headers, headers]
    assert single.headers == {}
    bodies = [*(body for body, _ in elements), single.body]
    events = [finding.decode(body, now=NOW).evidence.events[0].event_id for body in bodies]
    assert events == ["e0", "e1", "e2"]


def test_every_event_is_counted_in_the_ledger(bench: Bench) -> None:
    # Given a batch of two good events and two that are none, a good one alone, and garbage
    batch = [failed_login(1), {"no": "event"}, failed_login(2), 5]
    reasons = bench.send(msgspec.json.encode(batch), msgspec.json.encode(failed_login(3)), b"{")
    assert len(reasons) == 3
    # when one comes that is later than a window bears, and one of a rule without a window
    bench.send(msgspec.json.encode(failed_login(4, seconds=-3600)))
    sensitive = {"event_type": "file_modified", "action_result": "MODIFIED"}
    bench.send(
        msgspec.json.encode(failed_login(5, seconds=-3600, resource="/etc/passwd", **sensitive))
    )
    # then each is counted once, and the late file change still fired
    assert bench.ledger() == {"analysed": 4, "late": 1, "rejected": 3}
    assert {finding.rule.title for finding in bench.findings} == {
        "Burst of failed logins",
        "Sensitive file changed",
    }


def test_a_clock_that_runs_ahead_is_set_back(bench: Bench) -> None:
    bench.send(msgspec.json.encode([failed_login(n, seconds=10**8) for n in range(3)]))
    (finding,) = bench.findings
    assert finding.last_seen == NOW + dt.timedelta(minutes=5)
    assert finding.clamped
    assert bench.registry.get_sample_value("auditflow_analysis_clamped_events_total") == 3


def test_finding_is_marked_if_one_of_its_timestamps_was_clamped(bench: Bench) -> None:
    # Given a rule with a window: the clamped event is the first, in the middle, or the last to arrive
    for position in range(3):
        bench.send(
            msgspec.json.encode(
                [
                    failed_login(
                        10 * position + n,
                        seconds=10**8 if n == position else 290,
                        user_id=f"u{position}",
                    )
                    for n in range(3)
                ]
            )
        )
    # and rules without a window
    sensitive = {"event_type": "file_modified", "action_result": "MODIFIED"}
    for number, seconds in ((50, 10**8), (51, 0)):
        bench.send(
            msgspec.json.encode(
                failed_login(number, seconds=seconds, resource="/etc/passwd", **sensitive)
            )
        )
    marks = [(finding.rule.title, finding.clamped) for finding in bench.findings]
    assert marks.count(("Burst of failed logins", True)) == 3
    assert marks.count(("Sensitive file changed", True)) == 1
    assert marks.count(("Sensitive file changed", False)) == 1


@pytest.mark.parametrize("when", ["it is sent", "it is waited for"])
@pytest.mark.parametrize("failing", [1, 2, 3])
def test_a_backlog_of_hours_is_complete_after_a_crash(failing: int, when: str) -> None:
    # Given a batch with three bursts, an hour count_each, of which windows keep minutes
    bench = Bench()
    # when the worker is killed before one of them is published, and the batch is redelivered
    bench.fails = (failing, when)
    with pytest.raises(PublishError):
        bench.send(*BURSTS)
    bench.send(*BURSTS)
    # then each burst is found
    assert sorted(finding.first_seen for finding in bench.findings) == [
        NOW + dt.timedelta(seconds=3600 * hour - 36000) for hour in range(3)
    ]
    assert {finding.count for finding in bench.findings} == {3}


def test_a_batch_may_overlap_with_the_previous_batch_unless_a_window_trims_events() -> None:
    bench = Bench()
    match = bench.pipeline.match
    counted = bench.pipeline.count(match([delivery(body) for body in BURSTS[:3]]))
    soon = msgspec.json.encode(failed_login(99, seconds=-36000 + 600))
    assert bench.pipeline.can_overlap(counted, match([delivery(soon)]))
    assert not bench.pipeline.can_overlap(counted, match([delivery(body) for body in BURSTS[3:6]]))
    assert bench.pipeline.can_overlap(counted, match([delivery(b"[]")]))


def test_events_that_were_counted_and_not_stored_are_found_again_after_the_next_batch() -> None:
    # Given a batch that is counted, and another of the same window on top of it
    bench = Bench()
    match, count = bench.pipeline.match, bench.pipeline.count
    batches = [
        [delivery(body) for body in BURSTS[:3]],
        [delivery(msgspec.json.encode(failed_login(99, seconds=-36000 + 600)))],
    ]
    for batch in batches:
        count(match(batch))
    assert bench.findings == []
    # when the worker is killed before either is stored, and both are redelivered
    for batch in batches:
        bench.pipeline(batch)
    # then the burst is found as if nothing had happened
    assert [finding.count for finding in bench.findings] == [3]


@pytest.mark.parametrize("events", [3, POSTPONED_EVENTS, POSTPONED_EVENTS + 1])
def test_the_archive_gets_a_small_batch_after_its_findings(events: int) -> None:
    # Given a batch with findings that is counted
    bench = Bench(Archiver())
    bodies = [msgspec.json.encode(failed_login(number)) for number in range(events)]
    counted = bench.pipeline.count(bench.pipeline.match([delivery(body) for body in bodies]))
    # Then only the message of a small batch is postponed
    is_small = events <= POSTPONED_EVENTS
    assert bench.calls == 1
    assert (len(counted.archive), bench.pipeline.settle_delay(counted) > 0) == (is_small, is_small)
    # and both messages are stored when the batch is complete
    bench.pipeline.complete(counted)
    keys = [message.routing_key for message in bench.published]
    assert keys == ["finding.critical", topology.ARCHIVE_KEY]


def test_a_small_batch_without_findings_is_archived_at_once() -> None:
    bench = Bench(Archiver())
    counted = bench.pipeline.count(
        bench.pipeline.match([delivery(msgspec.json.encode(failed_login(1)))])
    )
    assert (list(counted.archive), bench.pipeline.settle_delay(counted)) == ([], 0)
    bench.pipeline.complete(counted)
    assert [message.routing_key for message in bench.published] == [topology.ARCHIVE_KEY]


def test_a_batch_is_not_complete_before_the_archive_has_its_message() -> None:
    # Given a small batch whose findings are stored, and a broker that then stores nothing
    bench = Bench(Archiver())
    batch = [delivery(msgspec.json.encode(failed_login(number))) for number in range(3)]
    bench.fails = (2, "it is waited for")
    with pytest.raises(PublishError):
        bench.pipeline(batch)
    assert bench.ledger()["analysed"] == 0
    # when the batch is processed again
    bench.pipeline(batch)
    # then the archive has it
    assert [m.routing_key for m in bench.published].count(topology.ARCHIVE_KEY) == 1
    assert bench.ledger()["analysed"] == 3
