"""The tests that stand beside the rules: timed events, and what must fire.

defaults: {event_type: user_login, action_result: FAILURE}
tests:
  - name: what it shows
    events:
      - {at: 0, user_id: alice}       # seconds after the start; the order is that of arrival
      - {at: 1, times: 10}            # ten events at that time
    fires: {Burst of failed logins: 1}  # findings by the title of their rule; no others
"""

import datetime as dt
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import yaml
from msgspec import Struct
from prometheus_client import CollectorRegistry

from audit_analysis.metrics import Metrics
from audit_analysis.pipeline import Pipeline
from audit_analysis.sigma.documents import TESTS
from audit_analysis.sigma.rule import RuleSet
from audit_analysis.windows.memory import MemoryWindows
from auditflow import finding
from auditflow.amqp import Delivery, Message

_START: Final = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
#: Later than any event of a test, so that none is ahead of its time.
_NOW: Final = _START + dt.timedelta(days=365)


class RuleTest(Struct, frozen=True):
    """One test of a file."""

    path: Path
    name: str
    events: tuple[bytes, ...]
    fires: dict[str, int]

    def run(self, rules: RuleSet) -> dict[str, int]:
        """How many findings each rule made of the events."""
        published: list[Message] = []
        pipeline = Pipeline(
            rules,
            MemoryWindows(),
            published.extend,
            environment="test",
            metrics=Metrics(CollectorRegistry()),
            now=lambda: _NOW,
        )
        for number, body in enumerate(self.events):
            dead = pipeline([Delivery(body, number, False, None, None, {})])
            if dead:
                raise ValueError(f"{self.path}: {self.name}: {dead[0].reason}")
        versions = (finding.decode(message.body, now=_NOW) for message in published)
        merged = finding.merge_all(versions).values()
        return dict(Counter(one.rule.title for one in merged))


def collect(places: Iterable[Path]) -> list[RuleTest]:
    """All tests in files named ``*.test.yml`` at these places."""
    found: set[Path] = set()
    for place in places:
        found |= set(place.rglob(f"*{TESTS}")) if place.is_dir() else {place}
    return [test for path in sorted(found) for test in _read(path)]


def _read(path: Path) -> Iterator[RuleTest]:
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    defaults = content.get("defaults", {})
    for test in content["tests"]:
        events = _events(defaults, test["events"])
        yield RuleTest(path, test["name"], tuple(events), test["fires"])


def _events(defaults: dict[str, Any], said: Sequence[dict[str, Any]]) -> Iterator[bytes]:
    number = 0
    for one in said:
        fields = {**defaults, **one}
        at, times = fields.pop("at"), fields.pop("times", 1)
        moment = (_START + dt.timedelta(seconds=at)).isoformat()
        for _ in range(times):
            number += 1
            yield msgspec.json.encode({"event_id": f"e{number}", "timestamp": moment, **fields})
