"""Matching alone: events per second of one core, with few rules and with thousands."""

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import audit_analysis
from audit_analysis.sigma.fields import View
from audit_analysis.sigma.load import load
from audit_analysis.sigma.rule import RuleSet
from auditflow.contract import event

from . import corpus, many_rules

_PACK = Path(audit_analysis.__file__).parent / "rules"


def rules_of(number: int) -> RuleSet:
    """Our own pack, filled up to ``number`` rules."""
    pack = load([_PACK], lateness=900_000)
    with tempfile.TemporaryDirectory() as folder:
        many_rules.write(Path(folder), max(0, number - len(pack.rules)))
        return load([_PACK, Path(folder)], lateness=900_000)


def rate(rules: RuleSet, bodies: Sequence[bytes]) -> float:
    """Events a second of CPU: decode, and find the rules that match."""
    began = time.process_time()
    for body in bodies:
        for _ in rules.match(View(event.decode(body))):
            pass
    return len(bodies) / (time.process_time() - began)


def measure(*, events: int, rounds: int) -> dict[str, float]:
    """The best of some rounds, in turns: 60 rules, 3,000 rules, and decoding alone."""
    bodies = corpus.bodies(events)
    few, many = rules_of(60), rules_of(3000)
    best = {"decode only": 0.0, "60 rules": 0.0, "3,000 rules": 0.0}
    for _ in range(rounds):
        began = time.process_time()
        for body in bodies:
            event.decode(body)
        best["decode only"] = max(best["decode only"], events / (time.process_time() - began))
        best["60 rules"] = max(best["60 rules"], rate(few, bodies))
        best["3,000 rules"] = max(best["3,000 rules"], rate(many, bodies))
    return best
