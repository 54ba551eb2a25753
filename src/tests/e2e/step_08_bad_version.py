"""A version that never becomes ready causes no failed request, and the rollback takes seconds.

The sync in prod begins with step 5 and runs in the background, because it mostly waits.
"""

from __future__ import annotations

from lab.background import BackgroundTask
from lab.bad_version import Rollback
from lab.progress import info


def test_a_bad_version_is_seen_survived_and_rolled_back(
    bad_version: BackgroundTask[Rollback],
) -> None:
    # Given a bad version that prod was synced to, that hurt nobody, and from which a person went back
    way = bad_version.result()
    info(f"rolled back in {way.seconds:.1f} s")

    # Then prod was well, and Argo CD showed that git still said otherwise, until the revert
    assert way.sync == "OutOfSync"
