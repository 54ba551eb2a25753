"""The tests that stand beside the rules: timed events, and what must fire.

defaults: {event_type: user_login, action_result: FAILURE}
tests:
  - name: what it shows
    events:
      - {at: 0, user_id: alice}         # seconds after the start; the order is that of arrival
      - {at: 1, times: 10}              # ten events at that time
    fires: {Burst of failed logins: 1}  # findings by the title of their rule; no others
    says: [...]                         # optional: the sentences of all findings

Records of other sources go through the adapter that reads them in production:

defaults: {source: kubernetes, record: {verb: create, objectRef: {resource: pods}}}
tests:
  - name: ...
    events: [{at: 0, record: {objectRef: {subresource: exec}}}]   # joined with the defaults

A record is completed by what every record of its source has (ruletest.yaml). One of auditd is a
list of lines, each its type and its fields; those of the defaults come first. Identifiers and times
are set by the test.
"""

import datetime as dt
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import msgspec
import yaml
from msgspec import Struct

from audit_analysis.ruletools import sources
from audit_analysis.ruletools.backtest import Backtest
from audit_analysis.sigma.documents import TESTS
from audit_analysis.sigma.rule import RuleSet
from auditflow.contract import event
from auditflow.contract.event import Event
from auditflow.contract.finding import Finding
from auditflow.errors import AuditFlowError, ContractError
from auditflow.http.problem import Fault

_START: Final = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
_TESTS_OF_A_FILE: Final = ("defaults", "tests")
_PARTS_OF_A_TEST: Final = ("name", "events", "fires", "says")
#: A line of auditd as tests write it: "node=db-02 SYSCALL syscall=59", without time and serial.
_LINE: Final = re.compile(r"^(node=\S+ )?([A-Z0-9_]+) ?")
_AUDIT: Final = r"\1type=\2 msg=audit(1767225600.000:1): "


#: Sources that never hand over a record alone, and the name of the array that it stands in.
_WRAPPED: Final = {"cloudtrail": "Records"}


class TestFault(AuditFlowError):
    """A file of tests cannot be used. Says where and why."""

    __test__ = False


class Outcome(Struct, frozen=True):
    """What the rules made of a test's events."""

    fires: dict[str, int]
    says: tuple[str, ...]


class RuleTest(Struct, frozen=True):
    """One test of a file. ``says`` is None when the test does not ask for sentences."""

    path: Path
    name: str
    events: tuple[bytes, ...]
    fires: dict[str, int]
    says: tuple[str, ...] | None = None

    def outcome(self, rules: RuleSet) -> Outcome:
        """What the rules make of the events, one after the other.

        Raises:
            TestFault: an event does not fit the contract.
        """
        backtest = Backtest(rules)
        for one in self.events:
            if refused := backtest.take([one]):
                raise TestFault(f"{self.path}: {self.name}: {refused[0]}")
        findings = backtest.findings()
        return Outcome(_fires(findings), tuple(sorted(one.description for one in findings)))

    def run(self, rules: RuleSet) -> dict[str, int]:
        """How many findings each rule made of the events."""
        return self.outcome(rules).fires

    def failure(self, rules: RuleSet) -> str | None:
        """None when what must fire fires, else what was and what should have been."""
        got = self.outcome(rules)
        if got.fires != self.fires:
            return f"expected {_counts(self.fires)}, got {_counts(got.fires)}"
        if self.says is not None and got.says != tuple(sorted(self.says)):
            return f"expected it to say {list(self.says)}, got {list(got.says)}"
        return None


def collect(places: Iterable[Path]) -> list[RuleTest]:
    """All tests in files named ``*.test.yml`` at these places.

    Raises:
        TestFault: a file cannot be used.
    """
    return [test for path in test_files(places) for test in read(path)]


def test_files(places: Iterable[Path]) -> list[Path]:
    """The files of tests at these places."""
    found: set[Path] = set()
    for place in places:
        found |= set(place.rglob(f"*{TESTS}")) if place.is_dir() else {place}
    return sorted(found)


test_files.__test__ = False  # type: ignore[attr-defined]  # pytest: it is no test


