"""The cost of a piece of work, as a ratio to a minimal piece of work in the same process.

The cost is the number of executed instructions, which does not depend on the load of the machine.
Valgrind's tool callgrind counts them, about 50 times slower than normal execution. Where Valgrind
or a C compiler is missing, the cost is CPU time.

A test calls ``run`` with the name of a module. The module calls ``ratio`` and prints the result.
"""

import ctypes
import gc
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Final, NamedTuple

from auditflow_local import cpu_cost
from auditflow_local.errors import LocalError

#: Number of rounds that are counted. The result is their median.
ROUNDS: Final = 3
#: Rounds before them, which fill caches.
WARM_UP: Final = 2
_SOURCE: Final = Path(__file__).with_name("instructions.c")
#: The library of ``instructions.c``, and the prefix of the files that callgrind writes.
_LIBRARY: Final = "AUDITFLOW_INSTRUCTIONS_LIBRARY"
_OUTPUT: Final = "AUDITFLOW_INSTRUCTIONS_OUTPUT"

Work = Callable[[], object]


class Cost(NamedTuple):
    """A ratio. ``counts_instructions`` is false if it is a ratio of CPU times."""

    ratio: float
    counts_instructions: bool


def counts_instructions() -> bool:
    """Whether this process runs under callgrind."""
    return _LIBRARY in os.environ


def ratio(work: Work, bare: Work, *, before_each: Work = cpu_cost.do_nothing) -> float:
    """The cost of ``work`` divided by that of ``bare``, in all threads of this process.

    ``before_each`` prepares a round and does not count.
    """
    if not counts_instructions():
        return cpu_cost.ratio(work, bare, before_each=before_each, clock=time.process_time)
    counter = _Counter()
    for _ in range(WARM_UP):
        before_each()
        work()
        bare()
    ratios = []
    for _ in range(ROUNDS):
        before_each()
        instructions = counter.count(work)
        ratios.append(instructions / counter.count(bare))
    return median(ratios)


def run(module: str, *arguments: str, seconds: float = 300) -> Cost:
    """Run a module that prints a ratio, under callgrind if possible.

    Raises:
        LocalError: the module failed. The text has the end of its output.
    """
    command = (sys.executable, "-m", module, *arguments)
    if any(shutil.which(program) is None for program in ("valgrind", "cc")):
        return Cost(float(_output(command, {}, seconds)), counts_instructions=False)
    with tempfile.TemporaryDirectory() as folder:
        library, output = f"{folder}/instructions.so", f"{folder}/callgrind"
        compile_command = (
            "cc",
            "-O1",
            "-shared",
            "-fPIC",
            "-nostdlib",
            "-o",
            library,
            str(_SOURCE),
        )
        _output(compile_command, {}, seconds)
        valgrind = (
            "valgrind",
            "--tool=callgrind",
            "--instr-atstart=no",
            f"--callgrind-out-file={output}",
            "--quiet",
        )
        # The same hashes in each run, so that dictionaries have the same collisions.
        variables = {_LIBRARY: library, _OUTPUT: output, "PYTHONHASHSEED": "0"}
        text = _output((*valgrind, *command), variables, seconds)
    return Cost(float(text), counts_instructions=True)


class _Counter:
    """Counts instructions of this process, which runs under callgrind."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL(os.environ[_LIBRARY])
        self._output = os.environ[_OUTPUT]
        self._number = 0
        if not self._library.is_counting():
            raise LocalError("this process does not run under callgrind")

    def count(self, work: Work) -> int:
        gc.collect()  # so that each round begins with the same state of the collector
        self._library.start()
        try:
            work()
        finally:
            self._library.stop()
        self._number += 1
        dump = Path(f"{self._output}.{self._number}")
        found = re.search(r"^totals: (\d+)", dump.read_text(), re.MULTILINE)
        if found is None:
            raise LocalError("callgrind wrote no total")
        return int(found[1])


def _output(command: Sequence[str], variables: dict[str, str], seconds: float) -> str:
    finished = subprocess.run(
        command,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds,
    )
    if finished.returncode:
        raise LocalError(f"{' '.join(command)}: {finished.stderr[-4000:]}")
    return finished.stdout
