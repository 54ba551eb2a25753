"""Stops the servers of a test run that was killed.

It waits until its standard input is closed, which happens at any end of the test run.
"""

import os
import sys
from pathlib import Path

from auditflow_local.processes import stop_recorded


def main() -> None:
    """Wait, then stop the processes of all records below the folder."""
    folder = Path(sys.argv[1])
    sys.stdin.read()
    for parent, folders, files in os.walk(folder, followlinks=True):
        if "data" in folders:
            folders.remove("data")
        for name in files:
            if name.endswith(".process"):
                stop_recorded(Path(parent, name))


if __name__ == "__main__":
    main()
