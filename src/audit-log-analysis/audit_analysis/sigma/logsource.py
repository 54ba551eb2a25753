"""Which rules an event meets: its log source, in Sigma's terms.

Events of an adapter say it themselves. AuditFlow's own events are of the product ``auditflow``, and
the table beside this module gives their category.
"""

from collections.abc import Mapping
from functools import cache
from importlib.resources import files

import yaml

from auditflow.contract.event import Event, LogSource

_OWN = "auditflow"


def of_event(event: Event) -> LogSource:
    """The log source of an event."""
    said = event.logsource
    if said is not None and said.product != _OWN and said != LogSource():
        return said
    return _native(event.event_type)


def concerns(rule: LogSource, event: LogSource) -> bool:
    """Whether a rule for ``rule`` looks at events of ``event``: all that it names is the same."""
    return (
        (rule.product is None or rule.product == event.product)
        and (rule.service is None or rule.service == event.service)
        and (rule.category is None or rule.category == event.category)
    )


@cache
def categories() -> Mapping[str, str]:
    """The category of each of AuditFlow's own event types (logsources.yaml)."""
    table = yaml.safe_load((files("audit_analysis.sigma") / "logsources.yaml").read_text("utf-8"))
    return {
        event_type: category
        for category, event_types in table["auditflow"].items()
        for event_type in event_types
    }


def _native(event_type: str) -> LogSource:
    return _natives().get(event_type, LogSource(product=_OWN))


@cache
def _natives() -> Mapping[str, LogSource]:
    return {
        event_type: LogSource(product=_OWN, category=category)
        for event_type, category in categories().items()
    }
