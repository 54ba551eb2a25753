"""Loads rule files into a rule set, and collects every fault with its location.

A fault concerns its file only: all other rules are loaded.
"""

import datetime as dt
from collections.abc import Collection, Iterable, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType

from msgspec import Struct

from audit_analysis.sigma import build, documents, placeholders
from audit_analysis.sigma.documents import Document
from audit_analysis.sigma.errors import RuleErrors, RuleFault
from audit_analysis.sigma.placeholders import Placeholders
from audit_analysis.sigma.rule import RuleSet, RuleWatchdog


class LoadedRules(Struct, frozen=True):
    """The rules that could be loaded.

    ``faults`` are those of the own files. ``outdated`` are the files whose previous version is
    active, because their present version has faults. ``files`` and ``placeholders`` are what is
    active, for the next load.
    """

    rules: RuleSet
    faults: tuple[RuleFault, ...] = ()
    outdated: frozenset[Path] = frozenset()
    files: Mapping[Path, tuple[Document, ...]] = MappingProxyType({})
    placeholders: Placeholders = Placeholders({})


def load(
    paths: Iterable[Path],
    *,
    lateness: int,
    foreign: Iterable[Path] = (),
    off: Collection[str] = (),
    today: dt.date | None = None,
    watchdog: RuleWatchdog | None = None,
) -> RuleSet:
    """Load rules for a tool that needs all of them; see ``load_valid``.

    ``lateness`` is in milliseconds.

    Raises:
        RuleErrors: all faults of the files in ``paths``.
    """
    loaded = load_valid(
        paths, lateness=lateness, foreign=foreign, off=off, today=today, watchdog=watchdog
    )
    if loaded.faults:
        raise RuleErrors(list(loaded.faults))
    return loaded.rules


def load_valid(
    paths: Iterable[Path],
    *,
    lateness: int,
    foreign: Iterable[Path] = (),
    off: Collection[str] = (),
    today: dt.date | None = None,
    watchdog: RuleWatchdog | None = None,
    previous: LoadedRules | None = None,
) -> LoadedRules:
    """Read and compile all rules without faults. ``lateness`` is the maximum delay of events (ms).

    Rules whose ids are in ``off`` are skipped, and so are the correlations that depend on them.
    Faults of rules in ``foreign`` paths are in ``RuleSet.refused``, because many public rules use
    features that this engine does not support.

    If a file in ``paths`` has faults and was different in the ``previous`` load, its previous
    version is used, so that a wrong change of a rule does not stop its detection.
    """
    paths, foreign = tuple(paths), tuple(foreign)
    faults = documents.missing((*paths, *foreign))
    own: dict[Path, tuple[Document, ...]] = {
        path: tuple(documents.read_file(path, faults)) for path in documents.files(paths)
    }
    others = {
        path: tuple(documents.read_file(path, faults))
        for path in documents.files(foreign)
        if path not in own
    }
    own_placeholders = documents.placeholder_files(paths)
    placeholder_faults: list[RuleFault] = []
    known = placeholders.read(
        dict.fromkeys([*own_placeholders, *documents.placeholder_files(foreign)]),
        placeholder_faults,
    )
    outdated: set[Path] = set()
    if placeholder_faults and previous is not None:
        known = Placeholders({**previous.placeholders.values, **known.values})
        outdated |= {fault.path for fault in placeholder_faults}
    faults += placeholder_faults
    build_all = partial(build.build, known=known, lateness=lateness, off=off, today=today)
    result = build_all({**own, **others})
    if previous is not None:
        failed = {fault.path for fault in (*faults, *result.faults)}
        changed = {
            path: previous.files[path]
            for path in failed & own.keys() & previous.files.keys()
            if previous.files[path] != own[path]
        }
        if changed:
            outdated |= changed.keys()
            faults += [fault for fault in result.faults if fault.path in changed]
            own |= changed
            result = build_all({**own, **others})
    is_own = {*own, *own_placeholders, *paths}
    unique_faults = sorted({*faults, *result.faults})
    rules = RuleSet(
        result.detectors,
        links=result.links,
        refused=[fault for fault in unique_faults if fault.path not in is_own],
        watchdog=watchdog,
    )
    own_faults = tuple(fault for fault in unique_faults if fault.path in is_own)
    valid = own.keys() - ({fault.path for fault in own_faults} - outdated)
    return LoadedRules(
        rules, own_faults, frozenset(outdated), {path: own[path] for path in valid}, known
    )
