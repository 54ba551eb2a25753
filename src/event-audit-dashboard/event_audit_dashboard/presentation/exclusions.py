"""Proposes an exclusion from the false positives of a rule. Pure."""

import datetime as dt
import uuid
from collections import Counter
from collections.abc import Sequence
from typing import Final

import yaml
from msgspec import Struct

from auditflow.contract.alert import AlertSummary, Verdict

#: Fields of an alert that a selection can use: the filter of the list, and the field of events.
FIELDS: Final = {
    "actor": "user_id",
    "host": "server_hostname",
    "ip": "client_ip",
    "resource": "resource",
}
MAX_PROPOSALS: Final = 5
#: Time until an exclusion expires.
LIFETIME: Final = dt.timedelta(days=90)
_NAMESPACE: Final = uuid.UUID("6e0a7f6c-6d1e-4b55-8f1b-5c50a7f9d0aa")


class Proposal(Struct, frozen=True):
    """A selection, and how many alerts of the sample it would have hidden, by verdict."""

    selection: dict[str, str]
    false_positives: int
    true_positives: int
    others: int


def values_of(alert: AlertSummary) -> dict[str, str]:
    """The values of an alert by the name of the filter."""
    found = {
        "actor": alert.actor,
        "host": alert.server_hostname,
        "ip": alert.client_ip,
        "resource": alert.resource,
    }
    return {name: value for name, value in found.items() if value}


def propose(alerts: Sequence[AlertSummary]) -> list[Proposal]:
    """Selections of one or two values that match false positives and no true positive.

    Those that hide the most false positives come first, and of these the narrower ones.
    """
    candidates: Counter[tuple[tuple[str, str], ...]] = Counter()
    for alert in alerts:
        if alert.verdict != Verdict.FALSE_POSITIVE:
            continue
        pairs = sorted(values_of(alert).items())
        candidates.update((pair,) for pair in pairs)
        candidates.update(
            (first, second) for index, first in enumerate(pairs) for second in pairs[index + 1 :]
        )
    proposals = [count(dict(selection), alerts) for selection in candidates]
    safe = [proposal for proposal in proposals if not proposal.true_positives]
    safe.sort(key=lambda item: (-item.false_positives, item.others, -len(item.selection)))
    return safe[:MAX_PROPOSALS]


def count(selection: dict[str, str], alerts: Sequence[AlertSummary]) -> Proposal:
    """How many alerts a selection would have hidden, by verdict."""
    hidden = [alert for alert in alerts if selection.items() <= values_of(alert).items()]
    false = sum(alert.verdict == Verdict.FALSE_POSITIVE for alert in hidden)
    true = sum(alert.verdict == Verdict.TRUE_POSITIVE for alert in hidden)
    return Proposal(selection, false, true, len(hidden) - false - true)


def write(
    selection: dict[str, str],
    *,
    title: str,
    rules: Sequence[str],
    logsource: dict[str, str],
    owner: str,
    reason: str,
    today: dt.date,
) -> str:
    """The exclusion as a Sigma filter in YAML, for a file beside the rules."""
    fields = {FIELDS[name]: value for name, value in selection.items()}
    document = {
        "title": f"Exclusion: {title}"[:200],
        "id": str(uuid.uuid5(_NAMESPACE, f"{sorted(rules)}{sorted(fields.items())}")),
        "logsource": logsource,
        "filter": {"rules": list(rules), "selection": fields, "condition": "not selection"},
        "auditflow": {"owner": owner, "reason": reason, "expires": today + LIFETIME},
    }
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=100)
