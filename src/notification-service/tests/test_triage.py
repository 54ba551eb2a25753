"""The state machine of an alert, without a database."""

import datetime as dt
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditflow.contract.alert import Action, Status, Verdict
from notification_service import snooze, triage
from notification_service.aggregation import fingerprint_of
from notification_service.alert import Alert, add_finding, open_alert
from notification_service.triage import Command, IllegalTransition, InvalidAction

NOW = dt.datetime(2026, 1, 31, 12, tzinfo=dt.UTC)
HOUR = dt.timedelta(hours=1)

COMMANDS = {
    Action.ACKNOWLEDGE: Command(action=Action.ACKNOWLEDGE),
    Action.ASSIGN: Command(action=Action.ASSIGN, assignee="alice"),
    Action.COMMENT: Command(action=Action.COMMENT, comment="Seen."),
    Action.RESOLVE: Command(action=Action.RESOLVE, verdict=Verdict.BENIGN),
    Action.REOPEN: Command(action=Action.REOPEN),
    Action.SNOOZE: Command(action=Action.SNOOZE, until=NOW + HOUR),
    Action.UNSNOOZE: Command(action=Action.UNSNOOZE),
}


@pytest.fixture
def alert(make_finding: Any) -> Alert:
    finding = make_finding(at=NOW - HOUR)
    return open_alert(finding, fingerprint_of(finding), previous=None, now=NOW - HOUR)


@given(st.lists(st.sampled_from(list(COMMANDS)), max_size=8))
def test_an_action_succeeds_if_and_only_if_it_is_listed_as_allowed(
    make_finding: Any, actions: list[Action]
) -> None:
    finding = make_finding(at=NOW - HOUR)
    alert = open_alert(finding, fingerprint_of(finding), previous=None, now=NOW)
    for action in actions:
        allowed = triage.allowed_actions(alert, NOW)
        if action not in allowed or (action is Action.RESOLVE and alert.verdict is not None):
            with pytest.raises(IllegalTransition) as refused:
                triage.apply(alert, COMMANDS[action], now=NOW)
            assert refused.value.allowed == allowed
            continue
        after = triage.apply(alert, COMMANDS[action], now=NOW)
        assert after.triage_version == alert.triage_version + 1
        assert (after.verdict is None) == (after.status is not Status.RESOLVED)
        alert = after


def test_the_life_of_an_alert(alert: Alert) -> None:
    acknowledged = triage.apply(alert, COMMANDS[Action.ACKNOWLEDGE], now=NOW)
    resolved = triage.apply(acknowledged, COMMANDS[Action.RESOLVE], now=NOW)
    reopened = triage.apply(resolved, COMMANDS[Action.REOPEN], now=NOW)

    assert [it.status for it in (alert, acknowledged, resolved, reopened)] == [
        "open", "acknowledged", "resolved", "open",
    ]  # fmt: skip
    assert (resolved.verdict, reopened.verdict) == (Verdict.BENIGN, None)
    assert acknowledged.acted_at == NOW


def test_a_resolved_alert_may_get_another_verdict_but_not_the_same(alert: Alert) -> None:
    resolved = triage.apply(alert, COMMANDS[Action.RESOLVE], now=NOW)

    with pytest.raises(IllegalTransition, match="already has this verdict"):
        triage.apply(resolved, COMMANDS[Action.RESOLVE], now=NOW)
    other = Command(action=Action.RESOLVE, verdict=Verdict.TRUE_POSITIVE)
    assert triage.apply(resolved, other, now=NOW).verdict is Verdict.TRUE_POSITIVE


def test_a_duplicate_names_another_alert(alert: Alert) -> None:
    wrong = (
        Command(action=Action.RESOLVE),
        Command(action=Action.RESOLVE, verdict=Verdict.DUPLICATE_OF),
        Command(action=Action.RESOLVE, verdict=Verdict.BENIGN, duplicate_of=alert.alert_id),
        Command(action=Action.RESOLVE, verdict=Verdict.DUPLICATE_OF, duplicate_of=alert.alert_id),
    )
    for command in wrong:
        with pytest.raises(InvalidAction):
            triage.apply(alert, command, now=NOW)


@pytest.mark.parametrize(
    "command",
    [
        Command(action=Action.SNOOZE),
        Command(action=Action.SNOOZE, until=NOW),
        Command(action=Action.SNOOZE, until=NOW + dt.timedelta(days=367)),
        Command(action=Action.SNOOZE, until=NOW + HOUR, until_escalation=True),
        Command(action=Action.COMMENT),
        Command(action=Action.COMMENT, comment=""),
    ],
)
def test_invalid_parameters_are_refused(alert: Alert, command: Command) -> None:
    with pytest.raises(InvalidAction):
        triage.apply(alert, command, now=NOW)


def test_undo_restores_the_state_and_is_an_action(alert: Alert) -> None:
    resolved = triage.apply(alert, COMMANDS[Action.RESOLVE], now=NOW)

    restored = triage.restore(resolved, triage.state_of(alert), now=NOW + HOUR)

    assert restored.triage_version == 3
    assert restored.acted_at == NOW + HOUR
    assert triage.state_of(restored) == msgspec.structs.replace(
        triage.state_of(alert), acted_at=NOW + HOUR
    )


def test_a_snooze_ends_at_its_time(alert: Alert) -> None:
    snoozed = triage.apply(alert, COMMANDS[Action.SNOOZE], now=NOW)

    assert snooze.is_snoozed(snoozed, NOW + HOUR - dt.timedelta(seconds=1))
    assert not snooze.is_snoozed(snoozed, NOW + HOUR)


def test_new_events_mark_an_acknowledged_alert_as_active_again(
    alert: Alert, make_finding: Any
) -> None:
    acknowledged = triage.apply(alert, COMMANDS[Action.ACKNOWLEDGE], now=NOW)
    finding = make_finding(bucket=1, at=NOW)

    continued = add_finding(acknowledged, finding, replaces=None, now=NOW)
    untouched = add_finding(alert, finding, replaces=None, now=NOW)

    assert (continued.status, continued.active_again) == (Status.ACKNOWLEDGED, True)
    assert not untouched.active_again
    seen = triage.apply(continued, COMMANDS[Action.COMMENT], now=NOW)
    assert not seen.active_again


def test_events_during_a_snooze_do_not_mark_the_alert(alert: Alert, make_finding: Any) -> None:
    snoozed = triage.apply(alert, COMMANDS[Action.SNOOZE], now=NOW)

    during = add_finding(snoozed, make_finding(bucket=1), replaces=None, now=NOW)
    later = add_finding(snoozed, make_finding(bucket=1), replaces=None, now=NOW + HOUR)

    assert (during.active_again, later.active_again) == (False, True)


def test_a_snooze_until_escalation_ends_when_the_rate_exceeds_the_past_rate(
    alert: Alert, make_finding: Any
) -> None:
    # given an alert with 3 events in an hour
    assert alert.count == 3
    command = Command(action=Action.SNOOZE, until_escalation=True)
    snoozed = triage.apply(alert, command, now=NOW)

    # when there are 3 more in the next hour, then the rate is not higher
    same = add_finding(snoozed, make_finding(bucket=1), replaces=None, now=NOW + HOUR)
    assert (same.snoozed_until_escalation, same.active_again) == (True, False)

    # when there are 4 more, then it is
    more = make_finding(bucket=1, count=4)
    higher = add_finding(snoozed, more, replaces=None, now=NOW + HOUR)
    assert (higher.snoozed_until_escalation, higher.active_again) == (False, True)
    assert higher.snoozed_count is None
