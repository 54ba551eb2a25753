"""Runs the test events of a public rule set through its rules.

The layout is that of SigmaHQ: tests are described in ``regression_data/**/info.yml``:

    rule_metadata: [{id: 7dbbcac2-..., title: ...}]
    regression_tests_info:
      - {name: ..., type: evtx, match_count: 1, path: regression_data/.../7dbbcac2-....evtx}

Each event gets the log source that its rule names, because the test concerns the detection only.
Windows' binary logs (evtx) are not read; a JSON file with the same name is read instead.
"""

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from json import JSONDecodeError, JSONDecoder
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
from msgspec import Raw, Struct

from audit_analysis.ruletools.backtest import Backtest
from audit_analysis.sigma import documents, yaml_reader
from audit_analysis.sigma.errors import RuleFault
from audit_analysis.sigma.fields import View
from audit_analysis.sigma.rule import RuleSet
from audit_analysis.sigma.yaml_reader import YamlFault
from auditflow.contract import event, identity
from auditflow.contract.event import Event, LogSource
from auditflow.errors import AuditFlowError

DATA: Final = "regression_data"
#: The timestamp of all test events.
_TIMESTAMP: Final = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
#: Where Windows events have their own fields.
_BODIES: Final = ("EventData", "UserData")

ResultKind = Literal["matches", "differs", "unreadable", "left_out"]


class RegressionFault(AuditFlowError):
    """A test description, or the whole directory, cannot be used. The text states the reason."""


class Case(Struct, frozen=True):
    """A test: the events in ``sample`` must match the rule at least ``expected`` times."""

    info: Path
    name: str
    rule_id: str
    sample: Path
    expected: int


class Result(Struct, frozen=True):
    """The result of a test.

    ``matches`` and ``differs`` are results of the rule. ``unreadable`` means that the description
    or the events cannot be read, ``left_out`` that the rule is not loaded. ``reason`` has details.
    """

    info: str
    name: str
    rule_id: str
    outcome: ResultKind
    reason: str = ""


def rule_paths(root: Path) -> list[Path]:
    """The folders of a set with rules: those named ``rules*``, or the root if there are none."""
    return sorted(root.glob("rules*")) or [root]


def cases(root: Path) -> Iterator[Case | Result]:
    """All tests of a set. A description without usable tests yields its result instead.

    Raises:
        RegressionFault: there are no test descriptions.
    """
    infos = sorted((root / DATA).rglob("info.y*ml"))
    if not infos:
        raise RegressionFault(f"{root / DATA}: there is no info.yml in it")
    for info in infos:
        try:
            yield from _cases_of(info, root)
        except RegressionFault as error:
            yield Result(str(info), "", "", "unreadable", str(error))


class Regression:
    """Runs the tests of a rule set whose rules are loaded."""

    def __init__(self, root: Path, rules: RuleSet) -> None:
        self._rules = rules
        self._faults: dict[Path, list[RuleFault]] = {}
        for fault in rules.refused:
            self._faults.setdefault(fault.path, []).append(fault)
        faults: list[RuleFault] = []
        paths = documents.files(rule_paths(root))
        self._documents = {
            str(document.content["id"]): document
            for document in documents.read(paths, faults)
            if isinstance(document.content, dict) and "id" in document.content
        }

    def run(self, case: Case) -> Result:
        """Run a test."""
        outcome: ResultKind
        try:
            matches = self._matches(case)
        except _Unreadable as error:
            outcome, reason = "unreadable", str(error)
        except _NotLoaded as error:
            outcome, reason = "left_out", str(error)
        else:
            # More matches than expected are accepted, as in SigmaHQ's own tests.
            outcome = "matches" if matches >= case.expected else "differs"
            reason = "" if outcome == "matches" else f"matches {matches} times, not {case.expected}"
        return Result(str(case.info), case.name, case.rule_id, outcome, reason)

    def _matches(self, case: Case) -> int:
        document = self._documents.get(case.rule_id)
        if document is None:
            raise _NotLoaded("no rule has this id")
        loaded = {rule.ref.id: rule for rule in self._rules.rules}
        if case.rule_id not in loaded:
            faults = self._faults.get(document.path, ())
            raise _NotLoaded(
                "; ".join(fault.message for fault in faults) or "it only feeds a correlation"
            )
        source = _log_source(document.content)
        events = [_event(record, source) for record in _records(case.sample)]
        if loaded[case.rule_id].window is None:
            return sum(self._matches_event(case.rule_id, each) for each in events)
        backtest = Backtest(self._rules)
        backtest.take([event.encode(each) for each in events])
        return sum(found.rule.id == case.rule_id for found in backtest.findings())

    def _matches_event(self, rule_id: str, each: Event) -> bool:
        detectors = self._rules.match(View(each))
        return any(detector.rule.ref.id == rule_id for detector in detectors)


