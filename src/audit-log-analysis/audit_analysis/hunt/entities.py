"""Which entities a correlation could report, as SQL on columns. Pure.

A window of an entity that never has as many events as the threshold within the timespan has no hit.
DuckDB finds these entities in the columns of the archive, so that their events are never decoded.
The result is exact: the counted events are at least those that the matcher accepts, and windows of
other entities do not see the events that are left out.

The columns have the values that rules see only if an event has no ``record`` of its source. If an
event has a record, or could have a record, no entity is left out.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import replace

from audit_analysis.hunt.parameters import Parameters
from audit_analysis.hunt.prefilter import EventCondition, of_logsource
from audit_analysis.sigma.prefilter import Requirement
from audit_analysis.sigma.rule import Detector, Link, Rule, RuleSet

#: The columns with the values of fields of events of the product ``auditflow``.
_COLUMNS: Final[Mapping[str, str]] = {
    "event_type": "event_type",
    "source_service": "source_service",
    "server_hostname": "host",
    "user_id": "user",
    "action_result": "action_result",
    "client_ip": "address",
    "resource": "resource",
}
#: The columns that the conditions of events use.
COLUMNS: Final = ("product", *_COLUMNS.values())
#: With more entities, no event is left out: the list would need too much memory.
MAX_ENTITIES: Final = 20_000

#: The values of the columns of an entity.
Entity = tuple[str, ...]


class Gate(Struct, frozen=True):
    """The necessary condition of a rule.

    ``detectors`` make the events that are counted for the values of ``counted``, and ``columns``
    are those of the entity of the rule.
    """

    columns: tuple[str, ...]
    counted: tuple[str, ...]
    detectors: tuple[Detector, ...]
    threshold: int
    timespan: int


class EntityCondition:
    """The statements of a gate. ``parameters`` are those of all statements."""

    def __init__(self, gate: Gate, detectors: Sequence[Detector]) -> None:
        """``detectors`` are all detectors of the hunt."""
        self.columns = gate.columns
        self.parameters = Parameters("gate")
        self._gate = gate
        self._counted = self._any_of(gate.detectors)
        #: The condition of the events of all detectors.
        self.text = self._any_of(detectors)
        sources = dict.fromkeys(
            " AND ".join(of_logsource(detector.logsource, self.parameters.add)) or "true"
            for detector in detectors
        )
        self._sources = " OR ".join(f"({source})" for source in sources)

    def uncertain(self, table: str) -> str:
        """A statement that has a row if the columns of an event may not be what rules see."""
        record = "try(decode(record))"
        return (
            f"SELECT 1 FROM {table} WHERE ({self._sources}) AND coalesce("
            f"contains({record}, '\"record\"') OR contains({record}, '\\u'), true) LIMIT 1"
        )

    def entities(self, table: str) -> str:
        """A statement with the entities that could have a hit, at most one more than the limit."""
        gate = self._gate
        counted, columns = _names(gate.counted), _names(gate.columns)
        present = " AND ".join(f'"{column}" IS NOT NULL' for column in gate.counted)
        return (
            f"WITH candidates AS MATERIALIZED (SELECT {counted}, occurred_ms FROM {table}"
            f" WHERE {self._counted} AND {present}), frequent AS (SELECT {counted} FROM candidates"
            f" GROUP BY {counted} HAVING count(*) >= {gate.threshold}), near AS ("
            f"SELECT {counted}, count(*) OVER (PARTITION BY {counted} ORDER BY occurred_ms"
            f" RANGE BETWEEN {gate.timespan - 1} PRECEDING AND CURRENT ROW) AS number"
            f" FROM candidates SEMI JOIN frequent USING ({counted}))"
            f" SELECT DISTINCT {columns} FROM near WHERE number >= {gate.threshold}"
            f" LIMIT {MAX_ENTITIES + 1}"
        )

    def rows_of(self, table: str, entities: Sequence[Entity]) -> tuple[str, dict[str, Any]]:
        """The rows of a table with these entities, and the parameters."""
        names = [f"entity{number}" for number in range(len(self.columns))]
        lists = ", ".join(f"unnest(${name}) AS {name}" for name in names)
        equal = " AND ".join(
            f'events."{column}" = entities.{name}'
            for column, name in zip(self.columns, names, strict=True)
        )
        parameters = {
            name: [entity[number] for entity in entities] for number, name in enumerate(names)
        }
        text = f"{table} AS events SEMI JOIN (SELECT {lists}) AS entities ON {equal}"
        return text, parameters

    def _any_of(self, detectors: Sequence[Detector]) -> str:
        terms = [self._of_detector(detector) for detector in detectors]
        return "(" + " OR ".join(f"({term})" for term in dict.fromkeys(terms)) + ")"

    def _of_detector(self, detector: Detector) -> str:
        terms = [*of_logsource(detector.logsource, self.parameters.add)]
        terms += [
            self._of_requirement(requirement)
            for requirement in detector.requirements
            if requirement.field in _COLUMNS and requirement.equal and not requirement.contain
        ]
        return " AND ".join(terms) or "true"

    def _of_requirement(self, requirement: Requirement) -> str:
        column = f'"{_COLUMNS[requirement.field]}"'
        values = self.parameters.add(sorted(requirement.equal))
        # Python and DuckDB can differ in the lower case of characters outside of ASCII.
        return f"(lower({column}) IN {values} OR strlen({column}) <> length({column}))"


class Selection(Struct, frozen=True):
    """The entities whose events a hunt processes; None: the events of all."""

    condition: EntityCondition | None = None
    entities: list[Entity] | None = None

    def continues(self, earlier: Sequence[Entity] | None) -> bool:
        """Whether a hunt of the events of ``earlier`` entities did not miss events of these."""
        if earlier is None:
            return True
        return self.entities is not None and set(self.entities) <= set(earlier)

    def apply(self, table: str, condition: EventCondition) -> tuple[str, str, dict[str, Any]]:
        """The table, the condition and the parameters that select the events of the hunt.

        ``condition`` is the condition if the entities do not matter.
        """
        if self.condition is None or self.entities is None:
            return table, condition.text, condition.parameters
        rows, parameters = self.condition.rows_of(table, self.entities)
        return rows, self.condition.text, self.condition.parameters | parameters


def gate_of(rules: RuleSet) -> Gate | None:
    """The gate of the only rule that makes findings. None if there is no gate that is exact."""
    reporting = [rule for rule in rules.rules if not rule.staged]
    if len(reporting) != 1:
        return None
    (rule,) = reporting
    mappings = list(_mappings(rules, rule))
    entity = mappings[0] if mappings else None
    if not entity or any(mapping != entity for mapping in mappings):
        return None
    found = _gate(rules, rule)
    if found is None:
        return None
    names, gate = found
    if any(names.get(name) != column for name, column in entity.items()):
        return None
    return replace(gate, columns=tuple(entity.values()))


def _gate(rules: RuleSet, rule: Rule) -> tuple[dict[str, str], Gate] | None:
    """A gate of a rule, and the column of each name of the entity of the rule."""
    window = rule.window
    if window is None or window.sketched or window.threshold < 2:
        return None
    detectors, links = _detectors(rules, rule), _links(rules, rule)
    if detectors and not links:
        names = _columns(detectors[0].group_by)
        is_countable = window.kind == "event_count" or (
            window.kind == "value_count"
            and all(detector.counted in _COLUMNS for detector in detectors)
        )
        if not is_countable or names is None:
            return None
        counted = tuple(names.values())
        return names, Gate(counted, counted, detectors, window.threshold, window.timespan)
    # Every stage is necessary. Of a rule that counts hits, the only inner rule is necessary.
    if window.kind not in ("temporal", "temporal_ordered") and (detectors or len(links) != 1):
        return None
    for inner, link in links:
        found = _gate(rules, inner)
        if found is not None and link.group_by:
            names, gate = found
            return {name: names[own] for name, own in link.group_by.items()}, gate
    return None


def _mappings(rules: RuleSet, rule: Rule) -> Iterator[dict[str, str] | None]:
    """The column of each name of the entity of a rule, for each detector below the rule."""
    for detector in _detectors(rules, rule):
        yield None if detector.logsource.product != "auditflow" else _columns(detector.group_by)
    for inner, link in _links(rules, rule):
        for mapping in _mappings(rules, inner):
            yield mapping and {name: mapping[own] for name, own in link.group_by.items()}


def _detectors(rules: RuleSet, rule: Rule) -> tuple[Detector, ...]:
    return tuple(found for found in rules.detectors if found.rule.ref.id == rule.ref.id)


def _links(rules: RuleSet, rule: Rule) -> list[tuple[Rule, Link]]:
    """The rules whose hits a rule counts."""
    return [
        (inner, link)
        for inner in rules.all_rules
        for link in rules.fed_by(inner)
        if link.rule.ref.id == rule.ref.id
    ]


def _columns(group_by: Mapping[str, str]) -> dict[str, str] | None:
    """The column of each name; None if a field has no column, or if there is no name."""
    if not group_by or not set(group_by.values()) <= set(_COLUMNS):
        return None
    return {name: _COLUMNS[field] for name, field in group_by.items()}


def _names(columns: Sequence[str]) -> str:
    return ", ".join(f'"{column}"' for column in columns)
