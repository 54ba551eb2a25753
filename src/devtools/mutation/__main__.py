"""Check a sample of mutations of the core modules against their unit tests."""

import argparse
import datetime
import itertools
import random
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from queue import SimpleQueue
from typing import Final

from src.devtools.mutation import configuration, operators
from src.devtools.mutation.operators import Mutation
from src.devtools.mutation.run import MutationResult, Runner, Target

#: The share of mutations that the tests must kill. Accepted survivors do not count.
MINIMUM: Final = 0.9
#: The number of mutations that a run must check, if there are as many. Otherwise it fails.
REQUIRED: Final = 40
#: On a slow machine, the run continues up to this multiple of its time limit to check them.
MAX_EXTENSION: Final = 8


def sample(
    targets: Sequence[Target], seed: str, modules: int | None = None
) -> Iterator[tuple[Target, Mutation]]:
    """The mutations of some modules in an order that the seed determines, in turn one of each."""
    generator = random.Random(seed)  # noqa: S311 -- a sample, not a secret
    if modules is not None and modules < len(targets):
        targets = generator.sample(targets, modules)
    accepted = configuration.survivors()
    queues = []
    for target in targets:
        mutations = [
            mutation
            for mutation in operators.mutations(target.source)
            if not configuration.is_accepted(accepted, target.module, mutation)
        ]
        generator.shuffle(mutations)
        queues.append((target, mutations))
    generator.shuffle(queues)
    while queues:
        for target, mutations in list(queues):
            if mutations:
                yield target, mutations.pop()
            else:
                queues.remove((target, mutations))


def main(arguments: Sequence[str] | None = None) -> int:
    """Check mutations, print the survivors and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m src.devtools.mutation", description=__doc__)
    parser.add_argument(
        "--seed",
        default=datetime.datetime.now(datetime.UTC).date().isoformat(),
        help="any text; the same seed gives the same sample (default: today's date)",
    )
    parser.add_argument("--count", type=int, default=200, help="mutations to check (default: 200)")
    parser.add_argument("--modules", type=int, help="modules to check (default: all)")
    parser.add_argument(
        "--seconds",
        type=float,
        default=120,
        help="start no mutation after this time, except the required number (default: 120)",
    )
    parser.add_argument("--module", help="only modules whose path contains this text")
    parser.add_argument("--jobs", type=int, default=2, help="parallel test runs (default: 2)")
    options = parser.parse_args(arguments)

    targets = [
        target for target in configuration.targets() if (options.module or "") in target.module
    ]
    chosen = list(itertools.islice(sample(targets, options.seed, options.modules), options.count))
    used = {target.module: target for target, _ in chosen}
    sys.stdout.write(f"seed {options.seed}, {len(chosen)} mutations of {len(used)} modules\n")
    start = time.monotonic()
    required = min(REQUIRED, len(chosen))

    with ExitStack() as stack:
        runners: SimpleQueue[Runner] = SimpleQueue()
        for _ in range(options.jobs):
            runners.put(stack.enter_context(Runner()))
        pool = stack.enter_context(ThreadPoolExecutor(options.jobs))

        def baseline(target: Target) -> float:
            with _borrowed(runners) as runner:
                return runner.baseline_seconds(target)

        def check(number: int, pair: tuple[Target, Mutation]) -> MutationResult | None:
            extension = MAX_EXTENSION if number < required else 1
            if time.monotonic() > start + options.seconds * extension:
                return None
            target, mutation = pair
            with _borrowed(runners) as runner:
                outcome = runner.check(target, mutation, baseline=baselines[target.module])
            sys.stdout.write("." if outcome is MutationResult.KILLED else "S")
            sys.stdout.flush()
            return outcome

        baselines = dict(zip(used, pool.map(baseline, used.values()), strict=True))
        outcomes = list(pool.map(check, itertools.count(), chosen))
    return report(chosen, outcomes)


@contextmanager
def _borrowed(runners: "SimpleQueue[Runner]") -> Iterator[Runner]:
    runner = runners.get()
    try:
        yield runner
    finally:
        runners.put(runner)


def report(
    chosen: Sequence[tuple[Target, Mutation]], outcomes: Sequence[MutationResult | None]
) -> int:
    """Print the result. Returns 1 if too many mutations survived or too few were checked, else 0.

    An outcome is None if the time ended before the mutation was checked.
    """
    checked = [outcome for outcome in outcomes if outcome]
    for (target, mutation), outcome in zip(chosen, outcomes, strict=True):
        if outcome is MutationResult.SURVIVED:
            sys.stdout.write(
                f"\n{target.module}:{mutation.line} survived {', '.join(target.tests)}\n"
                f"    {mutation.code}\n"
                f"  - {mutation.original}\n  + {mutation.replacement}\n"
            )
    killed = checked.count(MutationResult.KILLED)
    share = killed / len(checked) if checked else 1.0
    sys.stdout.write(
        f"\n{killed} of {len(checked)} mutations killed ({share:.1%}, minimum {MINIMUM:.0%})\n"
    )
    if killed < len(checked):
        sys.stdout.write(
            "Write a test for each survivor. If no test can detect it, add it with the reason to"
            " src/devtools/mutation/survivors.toml.\n"
        )
    required = min(REQUIRED, len(chosen))
    if len(checked) < required:
        sys.stdout.write(
            f"Only {len(checked)} mutations were checked, and {required} are required. Increase"
            " --seconds or use a faster machine.\n"
        )
    return 1 if share < MINIMUM or len(checked) < required else 0


if __name__ == "__main__":
    sys.exit(main())
