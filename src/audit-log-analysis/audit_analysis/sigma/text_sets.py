"""Long lists of plain texts in a rule, such as indicators of compromise, as one value.

pySigma makes an object for each value and the condition has a node for each. For lists of 200,000
values that takes seconds and hundreds of MiB. Therefore such a list is replaced by one ``TextSet``
before pySigma reads the rule.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, Literal

from ahocorasick_rs import AhoCorasick
from sigma.types import SigmaType, type_map

#: Lists with fewer values are left to pySigma.
MIN_VALUES: Final = 64
#: Characters that are wildcards or escapes in a value.
_SPECIAL: Final = frozenset("*?\\")

Kind = Literal["equals", "contains", "startswith", "endswith"]
_KIND_BY_MODIFIER: Final[dict[str, Kind]] = {
    "contains": "contains",
    "startswith": "startswith",
    "endswith": "endswith",
}


class TextSet(SigmaType):
    """Matches a text that equals, contains, starts with or ends with one of ``texts``.

    ``texts`` are in lower case and not empty.
    """

    def __init__(self, kind: Kind, texts: frozenset[str]) -> None:
        self.kind = kind
        self.texts = texts

    def test(self) -> Callable[[str], bool]:
        """The test of a text in lower case."""
        texts = self.texts
        match self.kind:
            case "equals":
                return texts.__contains__
            case "contains":
                find = AhoCorasick(texts).find_matches_as_indexes
                return lambda found: bool(find(found))
            case "startswith":
                lengths = sorted({len(text) for text in texts})
                return lambda found: any(found[:length] in texts for length in lengths)
        lengths = sorted({len(text) for text in texts})
        return lambda found: any(found[-length:] in texts for length in lengths)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TextSet) and (self.kind, self.texts) == (other.kind, other.texts)

    def __hash__(self) -> int:
        return hash((self.kind, self.texts))

    def to_plain(self) -> list[str]:
        """The texts."""
        return sorted(self.texts)


# pySigma converts the values of a rule by this table.
type_map.setdefault(TextSet, lambda text_set: text_set)  # type: ignore[arg-type]


def replace_lists(content: Mapping[str, Any]) -> dict[str, Any]:
    """A rule or exclusion whose long lists of plain texts are replaced, as a new mapping."""
    replaced = dict(content)
    for key in ("detection", "filter"):
        detection = content.get(key)
        if isinstance(detection, dict):
            replaced[key] = {
                name: definition if name in ("condition", "rules") else _definition(definition)
                for name, definition in detection.items()
            }
    return replaced


def _definition(definition: Any) -> Any:
    if isinstance(definition, list):
        return [_definition(part) if isinstance(part, dict) else part for part in definition]
    if not isinstance(definition, dict):
        return definition
    replaced: dict[Any, Any] = {}
    for key, values in definition.items():
        new_key, new_values = key, values
        if isinstance(values, list) and len(values) >= MIN_VALUES and isinstance(key, str):
            new_key, new_values = _item(key, values)
        if new_key != key and (new_key in definition or new_key in replaced):
            new_key, new_values = key, values  # The same field has another condition.
        replaced[new_key] = new_values
    return replaced


def _item(key: str, values: list[Any]) -> tuple[str, list[Any]]:
    """The key and values of a detection item, with a TextSet if it supports the modifiers."""
    field, *modifiers = key.split("|")
    plain = {value.lower() for value in values if _is_plain(value)}
    if not field or not plain:
        return key, values
    if not modifiers:
        others = [value for value in values if not _is_plain(value)]
        return key, [TextSet("equals", frozenset(plain)), *others]
    if len(modifiers) == 1 and modifiers[0] in _KIND_BY_MODIFIER and all(map(_is_plain, values)):
        return field, [TextSet(_KIND_BY_MODIFIER[modifiers[0]], frozenset(plain))]
    return key, values


def _is_plain(value: Any) -> bool:
    return value.__class__ is str and value != "" and _SPECIAL.isdisjoint(value)
