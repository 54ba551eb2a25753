"""What AuditFlow adds to a Sigma rule, under the rule's key ``auditflow``.

auditflow:
  sentence: "{count} failed logins of {user_id} on {server_hostname} within {timespan}"
  group-by: [user_id]      # for a rule about single events: count them as one within `dedup`
  dedup: 5m                # how long what a rule sees of an entity is one finding
  runbook: https://...
"""

import string
from collections.abc import Iterable
from typing import Any, Final

from msgspec import Struct
from sigma.correlations import SigmaCorrelationRule, SigmaCorrelationTimespan
from sigma.exceptions import SigmaTimespanError
from sigma.rule import SigmaRule

_KEYS: Final = ("sentence", "group-by", "dedup", "runbook")
#: What a sentence may speak of, besides the fields that the rule groups by.
SENTENCE_FIELDS: Final = (
    "count", "timespan", "user_id", "server_hostname", "client_ip", "resource", "event_type",
)  # fmt: skip


class Options(Struct, frozen=True, kw_only=True):
    """The options of one rule. ``dedup`` is in seconds."""

    sentence: str
    group_by: tuple[str, ...]
    dedup: int | None
    runbook: str | None


def read(rule: SigmaRule | SigmaCorrelationRule, *, group_by: Iterable[str] = ()) -> Options:
    """The options of a rule; ``group_by`` are the fields that a correlation groups by.

    Raises:
        ValueError: what is wrong, by its key.
    """
    said = rule.custom_attributes.get("auditflow", {})
    if not isinstance(said, dict):
        raise ValueError("auditflow: must be a mapping")  # noqa: TRY004 - the rule is wrong
    unknown = said.keys() - set(_KEYS)
    if unknown:
        raise ValueError(
            f"auditflow: no such key: {', '.join(sorted(map(str, unknown)))} "
            f"(there are {', '.join(_KEYS)})"
        )
    own_group_by = tuple(map(str, said.get("group-by", ())))
    if own_group_by and isinstance(rule, SigmaCorrelationRule):
        raise ValueError("auditflow.group-by: a correlation has a group-by of its own")
    return Options(
        sentence=_sentence(rule, said.get("sentence"), {*group_by, *own_group_by}),
        group_by=own_group_by,
        dedup=_seconds(said.get("dedup")),
        runbook=said.get("runbook"),
    )


def _sentence(rule: SigmaRule | SigmaCorrelationRule, said: Any, fields: set[str]) -> str:
    """The template of the sentence: the rule's own, else its description as it is."""
    if said is None:
        plain = " ".join((rule.description or rule.title).split())
        return plain.replace("{", "{{").replace("}", "}}")
    known = fields | set(SENTENCE_FIELDS)
    for _, name, form, conversion in string.Formatter().parse(str(said)):
        if name is not None and (name not in known or form or conversion):
            raise ValueError(
                f"auditflow.sentence: {{{name}}} is not one of {', '.join(sorted(known))}"
            )
    return str(said)


def _seconds(said: Any) -> int | None:
    if said is None:
        return None
    try:
        return SigmaCorrelationTimespan(said).seconds
    except SigmaTimespanError as error:
        raise ValueError(f"auditflow.dedup: {error}") from None