def read(path: Path) -> list[RuleTest]:
    """The tests of one file.

    Raises:
        TestFault: it cannot be used.
    """
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), yaml.CSafeLoader)
    except yaml.YAMLError as error:
        raise TestFault(f"{path}: YAML: {error}") from None
    _check_keys(content, _TESTS_OF_A_FILE, f"{path}")
    defaults = content.get("defaults", {})
    return [_test(path, defaults, said) for said in content.get("tests") or []]


def _test(path: Path, defaults: Mapping[str, Any], said: Any) -> RuleTest:
    _check_keys(said, _PARTS_OF_A_TEST, f"{path}: a test")
    where = f"{path}: {said.get('name')}"
    for part in _PARTS_OF_A_TEST[:3]:
        if part not in said:
            raise TestFault(f"{where}: has no `{part}`")
    try:
        events = tuple(_events(defaults, said["events"]))
    except (ContractError, TypeError, ValueError, KeyError) as error:
        raise TestFault(f"{where}: {error}") from None
    says = said.get("says")
    return RuleTest(
        path, str(said["name"]), events, said["fires"], None if says is None else tuple(says)
    )


def _check_keys(content: Any, known: Sequence[str], where: str) -> None:
    if not isinstance(content, dict):
        raise TestFault(f"{where} must be a mapping of {', '.join(known)}")
    for key in content:
        if key not in known:
            raise TestFault(f"{where}: no such key: {key} (there are {', '.join(known)})")


def _events(defaults: Mapping[str, Any], said: Sequence[dict[str, Any]]) -> Iterator[bytes]:
    number = 0
    for one in said:
        fields = _joined(defaults, one)
        lines = (defaults.get("record"), one.get("record"))
        if all(isinstance(part, list) for part in lines):
            fields["record"] = [*lines[0], *lines[1]]  # type: ignore[misc]
        at, times = fields.pop("at"), fields.pop("times", 1)
        moment = _START + dt.timedelta(seconds=at)
        for _ in range(times):
            number += 1
            yield _event(f"e{number}", moment, fields)


def _event(name: str, moment: dt.datetime, fields: Mapping[str, Any]) -> bytes:
    if "source" not in fields:
        return msgspec.json.encode({"event_id": name, "timestamp": moment.isoformat(), **fields})
    surplus = fields.keys() - {"source", "record"}
    if surplus:
        raise ValueError(f"beside a source's record nothing is said: {', '.join(sorted(surplus))}")
    read = _through_its_adapter(fields["source"], fields.get("record", {}))
    return event.encode(msgspec.structs.replace(read, event_id=name, timestamp=moment))


def _through_its_adapter(name: str, record: Any) -> Event:
    source = sources.installed().get(name)
    if source is None:
        raise ValueError(
            f"the source {name} is not installed (it comes with audit-event-generator); "
            f"there are {', '.join(sources.installed())}"
        )
    found = list(source(_body(name, record)))
    if len(found) != 1:
        raise ValueError(f"the record is {len(found)} events of {name}, not one")
    if isinstance(found[0], Fault):
        raise ValueError(f"the record is none of {name}: {found[0].what}")  # noqa: TRY004
    return found[0]


def _body(name: str, record: Any) -> bytes:
    if isinstance(record, list):
        return "\n".join(_LINE.sub(_AUDIT, line) for line in record).encode()
    whole = _joined(_always().get(name, {}), record)
    return msgspec.json.encode({_WRAPPED[name]: [whole]} if name in _WRAPPED else whole)


def _joined(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Both, and where both have a mapping, these joined; else ``over`` wins."""
    joined = dict(under)
    for key, value in over.items():
        known = joined.get(key)
        if isinstance(known, dict) and isinstance(value, dict):
            joined[key] = _joined(known, value)
        else:
            joined[key] = value
    return joined


@cache
def _always() -> dict[str, dict[str, Any]]:
    """What every record of a source has."""
    text = (files("audit_analysis.ruletools") / "ruletest.yaml").read_text("utf-8")
    loaded: dict[str, dict[str, Any]] = yaml.safe_load(text)
    return loaded


def _fires(findings: Sequence[Finding]) -> dict[str, int]:
    return dict(Counter(one.rule.title for one in findings))


def _counts(fires: Mapping[str, int]) -> str:
    return ", ".join(f"{title} x{number}" for title, number in fires.items()) or "nothing"
