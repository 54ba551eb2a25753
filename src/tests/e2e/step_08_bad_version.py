"""A version that never becomes ready: nobody is hurt, and the way back takes seconds.

It was synced in prod with step 5, and went on beside the steps since: it mostly waits.
"""

from __future__ import annotations

from lab.bad_version import WayBack
from lab.beside import Beside
from lab.progress import say


def test_a_bad_version_is_seen_survived_and_rolled_back(bad_version: Beside[WayBack]) -> None:
    # Given a bad version that prod was synced to, that hurt nobody, and from which a person went back
    way = bad_version.result()
    say(f"rolled back in {way.seconds:.1f} s")

    # Then prod was well, and Argo CD showed that git still said otherwise, until the revert
    assert way.sync == "OutOfSync"