class _Unreadable(Exception):
    pass


class _NotLoaded(Exception):
    pass


def _cases_of(info: Path, root: Path) -> Iterator[Case]:
    try:
        documents_in_file = list(yaml_reader.read_documents(yaml_reader.read_text(info)))
        content = documents_in_file[0].content
        rule_id = str(content["rule_metadata"][0]["id"])
        tests = content["regression_tests_info"]
        yield from [
            Case(
                info=info,
                name=str(test.get("name", "")),
                rule_id=rule_id,
                sample=_sample(root, str(test["path"]), info),
                expected=int(test.get("match_count", 1)),
            )
            for test in tests
        ]
    except YamlFault as error:
        raise RegressionFault(f"line {error.line}: {error.message}") from None
    except (TypeError, KeyError, IndexError, AttributeError, ValueError) as error:
        raise RegressionFault(
            f"has no rule_metadata with an id, or no regression_tests_info with paths: {error!r}"
        ) from None


def _sample(root: Path, name: str, info: Path) -> Path:
    """The file of a test: relative to the root of the set, or next to the description."""
    path = (root / name).resolve()
    if not path.is_relative_to(root.resolve()):
        raise ValueError(f"{name} is not inside of the rule set")
    return path if path.exists() else info.with_name(Path(name).name)


def _log_source(content: Mapping[str, Any]) -> LogSource:
    source = content.get("logsource")
    parts = source if isinstance(source, dict) else {}
    return LogSource(**{key: parts.get(key) for key in ("product", "service", "category")})


def _records(sample: Path) -> Sequence[Any]:
    if sample.suffix == ".evtx":
        sample = sample.with_suffix(".json")
        if not sample.is_file():
            raise _Unreadable("a binary log without a JSON file of the same name")
    try:
        text = sample.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise _Unreadable(f"{sample}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise _Unreadable(f"{sample}: {error}") from None
    try:
        values = list(_json_documents(text))
    except (JSONDecodeError, RecursionError) as error:
        raise _Unreadable(f"{sample}: invalid JSON: {error}") from None
    return values[0] if len(values) == 1 and isinstance(values[0], list) else values


def _json_documents(text: str) -> Iterator[Any]:
    """The JSON documents of a text, one after the other, with any whitespace between them."""
    decoder, offset = JSONDecoder(), 0
    while True:
        while offset < len(text) and text[offset].isspace():
            offset += 1
        if offset == len(text):
            return
        value, offset = decoder.raw_decode(text, offset)
        yield value


def _event(record: Any, source: LogSource) -> Event:
    flat = _flat(record) if isinstance(record, dict) else {"value": record}
    raw = msgspec.json.encode(flat)
    return Event(
        event_id=identity.record_id(raw),
        timestamp=_TIMESTAMP,
        event_type="regression",
        logsource=source,
        record=Raw(raw),
    )


def _flat(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record, for Windows with the names that rules use in addition."""
    inside = record.get("Event")
    if not isinstance(inside, dict) or not isinstance(inside.get("System"), dict):
        return dict(record)
    fields: dict[str, Any] = {}
    for name, value in inside["System"].items():
        fields.update(_attributes(name, value))
    for body in _BODIES:
        fields.update(_leaves(inside.get(body)))
    return {**record, **fields}


def _attributes(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """The fields of a system value: Provider: {#attributes: {Name: x}} becomes Provider_Name: x."""
    if not isinstance(value, dict):
        yield name, value
        return
    if "#text" in value:
        yield name, value["#text"]
    attributes = value.get("#attributes")
    for key, text in (attributes if isinstance(attributes, dict) else {}).items():
        yield f"{name}_{key}", text


def _leaves(node: Any) -> Iterator[tuple[str, Any]]:
    """The fields of an event's body, at any depth."""
    for name, value in (node if isinstance(node, dict) else {}).items():
        if name == "#attributes":
            continue
        if isinstance(value, dict):
            if "#text" in value:
                yield name, value["#text"]
            yield from _leaves({key: inner for key, inner in value.items() if key != "#text"})
        else:
            yield name, value
