"""AuditFlow's own options of a Sigma rule, under the rule's key ``auditflow``.

auditflow:
  sentence: "{count} failed logins of {user_id} on {server_hostname} within {timespan}"
  group-by: [user_id]      # single-event rules: one finding for each entity and `dedup`
  dedup: 5m                # period within which hits of an entity are one finding
  runbook: https://...
"""

import string
from collections.abc import Iterable
from typing import Any, Final

from msgspec import Struct
from sigma.correlations import SigmaCorrelationRule, SigmaCorrelationTimespan
from sigma.exceptions import SigmaTimespanError
from sigma.rule import SigmaRule

from audit_analysis.sigma import limits

_KEYS: Final = ("sentence", "group-by", "dedup", "runbook")
#: The fields that a sentence may contain, besides the group-by fields of the rule.
SENTENCE_FIELDS: Final = (
    "count", "timespan", "user_id", "server_hostname", "client_ip", "resource", "event_type",
)  # fmt: skip
#: Maximum length of a text and of the name of a field (characters).
_MAX_TEXT: Final = 2_000
_MAX_FIELD: Final = 256


class Options(Struct, frozen=True, kw_only=True):
    """The options of one rule. ``dedup`` is in seconds."""

    sentence: str
    group_by: tuple[str, ...]
    dedup: int | None
    runbook: str | None


def read(rule: SigmaRule | SigmaCorrelationRule, *, group_by: Iterable[str] = ()) -> Options:
    """The options of a rule; ``group_by`` are the group-by fields of a correlation.

    Raises:
        ValueError: an option is invalid. The text names its key.
    """
    options = rule.custom_attributes.get("auditflow", {})
    if not isinstance(options, dict):
        raise ValueError("auditflow: must be a mapping")  # noqa: TRY004 - the rule is wrong
    unknown = options.keys() - set(_KEYS)
    if unknown:
        raise ValueError(
            f"auditflow: unknown key: {', '.join(sorted(map(str, unknown)))} "
            f"(known keys: {', '.join(_KEYS)})"
        )
    own_group_by = _fields(options.get("group-by"))
    if own_group_by and isinstance(rule, SigmaCorrelationRule):
        raise ValueError("auditflow.group-by: a correlation has its own group-by")
    return Options(
        sentence=_sentence(rule, options.get("sentence"), {*group_by, *own_group_by}),
        group_by=own_group_by,
        dedup=_seconds(options.get("dedup")),
        runbook=_text("runbook", options.get("runbook")),
    )


def _fields(value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list) or not all(
        isinstance(field, str) and 0 < len(field) <= _MAX_FIELD for field in value
    ):
        raise ValueError("auditflow.group-by: must be a list of fields")
    return tuple(value)


def _text(key: str, value: Any) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or not 0 < len(value) <= _MAX_TEXT:
        raise ValueError(f"auditflow.{key}: must be a text of at most {_MAX_TEXT:,} characters")
    return value


def _sentence(rule: SigmaRule | SigmaCorrelationRule, value: Any, fields: set[str]) -> str:
    """The template of the sentence: the option, or the description without placeholders."""
    template = _text("sentence", value)
    if template is None:
        plain = " ".join((rule.description or rule.title)[:_MAX_TEXT].split())
        return plain.replace("{", "{{").replace("}", "}}")
    known = fields | set(SENTENCE_FIELDS)
    for _, name, form, conversion in string.Formatter().parse(template):
        if name is not None and (name not in known or form or conversion):
            raise ValueError(
                f"auditflow.sentence: {{{name}}} is not one of {', '.join(sorted(known))}"
            )
    return template


def _seconds(value: Any) -> int | None:
    if value is None:
        return None
    try:
        seconds = SigmaCorrelationTimespan(value).seconds
    except SigmaTimespanError as error:
        raise ValueError(f"auditflow.dedup: {error}") from None
    limits.check_seconds("auditflow.dedup", seconds)
    return seconds
