"""Events through rules in memory: what would have fired."""

import datetime as dt
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

import audit_analysis
from audit_analysis.ruletools import sources
from audit_analysis.ruletools.backtest import LATENESS, Backtest, Report
from audit_analysis.sigma.load import load
from audit_analysis.sigma.rule import RuleSet
from auditflow.contract import event
from auditflow.contract.event import Event
from auditflow.http.problem import Fault

PACK = Path(audit_analysis.__file__).parent / "rules"
START = dt.datetime(2020, 5, 1, tzinfo=dt.UTC)


@pytest.fixture(scope="module")
def rules() -> RuleSet:
    return load([PACK / "auditflow"], lateness=LATENESS)


def failed_login(number: int, *, seconds: float) -> Event:
    return Event(
        event_id=f"e{number}",
        timestamp=START + dt.timedelta(seconds=seconds),
        event_type="user_login",
        action_result="FAILURE",
        user_id="alice",
        server_hostname="web-01",
    )


def run(rules: RuleSet, read: list[Event | Fault]) -> Report:
    backtest = Backtest(rules)
    assert list(backtest.run(read)) == read, "what goes in is passed on"
    return backtest.report()


def test_old_events_give_what_they_would_have_given_live(rules: RuleSet) -> None:
    report = run(rules, [failed_login(number, seconds=number) for number in range(4)])

    assert (report.events, report.late, report.refused) == (4, 0, 0)
    [fired] = report.rules
    assert (fired.title, fired.level, fired.findings, fired.entities, fired.events) == (
        "Burst of failed logins", "high", 1, 1, 4,
    )  # fmt: skip
    assert fired.first_seen == START
    assert fired.example == "4 failed logins of alice on web-01, at least 3 of them within 1 minute"


def test_the_order_of_files_does_not_matter(rules: RuleSet) -> None:
    # Given bursts over a year, in any order, more of them than fit into one batch
    events: list[Event | Fault] = [
        failed_login(day * 10 + number, seconds=day * 86400 + number)
        for day in range(300)
        for number in range(4)
    ]
    expected = run(rules, events)
    shuffled = list(events)
    random.Random(7).shuffle(shuffled)

    report = run(rules, shuffled)

    assert len(report.findings) == 300
    assert {finding.finding_id: finding.count for finding in report.findings} == {
        finding.finding_id: finding.count for finding in expected.findings
    }


def test_the_option_lateness_works_as_in_the_analysis() -> None:
    strict = load([PACK / "auditflow"], lateness=900_000)

    report = run(strict, [failed_login(1, seconds=7200), failed_login(2, seconds=0)])

    assert (report.events, report.late) == (2, 1)


def test_what_does_not_fit_is_counted(rules: RuleSet) -> None:
    bad = failed_login(1, seconds=0)
    huge = event.decode(event.encode(bad).replace(b'"alice"', b'"' + b"a" * 200_000 + b'"'))

    report = run(rules, [Fault("line 1", "no event"), bad, huge])

    assert (report.events, report.refused) == (2, 1)


def test_no_events_are_no_error(rules: RuleSet) -> None:
    report = run(rules, [])

    assert (report.events, report.rules, report.findings) == (0, (), ())


def test_ndjson_is_read_without_any_other_package(monkeypatch: pytest.MonkeyPatch) -> None:
    body = event.encode(failed_login(1, seconds=0)) + b"\n\nno event\n"

    read = list(sources.native(body))

    assert [type(item) for item in read] == [Event, Fault]
    assert read[1] == Fault("line 3", read[1].what)  # type: ignore[union-attr]


def test_sources_are_found_by_their_entry_points() -> None:
    assert set(sources.installed()) >= {
        "ndjson", "kubernetes", "cloudtrail", "auditd", "github", "okta", "gcp",
        "alertmanager",
    }  # fmt: skip


def test_a_source_without_a_mark_is_recognised_by_its_reader(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def reader(body: bytes) -> Iterator[Event | Fault]:
        yield failed_login(1, seconds=0) if body == b"odd" else Fault("$", "not odd")

    monkeypatch.setattr(sources, "installed", lambda: {"odd": reader})

    assert sources.guess(b"odd") == ["odd"]
    assert sources.guess(b"even") == []


def test_staged_correlation_reports_what_it_would_have_found(tmp_path: Path) -> None:
    (tmp_path / "r.yml").write_text(
        "title: Login\nid: 20000000-0000-4000-8000-000000000001\nlogsource: {product: auditflow}\n"
        "detection: {s: {event_type: user_login}, condition: s}\n---\n"
        "title: Burst\nid: 20000000-0000-4000-8000-000000000002\nstatus: experimental\n"
        "correlation: {type: event_count, rules: [20000000-0000-4000-8000-000000000001], "
        "group-by: [user_id], timespan: 1m, condition: {gte: 3}}\n"
    )
    rules = load([tmp_path], lateness=LATENESS)
    events = [failed_login(number, seconds=number) for number in range(4)]
    for run_staged, expected in ((False, []), (True, ["Burst"])):
        backtest = Backtest(rules, run_staged=run_staged)
        list(backtest.run(events))
        report = backtest.report()
        assert report.findings == ()
        assert [fired.title for fired in report.staged] == expected
