"""Ends the servers of a test run that was itself killed.

It waits for its input to close, which happens when the test run ends in whatever way.
"""

import os
import sys
from pathlib import Path

from auditflow_local.processes import end_recorded


def main() -> None:
    """Wait, then end what the records below the folder name that still runs."""
    folder = Path(sys.argv[1])
    sys.stdin.read()
    for parent, folders, files in os.walk(folder, followlinks=True):
        if "data" in folders:
            folders.remove("data")
        for name in files:
            if name.endswith(".process"):
                end_recorded(Path(parent, name))


if __name__ == "__main__":
    main()
