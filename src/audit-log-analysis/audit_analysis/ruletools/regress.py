"""The test events that a public rule set ships with its rules, against these rules.

A set keeps them as SigmaHQ does, in ``regression_data/**/info.yml``:

    rule_metadata: [{id: 7dbbcac2-..., title: ...}]
    regression_tests_info:
      - {name: ..., type: evtx, match_count: 1, path: regression_data/.../7dbbcac2-....evtx}

An event is given to the rules as one of the log source that its rule names: what is checked is what
the rule says of it. Windows' binary logs (evtx) are not read; the same events as JSON mostly stand
beside them, and are.
"""

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
import yaml
from msgspec import Raw, Struct

from audit_analysis.ruletools.backtest import Backtest
from audit_analysis.sigma import documents
from audit_analysis.sigma.errors import RuleFault
from audit_analysis.sigma.fields import View
from audit_analysis.sigma.rule import RuleSet
from auditflow.contract import event, identity
from auditflow.contract.event import Event, LogSource
from auditflow.errors import AuditFlowError

DATA: Final = "regression_data"
#: For an event that does not say when it was.
_WHEN: Final = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
#: Where Windows keeps an event's own fields.
_BODIES: Final = ("EventData", "UserData")


class RegressionFault(AuditFlowError):
    """The directory has no such tests, or a file of them cannot be used. Says which and why."""


class Case(Struct, frozen=True):
    """One test: these events must make this rule match so often."""

    info: Path
    name: str
    rule_id: str
    sample: Path
    wanted: int


class Result(Struct, frozen=True):
    """What became of a test.

    ``matches`` and ``differs`` are the rule's doing. ``unreadable`` is an event that cannot be read
    here, ``left_out`` a rule that is not in force; ``why`` says more.
    """

    info: str
    name: str
    rule_id: str
    outcome: Literal["matches", "differs", "unreadable", "left_out"]
    why: str = ""


def rule_places(root: Path) -> list[Path]:
    """Where the rules of a set are: its folders named ``rules*``, or all of it."""
    return sorted(root.glob("rules*")) or [root]


def cases(root: Path) -> Iterator[Case]:
    """All tests of a set.

    Raises:
        RegressionFault: there are none, or a file of them cannot be used.
    """
    infos = sorted((root / DATA).rglob("info.y*ml"))
    if not infos:
        raise RegressionFault(f"{root / DATA}: there is no info.yml in it")
    for info in infos:
        try:
            said = yaml.load(info.read_text(encoding="utf-8"), yaml.CSafeLoader)
            rule_id = str(said["rule_metadata"][0]["id"])
            for one in said["regression_tests_info"]:
                yield Case(
                    info=info,
                    name=str(one.get("name", "")),
                    rule_id=rule_id,
                    sample=_inside(root, str(one["path"]), info),
                    wanted=int(one.get("match_count", 1)),
                )
        except (yaml.YAMLError, OSError, UnicodeDecodeError) as error:
            raise RegressionFault(f"{info}: cannot be read: {error}") from None
        except (TypeError, KeyError, IndexError, AttributeError, ValueError) as error:
            raise RegressionFault(
                f"{info}: has no rule_metadata with an id, or no regression_tests_info with paths: "
                f"{error!r}"
            ) from None


