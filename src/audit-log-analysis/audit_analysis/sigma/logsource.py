"""Decides which rules apply to an event, by the event's log source in Sigma's terms.

Adapters set the log source of their events. AuditFlow's own events have the product ``auditflow``,
and their category comes from logsources.yaml.
"""

from collections.abc import Mapping
from functools import cache
from importlib.resources import files

import yaml

from auditflow.contract.event import Event, LogSource

_OWN = "auditflow"
#: The log source of event types without a category.
_OTHER = LogSource(product=_OWN)


def of_event(event: Event) -> LogSource:
    """The log source of an event."""
    source = event.logsource
    if source is not None and source.product != _OWN and source != LogSource():
        return source
    return _native(event.event_type)


def applies(rule: LogSource, event: LogSource) -> bool:
    """Whether a rule applies to an event: all parts that the rule names are equal."""
    return (
        (rule.product is None or rule.product == event.product)
        and (rule.service is None or rule.service == event.service)
        and (rule.category is None or rule.category == event.category)
    )


@cache
def categories() -> Mapping[str, str]:
    """The category of each of AuditFlow's own event types, from logsources.yaml."""
    table = yaml.safe_load((files("audit_analysis.sigma") / "logsources.yaml").read_text("utf-8"))
    return {
        event_type: category
        for category, event_types in table["auditflow"].items()
        for event_type in event_types
    }


def _native(event_type: str) -> LogSource:
    return _natives().get(event_type, _OTHER)


@cache
def _natives() -> Mapping[str, LogSource]:
    return {
        event_type: LogSource(product=_OWN, category=category)
        for event_type, category in categories().items()
    }
