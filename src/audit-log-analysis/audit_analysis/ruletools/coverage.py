"""Charts the techniques of MITRE ATT&CK that rules cover: a layer for the Navigator, and a page.

The layer's format is 4.5:
https://github.com/mitre-attack/attack-navigator/blob/master/layers/LAYERFORMATv4_5.md
Names and tactics of techniques are in attack.yaml, so that no network access is needed.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any, Final

import yaml
from msgspec import Struct

from auditflow.contract import attack

_COLOURS: Final = ("#e8f1fb", "#08519c")


class Tactic(Struct, frozen=True):
    """A column of the matrix: its identifier (TA0006), its tag (credential-access), its name."""

    id: str
    tag: str
    name: str


class Technique(Struct, frozen=True, order=True):
    """A technique or sub-technique (T1110.001), with the tags of its tactics."""

    id: str
    name: str
    tactics: tuple[str, ...] = ()

    @property
    def address(self) -> str:
        """Its page at MITRE."""
        return attack.technique_url(self.id)


class Tagged(Struct, frozen=True, order=True):
    """The parts of a rule that a chart needs."""

    title: str
    level: str
    source: str
    tags: tuple[str, ...]


class Chart(Struct, frozen=True):
    """The rules of each technique. ``untagged`` rules have no technique."""

    techniques: Mapping[Technique, Sequence[Tagged]]
    rules: int
    untagged: Sequence[Tagged]

    def by_tactic(self) -> list[tuple[Tactic, list[tuple[Technique, list[Tagged]]]]]:
        """The matrix: the tactics in ATT&CK's order with their techniques.

        A rule belongs to the tactics that both the rule and its technique name. If the rule names
        no tactic of the technique, it belongs to all of them.
        """
        columns = []
        for tactic in tactics():
            cells = []
            for technique, rules in sorted(self.techniques.items()):
                here = [rule for rule in rules if tactic.tag in _tactics_of(rule, technique)]
                if here:
                    cells.append((technique, here))
            if cells:
                columns.append((tactic, cells))
        return columns

    def summary(self) -> str:
        """A summary in one line."""
        columns = self.by_tactic()
        text = f"{self.rules} rules, {len(self.techniques)} techniques, {len(columns)} tactics"
        return text + (f"; {len(self.untagged)} rules without a technique" if self.untagged else "")


def chart(rules: Iterable[Tagged]) -> Chart:
    """Group rules by the techniques that their tags name."""
    found: dict[Technique, list[Tagged]] = {}
    untagged, number = [], 0
    for rule in sorted(rules):
        number += 1
        named = [technique(tag) for tag in rule.tags if _is_technique(tag)]
        for each in named:
            found.setdefault(each, []).append(rule)
        if not named:
            untagged.append(rule)
    return Chart(dict(sorted(found.items())), number, untagged)


def technique(tag: str) -> Technique:
    """The technique of a tag (``attack.t1110.001``). Unknown techniques have only their id."""
    identifier = tag.removeprefix(attack.TAG_PREFIX).upper()
    known = _table()["techniques"].get(identifier)
    if known is None:
        return Technique(identifier, "")
    return Technique(identifier, known["name"], tuple(known["tactics"]))


@cache
def tactics() -> tuple[Tactic, ...]:
    """The tactics, in the order of the matrix."""
    return tuple(Tactic(**tactic) for tactic in _table()["tactics"])


def layer(chart: Chart) -> str:
    """The chart as a layer file of the ATT&CK Navigator."""
    cells = [
        {
            "techniqueID": technique.id,
            "tactic": tactic.tag,
            "score": len(rules),
            "comment": "\n".join(f"{rule.title} ({rule.source}, {rule.level})" for rule in rules),
            "enabled": True,
            "showSubtechniques": "." in technique.id,
        }
        for tactic, techniques in chart.by_tactic()
        for technique, rules in techniques
    ]
    most = max((int(str(cell["score"])) for cell in cells), default=1)
    document = {
        "name": "AuditFlow rules",
        "versions": {"attack": _table()["version"], "navigator": "5.1.0", "layer": "4.5"},
        "domain": "enterprise-attack",
        "description": f"The coverage of the rules of AuditFlow: {chart.summary()}.",
        "sorting": 3,
        "layout": {"layout": "side", "showID": True, "showName": True},
        "hideDisabled": False,
        "techniques": cells,
        "gradient": {"colors": list(_COLOURS), "minValue": 0, "maxValue": most},
        "legendItems": [{"label": "darker: more rules", "color": _COLOURS[1]}],
        "selectTechniquesAcrossTactics": False,
    }
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def page(chart: Chart, *, layer: str) -> str:
    """The chart as a page of the documentation."""
    lines = [
        "# Coverage of the rules",
        "",
        "<!-- Generated by `auditflow rules coverage --write docs/rules`. A test verifies it. -->",
        "",
        f"{chart.summary()}, by the tags of the rules, for "
        f"[MITRE ATT&CK]({attack.SITE}/) {_table()['version']}. Open [{layer}]({layer}) in the "
        "[ATT&CK Navigator](https://mitre-attack.github.io/attack-navigator/) to see the matrix.",
        "",
        "A listed technique has at least one rule. Not every use of it is detected.",
    ]
    for tactic, techniques in chart.by_tactic():
        address = attack.tactic_url(tactic.id)
        lines += ["", f"## {tactic.name}", "", f"[{tactic.id}]({address})", ""]
        lines += ["| technique | rules |", "|---|---|"]
        for cell, rules in techniques:
            titles = ", ".join(f"{rule.title} ({_product(rule)})" for rule in rules)
            lines.append(f"| [{cell.id}]({cell.address}) {cell.name} | {titles} |")
    if chart.untagged:
        lines += ["", "## Rules without a technique", ""]
        lines += [f"- {rule.title} ({_product(rule)})" for rule in chart.untagged]
    return "\n".join(lines) + "\n"


def _product(rule: Tagged) -> str:
    return rule.source.split(" ", 1)[0] or "any source"


def _tactics_of(rule: Tagged, technique: Technique) -> set[str]:
    tags = {tag.removeprefix(attack.TAG_PREFIX) for tag in rule.tags}
    return tags & set(technique.tactics) or set(technique.tactics) or tags & _tags()


def _is_technique(tag: str) -> bool:
    name = tag.removeprefix(attack.TAG_PREFIX)
    return tag.startswith(attack.TAG_PREFIX) and name[:1] == "t" and name[1:5].isdigit()


@cache
def _tags() -> set[str]:
    return {tactic.tag for tactic in tactics()}


@cache
def _table() -> dict[str, Any]:
    text = (files("audit_analysis.ruletools") / "attack.yaml").read_text("utf-8")
    table: dict[str, Any] = yaml.safe_load(text)
    return table
