"""Command line of the lab: ``python -m lab build | up | down``."""

from __future__ import annotations

import os
import sys

from . import builders, cluster, releases


def main(words: list[str]) -> int:
    """Build what the tests need, start a cluster and leave it running, or stop that cluster."""
    match words:
        case ["build"]:
            cluster.prepare()
            builder = builders.StandAlone()
            releases.build(builder)
            builder.remove_old_layers()
        case ["up"]:
            cluster.prepare()
            os.environ[cluster.KEEP] = "1"
            with cluster.created():
                pass
        case ["down"]:
            cluster.stop()
        case _:
            sys.stderr.write("usage: python -m lab build | up | down\n")
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
