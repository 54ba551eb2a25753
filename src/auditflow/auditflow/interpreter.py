"""Tuning of the Python interpreter for services that handle many objects per second."""

import gc
import sys
from typing import Final

#: Number of new objects between two runs of the garbage collector (Python's default: 700).
NEW_OBJECTS: Final = 20_000
#: Maximum time that a thread runs while another thread is ready (Python's default: 0.005 s).
SWITCH_SECONDS: Final = 0.0002


def shorten_switch_interval() -> None:
    """Let a thread whose server has answered run soon, because other work waits for it."""
    sys.setswitchinterval(SWITCH_SECONDS)


def tune_garbage_collector() -> None:
    """Run the garbage collector less often, and let it skip all objects that exist now.

    Call it when the modules are imported, and again after large objects that live as long as the
    process, for example rules. Otherwise, the collector visits the objects of each batch several
    times while they are in use. Objects without cycles are freed at once, as before.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(NEW_OBJECTS)
