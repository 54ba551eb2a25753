"""Compare the matching with rsigma, a fast engine for Sigma, on the same rules and events.

Both are measured in CPU seconds on one core, without the time to read the rules.
"""

import json
import resource
import shutil
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from audit_analysis.sigma.fields import View
from audit_analysis.sigma.load import load
from audit_analysis.sigma.rule import RuleSet
from auditflow.contract import event

from . import process_creation

#: As many as the public set has about process creation.
RULES: Final = 1400
#: What a rule found in how many events, by its title.
Found = Counter[str]


def program() -> str | None:
    """The path of rsigma, or None. To install it: cargo install rsigma@0.23.0 --locked."""
    return shutil.which("rsigma")


def measure(*, events: int, rounds: int) -> dict[str, dict[str, float]]:
    """Events a second by stream (every value new; values that repeat), the best of some rounds.

    Raises:
        AssertionError: the two do not find the same.
    """
    results: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "rules"
        folder.mkdir()
        process_creation.write_rules(folder, RULES)
        rules = load([folder], lateness=0)
        for name, fresh in (("every value new", True), ("values repeat", False)):
            records = list(process_creation.events(events, fresh=fresh))
            best = {"rsigma": 0.0, "AuditFlow": 0.0}
            for _ in range(rounds):
                rsigma_result = _rsigma(folder, records) if program() else None
                ours = _ours(rules, folder, records)
                best["AuditFlow"] = max(best["AuditFlow"], ours[0])
                if rsigma_result is not None:
                    best["rsigma"] = max(best["rsigma"], rsigma_result[0])
                    assert rsigma_result[1] == ours[1], (
                        rsigma_result[1] - ours[1],
                        ours[1] - rsigma_result[1],
                    )
            results[name] = best if program() else {"AuditFlow": best["AuditFlow"]}
    return results


def _ours(rules: RuleSet, folder: Path, records: Sequence[dict[str, Any]]) -> tuple[float, Found]:
    bodies = [
        msgspec.json.encode(
            {
                "event_id": str(number),
                "timestamp": "2026-01-01T00:00:00Z",
                "event_type": "process_creation",
                "logsource": {"product": "windows", "category": "process_creation"},
                "record": record,
            }
        )
        for number, record in enumerate(records)
    ]
    fresh = load([folder], lateness=0)  # what the last round remembered is not to help this one
    found: Found = Counter()
    began = time.process_time()
    for body in bodies:
        for detector in fresh.match(View(event.decode(body))):
            found[detector.rule.ref.title] += 1
    return len(records) / (time.process_time() - began), found


def _rsigma(folder: Path, records: Sequence[dict[str, Any]]) -> tuple[float, Found]:
    start, _ = _run(folder, records[:1])
    seconds, found = _run(folder, records)
    return len(records) / (seconds - start), found


def _run(folder: Path, records: Sequence[dict[str, Any]]) -> tuple[float, Found]:
    """Seconds of CPU, and what was found."""
    path = folder.parent / "events.ndjson"
    path.write_bytes(b"\n".join(map(msgspec.json.encode, records)) + b"\n")
    before = _cpu_of_children()
    done = subprocess.run(
        [str(program()), "engine", "eval", "-r", str(folder), "-e", f"@{path}",
         "--output-format", "ndjson", "--quiet"],
        capture_output=True, check=True,
    )  # fmt: skip
    found = Counter(json.loads(line)["rule_title"] for line in done.stdout.splitlines() if line)
    return _cpu_of_children() - before, found


def _cpu_of_children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
