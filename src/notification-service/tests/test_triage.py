"""The state machine of an alert, without a database."""

import datetime as dt
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditflow.contract.alert import Action, Status, Verdict
from notification_service import snooze, triage
from notification_service.aggregation import fingerprint_of
from notification_service.alert import Alert, add_finding, open_alert
from notification_service.triage import Command, IllegalTransition, InvalidAction, TriageState

NOW = dt.datetime(2026, 1, 31, 12, tzinfo=dt.UTC)
HOUR = dt.timedelta(hours=1)
YEAR = dt.timedelta(days=366)
OTHER = UUID(int=2)

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
    """A verdict without an alert, an alert without the verdict, and the alert itself are wrong."""
    required = "^duplicate_of: is required for the verdict duplicate_of, and only for it$"
    own = alert.alert_id
    for command, error in (
        (Command(action=Action.RESOLVE), "^verdict: is required"),
        (Command(action=Action.RESOLVE, duplicate_of=OTHER), "^verdict: is required"),
        (Command(action=Action.RESOLVE, verdict=Verdict.DUPLICATE_OF), required),
        (Command(action=Action.RESOLVE, verdict=Verdict.BENIGN, duplicate_of=OTHER), required),
        (
            Command(action=Action.RESOLVE, verdict=Verdict.DUPLICATE_OF, duplicate_of=own),
            "^duplicate_of: an alert cannot be a duplicate of itself$",
        ),
    ):
        with pytest.raises(InvalidAction, match=error):
            triage.apply(alert, command, now=NOW)

    duplicate = Command(action=Action.RESOLVE, verdict=Verdict.DUPLICATE_OF, duplicate_of=OTHER)
    resolved = triage.apply(alert, duplicate, now=NOW)
    assert (resolved.verdict, resolved.duplicate_of) == (Verdict.DUPLICATE_OF, OTHER)


def test_a_duplicate_may_name_another_alert_later_but_not_the_same(alert: Alert) -> None:
    duplicate = Command(action=Action.RESOLVE, verdict=Verdict.DUPLICATE_OF, duplicate_of=OTHER)
    resolved = triage.apply(alert, duplicate, now=NOW)

    with pytest.raises(IllegalTransition) as refused:
        triage.apply(resolved, duplicate, now=NOW)
    assert str(refused.value) == "The alert already has this verdict."
    assert refused.value.allowed == (Action.COMMENT, Action.RESOLVE, Action.REOPEN)
    third = msgspec.structs.replace(duplicate, duplicate_of=UUID(int=3))
    assert triage.apply(resolved, third, now=NOW).duplicate_of == UUID(int=3)


@pytest.mark.parametrize(
    ("command", "error"),
    [
        (Command(action=Action.SNOOZE), "exactly one of until and until_escalation"),
        (
            Command(action=Action.SNOOZE, until=NOW + HOUR, until_escalation=True),
            "exactly one of until and until_escalation",
        ),
        (Command(action=Action.SNOOZE, until=NOW), "at most 366 days ahead"),
        (Command(action=Action.SNOOZE, until=NOW - HOUR), "at most 366 days ahead"),
        (
            Command(action=Action.SNOOZE, until=NOW + YEAR + dt.timedelta(microseconds=1)),
            "at most 366 days ahead",
        ),
        (Command(action=Action.COMMENT), "comment: is required"),
        (Command(action=Action.COMMENT, comment=""), "comment: is required"),
    ],
)
def test_invalid_parameters_are_refused(alert: Alert, command: Command, error: str) -> None:
    with pytest.raises(InvalidAction, match=error):
        triage.apply(alert, command, now=NOW)


@pytest.mark.parametrize(
    "command",
    [
        Command(action=Action.SNOOZE, until=NOW + dt.timedelta(microseconds=1)),
        Command(action=Action.SNOOZE, until=NOW + YEAR),
        Command(action=Action.SNOOZE, until_escalation=True),
    ],
)
def test_a_snooze_records_its_end_and_the_events_before_it(alert: Alert, command: Command) -> None:
    snoozed = triage.apply(alert, command, now=NOW)

    assert triage.state_of(snoozed) == TriageState(
        status=Status.OPEN,
        acted_at=NOW,
        snoozed_until=command.until,
        snoozed_until_escalation=command.until_escalation,
        snoozed_at=NOW,
        snoozed_count=3,
    )
    ended = triage.apply(snoozed, COMMANDS[Action.UNSNOOZE], now=NOW)
    assert triage.state_of(ended) == TriageState(status=Status.OPEN, acted_at=NOW)


def test_a_resolution_ends_a_snooze_and_keeps_the_assignee(alert: Alert) -> None:
    assigned = triage.apply(alert, COMMANDS[Action.ASSIGN], now=NOW)
    assert assigned.assignee == "alice"
    snoozed = triage.apply(assigned, COMMANDS[Action.SNOOZE], now=NOW)

    resolved = triage.apply(snoozed, COMMANDS[Action.RESOLVE], now=NOW + HOUR)

    assert triage.state_of(resolved) == TriageState(
        status=Status.RESOLVED, verdict=Verdict.BENIGN, assignee="alice", acted_at=NOW + HOUR
    )
    reopened = triage.apply(resolved, COMMANDS[Action.REOPEN], now=NOW + HOUR)
    assert triage.apply(reopened, Command(action=Action.ASSIGN), now=NOW).assignee is None


@pytest.mark.parametrize(
    ("status", "allowed"),
    [
        (Status.OPEN, "acknowledge assign comment resolve snooze"),
        (Status.ACKNOWLEDGED, "assign comment resolve reopen snooze"),
        (Status.RESOLVED, "comment resolve reopen"),
    ],
)
def test_the_allowed_actions_of_each_status(alert: Alert, status: Status, allowed: str) -> None:
    alert = msgspec.structs.replace(alert, status=status)
    assert [action.value for action in triage.allowed_actions(alert, NOW)] == allowed.split()

    snoozed = msgspec.structs.replace(alert, snoozed_until=NOW + HOUR)
    added = [] if status is Status.RESOLVED else ["unsnooze"]
    assert [action.value for action in triage.allowed_actions(snoozed, NOW)] == [
        *allowed.split(), *added,
    ]  # fmt: skip


def test_an_action_that_is_not_allowed_states_the_reason(alert: Alert) -> None:
    with pytest.raises(IllegalTransition) as refused:
        triage.apply(alert, COMMANDS[Action.UNSNOOZE], now=NOW)
    assert str(refused.value) == "The alert is not snoozed."
    with pytest.raises(IllegalTransition) as refused:
        triage.apply(alert, COMMANDS[Action.REOPEN], now=NOW)
    assert str(refused.value) == "An alert that is open does not allow the action reopen."


def test_each_action_increases_both_versions(alert: Alert) -> None:
    for action in (Action.COMMENT, Action.SNOOZE, Action.UNSNOOZE, Action.RESOLVE):
        after = triage.apply(alert, COMMANDS[action], now=NOW)
        assert (after.triage_version, after.version, after.updated_at) == (
            alert.triage_version + 1,
            alert.version + 1,
            NOW,
        )
        alert = after


def test_the_history_contains_only_the_fields_that_are_set(alert: Alert) -> None:
    """The document of an entry is hashed, so that its form is a contract."""
    assert msgspec.json.encode(triage.state_of(alert)) == b'{"status":"open"}'
    again = msgspec.structs.replace(alert, active_again=True, snoozed_until_escalation=True)
    assert msgspec.json.encode(triage.state_of(again)) == (
        b'{"status":"open","active_again":true,"snoozed_until_escalation":true}'
    )


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
