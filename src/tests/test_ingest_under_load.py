"""Sixteen clients at once: every 202 has its event in the queue, and nobody waits over a second."""

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


def test_sixteen_clients_for_ten_seconds(platform: Platform) -> None:
    # Given that nobody takes events from the queue
    platform.analysis.stop()
    end = time.monotonic() + SECONDS
    slowest: list[float] = []

    def post(client_number: int) -> list[str]:
        accepted: list[str] = []
        longest = 0.0
        with platform.ingest() as client:
            for number in count():
                if time.monotonic() > end:
                    break
                began = time.monotonic()
                answer: httpx.Response = client.post(
                    "/generate_event",
                    json={"event_type": "load", "event_id": f"{client_number}-{number}"},
                )
                longest = max(longest, time.monotonic() - began)
                assert answer.status_code == 202, answer.text
                accepted.append(answer.json()["event_id"])
        slowest.append(longest)
        return accepted

    # when sixteen clients post as fast as they can
    with ThreadPoolExecutor(CLIENTS) as pool:
        accepted = {name for names in pool.map(post, range(CLIENTS)) for name in names}
    # then the queue holds exactly what was accepted
    with platform.broker() as channel:
        stored = waiting(channel, "audit_events")
        found = set()
        for method, _, body in channel.consume("audit_events", auto_ack=True):
            found.add(msgspec.json.decode(body)["event_id"])
            if method.delivery_tag == stored:
                break
    assert stored == len(accepted)
    assert found == accepted
    assert max(slowest) < DEADLINE, f"the slowest of {len(accepted)} took {max(slowest):.2f} s"
