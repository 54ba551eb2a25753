"""The literal index beside re2.Filter: ``python -m src.tests.bench.literal_index``.

It prints the CPU time per text (microseconds) to find the literals of rules in command lines. The
decision is in docs/adr/0017-literal-index.md.
"""

import random
import string
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import re2
from ahocorasick_rs import AhoCorasick

_ROUNDS: Final = 5
_TEXTS: Final = 5_000


def literals(number: int, generator: random.Random) -> list[str]:
    """Literals such as ``zkqw -abcd``, sorted."""
    found: set[str] = set()
    while len(found) < number:
        found.add(generator.choice(("/", " -", "\\", ".exe ", "=")).join(_words(2, generator)))
    return sorted(found)


def texts(contained: Sequence[str], generator: random.Random) -> list[str]:
    """Command lines in lower case. One in a hundred contains a literal."""
    return [
        " ".join([*_words(8, generator), *([generator.choice(contained)] if n % 100 == 0 else [])])
        for n in range(_TEXTS)
    ]


def measure(number: int) -> dict[str, float]:
    """CPU time per text, in microseconds, by method."""
    generator = random.Random(1)
    contained = literals(number, generator)
    commands = texts(contained, generator)
    automaton = AhoCorasick(contained)
    re2_filter = re2.Filter()
    for literal in contained:
        re2_filter.Add(re2.escape(literal))
    re2_filter.Compile()

    def by_automaton(text: str) -> list[int]:
        matches = automaton.find_matches_as_indexes(text, overlapping=True)
        return sorted({index for index, _, _ in matches}) if matches else []

    def by_filter(text: str) -> list[int]:
        return sorted(re2_filter.Match(text) or [])

    assert list(map(by_automaton, commands)) == list(map(by_filter, commands))
    return {
        "Aho-Corasick": _microseconds(by_automaton, commands),
        "re2.Filter": _microseconds(by_filter, commands),
        "re2.Filter, unverified": _microseconds(
            lambda text: re2_filter.Match(text, True), commands
        ),
    }


def _microseconds(function: Callable[[str], Any], commands: Sequence[str]) -> float:
    durations = []
    for _ in range(_ROUNDS):
        start = time.process_time()
        for command in commands:
            function(command)
        durations.append(time.process_time() - start)
    return min(durations) / len(commands) * 1e6


def _words(number: int, generator: random.Random) -> list[str]:
    return [
        "".join(generator.choices(string.ascii_lowercase, k=generator.randint(3, 9)))
        for _ in range(number)
    ]


if __name__ == "__main__":
    for count in (100, 3_000):
        for method, duration in measure(count).items():
            sys.stdout.write(f"{count:>6} literals  {method:<24} {duration:.2f} us per text\n")
