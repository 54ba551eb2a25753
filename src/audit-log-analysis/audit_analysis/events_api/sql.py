"""Translates a filter to SQL. Values are parameters, never parts of the text. Pure."""

import re
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from audit_analysis.events_api.query import (
    FIELDS,
    Condition,
    EventFilter,
    Modifier,
    Position,
    network,
    record_path,
)
from audit_analysis.events_api.query import Order as EventOrder

#: The parameters of a statement by name.
Parameters = dict[str, Any]

_RECORD: Final = "try(decode(record))"
_IPV4: Final = r"^\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}$"


def where(criteria: EventFilter) -> tuple[str, Parameters]:
    """The condition of a filter, and its parameters."""
    parameters: Parameters = {"since_ms": criteria.since_ms, "until_ms": criteria.until_ms}
    # Cheap conditions first.
    terms = ["occurred_ms >= $since_ms", "occurred_ms < $until_ms"]
    if criteria.refused is not None:
        terms.append("refused" if criteria.refused else "NOT refused")
    if criteria.late is not None:
        terms.append("late" if criteria.late else "NOT late")
    if criteria.event_ids:
        names = [f"event_id{number}" for number in range(len(criteria.event_ids))]
        terms.append(f"event_id IN ({', '.join(f'${name}' for name in names)})")
        parameters |= dict(zip(names, criteria.event_ids, strict=True))
    on_columns = [condition for condition in criteria.conditions if condition.field in FIELDS]
    on_records = [condition for condition in criteria.conditions if condition.field not in FIELDS]
    for number, condition in enumerate([*on_columns, *on_records]):
        terms.append(_term(condition, f"value{number}", parameters))
    if criteria.text is not None:
        terms.append(f"regexp_matches({_RECORD}, $text)")
        parameters["text"] = _pattern(criteria.text)
    return " AND ".join(terms), parameters


def after(position: Position) -> tuple[str, Parameters]:
    """The condition that an event comes after a position."""
    sign = "<" if position.order is EventOrder.NEWEST else ">"
    text = (
        f"(occurred_ms {sign} $after_ms OR (occurred_ms = $after_ms AND event_id {sign} $after_id))"
    )
    return text, {"after_ms": position.occurred_ms, "after_id": position.event_id}


def order(criteria: EventOrder) -> str:
    """The order of events."""
    direction = "DESC" if criteria is EventOrder.NEWEST else "ASC"
    return f"occurred_ms {direction}, event_id {direction}"


def _term(condition: Condition, name: str, parameters: Parameters) -> str:
    if condition.field in FIELDS:
        tested = f'"{condition.field}"'  # one of a closed list
    else:
        parameters[f"{name}_path"] = _json_path(condition.field)
        tested = f"try(json_extract_string({_RECORD}, ${name}_path))"
    text = _test(tested, condition, name, parameters)
    return f"NOT coalesce({text}, false)" if condition.negated else text


def _test(tested: str, condition: Condition, name: str, parameters: Parameters) -> str:
    value = condition.value
    match condition.modifier:
        case Modifier.EQUALS:
            parameters[name] = value
            return f"{tested} = ${name}"
        case Modifier.CONTAINS:
            parameters[name] = value.lower()
            return f"contains(lower({tested}), ${name})"
        case Modifier.STARTSWITH:
            parameters[name] = value.lower()
            return f"starts_with(lower({tested}), ${name})"
        case Modifier.ENDSWITH:
            parameters[name] = value.lower()
            return f"ends_with(lower({tested}), ${name})"
        case Modifier.CIDR:
            wanted = network(value)
            parameters[f"{name}_first"] = int(wanted.network_address)
            parameters[f"{name}_last"] = int(wanted.broadcast_address)
            return f"{_address_number(tested)} BETWEEN ${name}_first AND ${name}_last"


def _address_number(tested: str) -> str:
    """The number of an IPv4 address; null for other texts."""
    parts = " + ".join(
        f"try_cast(split_part({tested}, '.', {number}) AS UTINYINT)::BIGINT * {256 ** (4 - number)}"
        for number in range(1, 5)
    )
    return f"CASE WHEN regexp_matches({tested}, '{_IPV4}') THEN {parts} END"


def _json_path(field: str) -> str:
    names = record_path(field)
    assert names is not None
    return "$" + "".join(f'."{name}"' for name in names)


def _pattern(text: str) -> str:
    """A regular expression that finds a text in JSON, without regard to the letter case.

    JSON may escape characters. The forms that encoders use are alternatives: a quotation mark, a
    backslash and a slash, and characters outside of ASCII as they are or as ``\\uXXXX``.
    """
    return "(?i)" + "".join(_character(character) for character in text)


def _character(character: str) -> str:
    forms = list(_forms(character))
    return forms[0] if len(forms) == 1 else f"(?:{'|'.join(forms)})"


def _forms(character: str) -> Iterator[str]:
    if character in '"\\':
        yield re.escape("\\" + character)
        return
    if not character.isprintable() and character.isascii():
        yield re.escape(msgspec.json.encode(character).decode()[1:-1])
        return
    yield re.escape(character)
    if character == "/":
        yield re.escape("\\/")
    elif not character.isascii():
        for form in dict.fromkeys((character, character.lower(), character.upper())):
            units = form.encode("utf-16-be")
            yield "".join(
                re.escape(f"\\u{units[index : index + 2].hex()}")
                for index in range(0, len(units), 2)
            )
