"""Rule tests: events with time offsets, and the findings that they must lead to.

defaults: {event_type: user_login, action_result: FAILURE}
tests:
  - name: three failures within a minute
    events:
      - {at: 0, user_id: alice}         # seconds after the start, in the order of arrival
      - {at: 1, times: 10}              # ten events at that time
    fires: {Burst of failed logins: 1}  # number of findings by rule title; no others are allowed
    descriptions: [...]                 # optional: the descriptions of all findings

Records of other sources are read by the adapter that reads them in production:

defaults: {source: kubernetes, record: {verb: create, objectRef: {resource: pods}}}
tests:
  - name: ...
    events: [{at: 0, record: {objectRef: {subresource: exec}}}]   # merged with the defaults

The fields that every record of a source has come from ruletest.yaml. A record of auditd is a list
of lines with type and fields; the lines of the defaults come first. The test sets identifiers and
timestamps.
"""

import datetime as dt
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, ClassVar, Final

import msgspec
import yaml
from msgspec import Struct

from audit_analysis.ruletools import sources
from audit_analysis.ruletools.backtest import Backtest
from audit_analysis.sigma import yaml_reader
from audit_analysis.sigma.documents import TESTS
from audit_analysis.sigma.rule import RuleSet
from audit_analysis.sigma.yaml_reader import YamlFault
from auditflow.contract import event
from auditflow.contract.event import Event
from auditflow.contract.finding import Finding
from auditflow.errors import AuditFlowError, ContractError
from auditflow.http.problem import Fault
from auditflow.printable import printable

_START: Final = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
_FILE_KEYS: Final = ("defaults", "tests")
_TEST_KEYS: Final = ("name", "events", "fires", "descriptions")
#: The old name of ``descriptions``, which the next release no longer accepts.
_OLD_KEY: Final = "says"
#: Maximum number of events of a test, and of its file.
MAX_EVENTS: Final = 10_000
#: Maximum offset of an event from the start (seconds): a year.
MAX_OFFSET: Final = 366 * 86400
#: A line of auditd in a test: "node=db-02 SYSCALL syscall=59", without timestamp and serial.
_LINE: Final = re.compile(r"^(node=\S+ )?([A-Z0-9_]+) ?")
_AUDIT: Final = r"\1type=\2 msg=audit(1767225600.000:1): "
#: Sources that send records in an array only, and the name of the array.
_WRAPPED: Final = {"cloudtrail": "Records"}


class TestFault(AuditFlowError):
    """A test file cannot be used. The text names the file and the reason."""

    __test__ = False


class TestResult(Struct, frozen=True):
    """The findings of a test: their number by rule title, and their sorted descriptions."""

    __test__: ClassVar[bool] = False

    fires: dict[str, int]
    descriptions: tuple[str, ...]


class RuleTest(Struct, frozen=True):
    """One test of a file. ``descriptions`` is None if the test does not check descriptions."""

    path: Path
    name: str
    events: tuple[bytes, ...]
    fires: dict[str, int]
    descriptions: tuple[str, ...] | None = None

    def run(self, rules: RuleSet) -> TestResult:
        """Process the events one after the other.

        Raises:
            TestFault: an event violates the contract.
        """
        backtest = Backtest(rules)
        for encoded in self.events:
            if refused := backtest.take([encoded]):
                raise TestFault(f"{self.path}: {self.name}: {printable(refused[0])}")
        findings = backtest.findings()
        return TestResult(_fires(findings), tuple(sorted(found.description for found in findings)))

    def failure(self, rules: RuleSet) -> str | None:
        """None if the findings are as expected; otherwise the difference."""
        got = self.run(rules)
        if got.fires != self.fires:
            return f"expected {_counts(self.fires)}, got {_counts(got.fires)}"
        expected = self.descriptions
        if expected is not None and got.descriptions != tuple(sorted(expected)):
            return f"expected the descriptions {list(expected)}, got {list(got.descriptions)}"
        return None


def collect(paths: Iterable[Path]) -> list[RuleTest]:
    """All tests in files named ``*.test.yml`` at the paths, which are files or folders.

    Raises:
        TestFault: a file cannot be used.
    """
    return [test for path in test_files(paths) for test in read(path)]


def test_files(paths: Iterable[Path]) -> list[Path]:
    """The test files at the paths."""
    found: set[Path] = set()
    for path in paths:
        found |= set(path.rglob(f"*{TESTS}")) if path.is_dir() else {path}
    return sorted(found)


test_files.__test__ = False  # type: ignore[attr-defined]  # Not a test for pytest.


def read(path: Path) -> list[RuleTest]:
    """The tests of one file.

    Raises:
        TestFault: the file cannot be used.
    """
    try:
        found = list(yaml_reader.read_documents(yaml_reader.read_text(path)))
    except YamlFault as error:
        raise TestFault(f"{path}: line {error.line}: {error.message}") from None
    if len(found) != 1:
        raise TestFault(f"{path}: must be one document with the keys {', '.join(_FILE_KEYS)}")
    content = found[0].content
    _check_keys(content, _FILE_KEYS, f"{path}")
    defaults, tests = content.get("defaults") or {}, content.get("tests") or []
    if not isinstance(defaults, dict):
        raise TestFault(f"{path}: `defaults` must be a mapping")
    if not isinstance(tests, list):
        raise TestFault(f"{path}: `tests` must be a list")
    read_tests = []
    remaining = MAX_EVENTS
    for test in tests:
        read_tests.append(_test(path, defaults, test, remaining))
        remaining -= len(read_tests[-1].events)
    return read_tests


