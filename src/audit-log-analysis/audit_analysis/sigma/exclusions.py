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
from sigma.filters import SigmaFilter
from sigma.rule import SigmaRule

from audit_analysis.sigma import compile as compiler
from audit_analysis.sigma.documents import Document, collect_faults
from audit_analysis.sigma.errors import RuleFault

_KEYS: Final = {"owner", "reason", "expires"}
ParsedRule = SigmaRule | SigmaCorrelationRule | SigmaFilter


def apply(
    parsed: list[tuple[ParsedRule, Document]], faults: list[RuleFault], *, today: dt.date
) -> list[tuple[SigmaRule | SigmaCorrelationRule, Document]]:
    """Apply the active exclusions to the rules. The revisions of excluded rules change.

    Exclusions with faults are skipped. They change no rule.
    """
    active = []
    for rule, document in parsed:
        if isinstance(rule, SigmaFilter):
            with collect_faults(document, faults):
                if _expiry(rule) >= today:
                    # It must not become a part of a rule that then cannot be compiled.
                    compiler.detections(rule.filter)
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
) -> tuple[SigmaRule | SigmaCorrelationRule, Document]:
    if isinstance(rule, SigmaCorrelationRule):
        return rule, document  # Exclusions apply to the rules that it refers to.
    own = list(rule.detection.condition)
    additions = [""] * len(own)
    for exclusion, exclusion_document in active:
        rule.detection.condition = list(own)
        applied = False
        with collect_faults(exclusion_document, faults):
            exclusion.apply_on_rule(rule)
            applied = rule.detection.condition != own
        if applied:
            document = document.with_(exclusion_document.content)
            # pySigma puts everything before into parentheses, so many exclusions would nest deeply.
            additions = [
                addition + changed.removeprefix(f"({condition})")
                for addition, changed, condition in zip(
                    additions, rule.detection.condition, own, strict=True
                )
            ]
    rule.detection.condition = [
        f"({condition}){addition}" if addition else condition
        for condition, addition in zip(own, additions, strict=True)
    ]
    rule.detection.__post_init__()  # pySigma parses the conditions again.
    return rule, document


def _expiry(exclusion: SigmaFilter) -> dt.date:
    """The expiry date. Raises ValueError if the options of the exclusion are not valid."""
    options = exclusion.custom_attributes.get("auditflow")
    if not isinstance(options, dict) or options.keys() != _KEYS:
        raise ValueError(
            f"an exclusion requires these keys under auditflow: {', '.join(sorted(_KEYS))}"
        )
    expires = options["expires"]
    if not isinstance(expires, dt.date) or isinstance(expires, dt.datetime):
        raise ValueError("auditflow.expires: must be a date such as 2027-03-01")  # noqa: TRY004
    return expires
