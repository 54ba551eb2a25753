"""Sixteen clients at once: each 202 has its event in the queue, and no client waits over a second."""

import time
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import httpx
import msgspec

from .platform import Platform, waiting

CLIENTS = 16
SECONDS = 10.0
#: The service's own deadline. A client beyond it has been forgotten, not merely served slowly.
DEADLINE = 1.0
#: The machine may have stood still for others once, and even twice; a client that is forgotten is
#: so each time.
TIMES = 3


def test_sixteen_clients_for_ten_seconds(platform: Platform) -> None:
    # Given that nobody takes events from the queue
    platform.analysis.stop()
    slowest = []
    for turn in range(TIMES):
        # when sixteen clients post as fast as they can
        end = time.monotonic() + SECONDS
        with ThreadPoolExecutor(CLIENTS) as pool:
            clients = [
                pool.submit(_post, platform, f"{turn}-{number}", end) for number in range(CLIENTS)
            ]
            posted = [client.result() for client in clients]
        # then the queue holds exactly what was accepted
        accepted = {name for names, _ in posted for name in names}
        assert _taken(platform) == accepted
        # and nobody waited
        slowest.append(max(longest for _, longest in posted))
        if slowest[-1] < DEADLINE:
            return
    raise AssertionError(f"each time some client waited too long: {slowest} seconds")


def _post(platform: Platform, client_number: str, end: float) -> tuple[list[str], float]:
    """The ids that were accepted until ``end``, and the seconds that the slowest request took."""
    accepted: list[str] = []
    longest = 0.0
    with platform.ingest() as client:
        for number in count():
            began = time.monotonic()
            if began > end:
                break
            answer: httpx.Response = client.post(
                "/generate_event",
                json={"event_type": "load", "event_id": f"{client_number}-{number}"},
            )
            longest = max(longest, time.monotonic() - began)
            assert answer.status_code == 202, answer.text
            accepted.append(answer.json()["event_id"])
    return accepted, longest


def _taken(platform: Platform) -> set[str]:
    """The ids of all events in the queue, which is empty afterwards. Fails if one is there twice."""
    with platform.broker() as channel:
        stored = waiting(channel, "audit_events")
        found = set()
        for method, _, body in channel.consume("audit_events", auto_ack=True):
            found.add(msgspec.json.decode(body)["event_id"])
            if method.delivery_tag == stored:
                break
        channel.cancel()
    assert stored == len(found)
    return found
