"""Which values have no effect on what a chart renders. Pure: a function renders the chart.

A value has an effect if the chart renders something else without it. A value that is equal to the
chart's default has an effect if the chart renders something else with a different value.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from typing import Any, Final

import yaml

from gitops.charts import Values

#: The keys and list positions from the root to a value.
Path = tuple[str | int, ...]
#: Renders a chart with values. None: the chart refuses the values.
Render = Callable[[Values], str | None]

_LOADER: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_CHANGED_TEXT: Final = "changed"


def ignored(values: Values, render: Render, *, workers: int = 4) -> tuple[str, ...]:
    """The values that the chart ignores, as paths such as ``a.b[0].c``.

    ``render`` must accept ``values``; it is called from ``workers`` threads.
    """
    baseline = render(values)
    assert baseline is not None, "the chart refuses the values"
    differs = _comparison(baseline, render(values) or "")

    def has_effect(path: Path) -> bool:
        for variant in _variants(values, path):
            rendered = render(variant)
            # A chart that refuses the variant declares the value.
            if rendered is None or differs(rendered):
                return True
        return False

    paths = list(leaves(values))
    with ThreadPoolExecutor(workers) as pool:
        effects = pool.map(has_effect, paths)
        return tuple(
            text(path) for path, effective in zip(paths, effects, strict=True) if not effective
        )


def leaves(values: Any, path: Path = ()) -> Iterator[Path]:
    """The paths of all values. Empty maps are left out: they change nothing."""
    if isinstance(values, dict):
        for key, value in values.items():
            yield from leaves(value, (*path, key))
    elif isinstance(values, list) and any(isinstance(entry, dict) for entry in values):
        for position, entry in enumerate(values):
            yield from leaves(entry, (*path, position))
    else:
        yield path


def text(path: Path) -> str:
    """A path as people write it."""
    parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return "".join(parts).removeprefix(".")


def _variants(values: Values, path: Path) -> Iterator[Values]:
    """The values without the value at ``path``, then with different values of the same type."""
    yield _edited(values, path, None, remove=True)
    for other in _others(_at(values, path)):
        yield _edited(values, path, other)


def _others(value: object) -> tuple[object, ...]:
    if isinstance(value, bool):
        return (not value,)
    if isinstance(value, int | float):
        return (value + 1,)
    if isinstance(value, str):
        return (f"{value}{_CHANGED_TEXT}", _CHANGED_TEXT)
    if isinstance(value, list):
        return ([*value, _others(value[-1])[0]],) if value else ([_CHANGED_TEXT],)
    return (_CHANGED_TEXT, {_CHANGED_TEXT: _CHANGED_TEXT}, True)


def _at(values: Any, path: Path) -> Any:
    for part in path:
        values = values[part]
    return values


def _edited(values: Values, path: Path, value: object, *, remove: bool = False) -> Values:
    copy = deepcopy(values)
    parent = _at(copy, path[:-1])
    if remove:
        del parent[path[-1]]
    else:
        parent[path[-1]] = value
    return copy


def _comparison(first: str, second: str) -> Callable[[str], bool]:
    """Whether a rendering differs from the first one, apart from parts that are random."""
    if first == second:
        return lambda rendered: rendered != first
    before, again = _flat(first), _flat(second)
    random = {key for key in before.keys() | again.keys() if before.get(key) != again.get(key)}
    stable = {key: value for key, value in before.items() if key not in random}
    return lambda rendered: (
        stable != {key: value for key, value in _flat(rendered).items() if key not in random}
    )


def _flat(rendered: str) -> dict[Path, object]:
    """Each value of each object, by the object's identity and the value's path."""
    found: dict[Path, object] = {}
    for document in yaml.load_all(rendered, Loader=_LOADER):
        if isinstance(document, dict):
            metadata = document.get("metadata") or {}
            named = (document.get("kind"), metadata.get("namespace"), metadata.get("name"))
            name = tuple(str(part) for part in named)
            found.update({(*name, *path): _at(document, path) for path in leaves(document)})
    return found