class Regression:
    """Runs the tests of a set through its rules, all of which are loaded."""

    def __init__(self, root: Path, rules: RuleSet) -> None:
        self._rules = rules
        self._faults: dict[Path, list[RuleFault]] = {}
        for fault in rules.refused:
            self._faults.setdefault(fault.path, []).append(fault)
        faults: list[RuleFault] = []
        paths = documents.files(rule_places(root))
        self._documents = {
            str(one.content["id"]): one
            for one in documents.read(paths, faults)
            if isinstance(one.content, dict) and "id" in one.content
        }

    def run(self, case: Case) -> Result:
        """Give a test's events to the rules."""
        outcome: Literal["matches", "differs", "unreadable", "left_out"]
        try:
            got = self._matches(case)
        except _Unreadable as error:
            outcome, why = "unreadable", str(error)
        except _LeftOut as error:
            outcome, why = "left_out", str(error)
        else:
            # More than was asked for is as good: the rule's authors say the same.
            outcome = "matches" if got >= case.wanted else "differs"
            why = "" if outcome == "matches" else f"matches {got} times, not {case.wanted}"
        return Result(str(case.info), case.name, case.rule_id, outcome, why)

    def _matches(self, case: Case) -> int:
        document = self._documents.get(case.rule_id)
        if document is None:
            raise _LeftOut("there is no such rule")
        in_force = {one.ref.id: one for one in self._rules.rules}
        if case.rule_id not in in_force:
            faults = self._faults.get(document.path, ())
            raise _LeftOut("; ".join(one.what for one in faults) or "it only feeds others")
        events = _events(case.sample, _logsource(document.content))
        if in_force[case.rule_id].window is None:
            return sum(
                any(found.rule.ref.id == case.rule_id for found in self._rules.match(View(one)))
                for one in events
            )
        backtest = Backtest(self._rules)
        backtest.take([event.encode(one) for one in events])
        return sum(found.rule.id == case.rule_id for found in backtest.findings())


class _Unreadable(Exception):
    pass


class _LeftOut(Exception):
    pass


def _inside(root: Path, said: str, info: Path) -> Path:
    """The file that a test names: from the root of the set, else beside what names it."""
    path = (root / said).resolve()
    if not path.is_relative_to(root.resolve()):
        raise ValueError(f"{said} is not inside of the rule set")
    return path if path.exists() else info.with_name(Path(said).name)


def _logsource(said: Mapping[str, Any]) -> LogSource:
    source = said.get("logsource")
    known = source if isinstance(source, dict) else {}
    return LogSource(**{key: known.get(key) for key in ("product", "service", "category")})


def _events(sample: Path, source: LogSource) -> list[Event]:
    return [_event(one, source) for one in _records(sample)]


def _records(sample: Path) -> Sequence[Any]:
    if sample.suffix == ".evtx":
        sample = sample.with_suffix(".json")
        if not sample.is_file():
            raise _Unreadable("a binary log without the same as JSON beside it")
    try:
        body = sample.read_bytes().removeprefix(b"\xef\xbb\xbf")
    except OSError as error:
        raise _Unreadable(f"{sample}: {error.strerror}") from None
    try:
        whole = msgspec.json.decode(body)
    except msgspec.DecodeError:
        try:  # not one value: one a line
            return [msgspec.json.decode(line) for line in body.splitlines() if line.strip()]
        except msgspec.DecodeError as error:
            raise _Unreadable(f"{sample}: neither JSON nor lines of it: {error}") from None
    return whole if isinstance(whole, list) else [whole]


def _event(record: Any, source: LogSource) -> Event:
    flat = _flat(record) if isinstance(record, dict) else {"value": record}
    raw = msgspec.json.encode(flat)
    return Event(
        event_id=identity.record_id(raw),
        timestamp=_WHEN,
        event_type="regression",
        logsource=source,
        record=Raw(raw),
    )


def _flat(record: Mapping[str, Any]) -> dict[str, Any]:
    """A Windows event with its fields by the names that rules use, beside all that it has."""
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
    """Provider: {#attributes: {Name: x}} is Provider_Name: x."""
    if not isinstance(value, dict):
        yield name, value
        return
    if "#text" in value:
        yield name, value["#text"]
    attributes = value.get("#attributes")
    for key, one in (attributes if isinstance(attributes, dict) else {}).items():
        yield f"{name}_{key}", one


def _leaves(node: Any) -> Iterator[tuple[str, Any]]:
    """The fields of an event's body, however deep they stand in it."""
    for name, value in (node if isinstance(node, dict) else {}).items():
        if name == "#attributes":
            continue
        if isinstance(value, dict):
            if "#text" in value:
                yield name, value["#text"]
            yield from _leaves({key: one for key, one in value.items() if key != "#text"})
        else:
            yield name, value