def _test(path: Path, defaults: Mapping[str, Any], test: Any, max_events: int) -> RuleTest:
    if isinstance(test, dict) and _OLD_KEY in test:
        if "descriptions" in test:
            raise TestFault(f"{path}: a test has `descriptions` or its old name `says`, not both")
        test = {**test, "descriptions": test[_OLD_KEY]}
        del test[_OLD_KEY]
    _check_keys(test, _TEST_KEYS, f"{path}: a test")
    location = f"{path}: {printable(str(test.get('name')))}"
    for key in _TEST_KEYS[:3]:
        if key not in test:
            raise TestFault(f"{location}: has no `{key}`")
    fires, descriptions = test["fires"], test.get("descriptions")
    if not isinstance(fires, dict):
        raise TestFault(f"{location}: `fires` must be a mapping of rule titles to numbers")
    if descriptions is not None and not isinstance(descriptions, list):
        raise TestFault(f"{location}: `descriptions` must be a list of texts")
    try:
        events = tuple(_events(defaults, test["events"], max_events))
    except KeyError as error:
        raise TestFault(f"{location}: an event has no `{error.args[0]}`") from None
    except (ContractError, TypeError, ValueError, OverflowError, msgspec.MsgspecError) as error:
        raise TestFault(f"{location}: {printable(str(error))}") from None
    return RuleTest(
        path,
        str(test["name"]),
        events,
        {str(title): number for title, number in fires.items()},
        None if descriptions is None else tuple(map(str, descriptions)),
    )


def _check_keys(content: Any, known: Sequence[str], location: str) -> None:
    if not isinstance(content, dict):
        raise TestFault(f"{location} must be a mapping of {', '.join(known)}")
    for key in content:
        if key not in known:
            raise TestFault(f"{location}: unknown key: {key} (known keys: {', '.join(known)})")


def _events(defaults: Mapping[str, Any], entries: Any, max_events: int) -> Iterator[bytes]:
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ValueError("`events` must be a list of mappings")
    number = 0
    for entry in entries:
        fields = _merged(defaults, entry)
        lines = (defaults.get("record"), entry.get("record"))
        if all(isinstance(record, list) for record in lines):
            fields["record"] = [*lines[0], *lines[1]]  # type: ignore[misc]
        at, times = fields.pop("at"), fields.pop("times", 1)
        if not _is_number(at) or not -MAX_OFFSET <= at <= MAX_OFFSET:
            raise ValueError(f"`at` must be a number of seconds, at most {MAX_OFFSET:,}")
        if not _is_number(times) or not 0 <= times <= max_events - number:
            raise ValueError(
                f"`times` must be a number, and a file has at most {MAX_EVENTS:,} events"
            )
        timestamp = _START + dt.timedelta(seconds=at)
        for _ in range(times):
            number += 1
            yield _event(f"e{number}", timestamp, fields)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _event(name: str, timestamp: dt.datetime, fields: Mapping[str, Any]) -> bytes:
    if "source" not in fields:
        return msgspec.json.encode({"event_id": name, "timestamp": timestamp.isoformat(), **fields})
    unknown = fields.keys() - {"source", "record"}
    if unknown:
        raise ValueError(
            f"an event with a source has only a record, not also {', '.join(sorted(unknown))}"
        )
    read = _read_record(fields["source"], fields.get("record", {}))
    return event.encode(msgspec.structs.replace(read, event_id=name, timestamp=timestamp))


def _read_record(name: str, record: Any) -> Event:
    source = sources.installed().get(name)
    if source is None:
        raise ValueError(
            f"the source {name} is not installed (it comes with audit-event-generator); "
            f"installed sources: {', '.join(sources.installed())}"
        )
    found = list(source(_body(name, record)))
    if len(found) != 1:
        raise ValueError(f"the record is {len(found)} events of {name}; a test needs exactly one")
    if isinstance(found[0], Fault):
        raise ValueError(f"the record is not valid for {name}: {found[0].what}")  # noqa: TRY004
    return found[0]


def _body(name: str, record: Any) -> bytes:
    if isinstance(record, list) and all(isinstance(line, str) for line in record):
        return "\n".join(_LINE.sub(_AUDIT, line) for line in record).encode()
    if not isinstance(record, dict):
        raise ValueError("`record` must be a mapping, or a list of lines")  # noqa: TRY004
    complete = _merged(_source_defaults().get(name, {}), record)
    return msgspec.json.encode({_WRAPPED[name]: [complete]} if name in _WRAPPED else complete)


def _merged(base: Mapping[str, Any], override: Mapping[str, Any]) -> dict[str, Any]:
    """Merge mappings at every depth. Other values of ``override`` replace those of ``base``."""
    merged = dict(base)
    for key, value in override.items():
        known = merged.get(key)
        if isinstance(known, dict) and isinstance(value, dict):
            merged[key] = _merged(known, value)
        else:
            merged[key] = value
    return merged


@cache
def _source_defaults() -> dict[str, dict[str, Any]]:
    """The fields that every record of a source has."""
    text = (files("audit_analysis.ruletools") / "ruletest.yaml").read_text("utf-8")
    loaded: dict[str, dict[str, Any]] = yaml.safe_load(text)
    return loaded


def _fires(findings: Sequence[Finding]) -> dict[str, int]:
    return dict(Counter(found.rule.title for found in findings))


def _counts(fires: Mapping[str, int]) -> str:
    return ", ".join(f"{title} x{number}" for title, number in fires.items()) or "nothing"
