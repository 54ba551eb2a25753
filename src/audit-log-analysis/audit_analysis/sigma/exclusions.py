"""Exclusions: Sigma filters that take known good behaviour out of rules, for a time, by somebody.

    title: Configuration management changes accounts
    id: ...
    logsource: {product: auditflow, category: file_event}
    filter:
      rules: [9d3b8f5e-2c40-4a1b-8f63-8f7f5b2f6d02]     # or: any
      selection: {user_id: ansible}
      condition: not selection
    auditflow: {owner: platform-team, reason: "CHG-1234: new sudo rules", expires: 2027-03-01}

Owner, reason and expiry are required: an exclusion that nobody remembers is a hole. After its day
it is no longer applied, so a forgotten one makes noise instead of silence.
"""

import datetime as dt
from typing import Final

from sigma.correlations import SigmaCorrelationRule
from sigma.exceptions import SigmaError
from sigma.filters import SigmaFilter
from sigma.rule import SigmaRule

from audit_analysis.sigma.documents import Document
from audit_analysis.sigma.errors import RuleFault

_KEYS: Final = {"owner", "reason", "expires"}
Parsed = SigmaRule | SigmaCorrelationRule | SigmaFilter


def apply(
    read: list[tuple[Parsed, Document]], faults: list[RuleFault], *, today: dt.date
) -> list[tuple[Parsed, Document]]:
    """The rules with the exclusions in force worked into them. Their revisions change with them."""
    in_force = []
    for one, document in read:
        if isinstance(one, SigmaFilter):
            wrong = _fault(one)
            if wrong:
                faults.append(document.fault(wrong))
            elif one.custom_attributes["auditflow"]["expires"] >= today:
                in_force.append((one, document))
    return [
        _excluded(one, document, in_force, faults)
        for one, document in read
        if not isinstance(one, SigmaFilter)
    ]


def _excluded(
    rule: SigmaRule | SigmaCorrelationRule,
    document: Document,
    in_force: list[tuple[SigmaFilter, Document]],
    faults: list[RuleFault],
) -> tuple[Parsed, Document]:
    for exclusion, place in in_force:
        if isinstance(rule, SigmaCorrelationRule):
            break  # its rules have their own
        before = list(rule.detection.condition)
        try:
            exclusion.apply_on_rule(rule)
        except SigmaError as error:
            faults.append(place.fault(error))
            continue
        if rule.detection.condition != before:
            document = document.with_(place.content)
    return rule, document


def _fault(exclusion: SigmaFilter) -> str | None:
    said = exclusion.custom_attributes.get("auditflow")
    if not isinstance(said, dict) or said.keys() != _KEYS:
        return f"an exclusion has these keys under auditflow: {', '.join(sorted(_KEYS))}"
    if not isinstance(said["expires"], dt.date):
        return "auditflow.expires: must be a day (2027-03-01)"
    return None
