"""Exclusions: Sigma filters that remove known good behaviour from rules.

    title: Configuration management changes accounts
    id: ...
    logsource: {product: auditflow, category: file_event}
    filter:
      rules: [9d3b8f5e-2c40-4a1b-8f63-8f7f5b2f6d02]     # or: any
      selection: {user_id: ansible}
      condition: not selection
    auditflow: {owner: platform-team, reason: "CHG-1234: new sudo rules", expires: 2027-03-01}

Owner, reason and expiry date are required, so that no exclusion is forgotten. An expired exclusion
is not applied: the rule then reports the excluded behaviour again.
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
ParsedRule = SigmaRule | SigmaCorrelationRule | SigmaFilter


def apply(
    parsed: list[tuple[ParsedRule, Document]], faults: list[RuleFault], *, today: dt.date
) -> list[tuple[ParsedRule, Document]]:
    """Apply the active exclusions to the rules. The revisions of excluded rules change."""
    active = []
    for rule, document in parsed:
        if isinstance(rule, SigmaFilter):
            message = _fault(rule)
            if message:
                faults.append(document.fault(message))
            elif rule.custom_attributes["auditflow"]["expires"] >= today:
                active.append((rule, document))
    return [
        _with_exclusions(rule, document, active, faults)
        for rule, document in parsed
        if not isinstance(rule, SigmaFilter)
    ]


def _with_exclusions(
    rule: SigmaRule | SigmaCorrelationRule,
    document: Document,
    active: list[tuple[SigmaFilter, Document]],
    faults: list[RuleFault],
) -> tuple[ParsedRule, Document]:
    if isinstance(rule, SigmaCorrelationRule):
        return rule, document  # Exclusions apply to the rules that it refers to.
    for exclusion, exclusion_document in active:
        before = list(rule.detection.condition)
        try:
            exclusion.apply_on_rule(rule)
        except SigmaError as error:
            faults.append(exclusion_document.fault(error))
            continue
        if rule.detection.condition != before:
            document = document.with_(exclusion_document.content)
    return rule, document


def _fault(exclusion: SigmaFilter) -> str | None:
    options = exclusion.custom_attributes.get("auditflow")
    if not isinstance(options, dict) or options.keys() != _KEYS:
        return f"an exclusion requires these keys under auditflow: {', '.join(sorted(_KEYS))}"
    if not isinstance(options["expires"], dt.date):
        return "auditflow.expires: must be a date such as 2027-03-01"
    return None
