"""Time from the acceptance of an event to the first search that finds it.

``python -m src.tests.bench.searchable --events 50`` starts the platform with its default settings. Each
event is posted to the ingest; then the API of the archive is searched until it has the event.
"""

import statistics
import time

import click
import httpx

from .environment import Platform, platform, use_two_cores


def measure(running: Platform, number: int) -> list[float]:
    """Seconds from the answer 202 to the search that found the event, for each event."""
    found = []
    ingest = {"Authorization": f"Bearer {running.secrets['INGEST_TOKEN']}"}
    reader = {"Authorization": f"Bearer {running.secrets['API_TOKEN']}"}
    with (
        httpx.Client(base_url=running.generator.url, headers=ingest, trust_env=False) as sender,
        httpx.Client(base_url=running.archive.url, headers=reader, trust_env=False) as archive,
    ):
        for index in range(number):
            user = f"searched-{index}"
            event = {"event_type": "user_login", "user_id": user, "server_hostname": "web-01"}
            sender.post("/generate_event", json=event).raise_for_status()
            accepted = time.perf_counter()
            query = {"user": user}
            while (
                not archive.get("/api/v1/events", params=query).raise_for_status().json()["events"]
            ):
                time.sleep(0.01)
            found.append(time.perf_counter() - accepted)
    return found


@click.command()
@click.option("--events", default=50, show_default=True)
def main(events: int) -> None:
    """Print the median and the maximum."""
    use_two_cores()
    with platform() as running:
        measure(running, 5)  # the first requests open connections
        durations = measure(running, events)
    click.echo(
        f"searchable after acceptance: median {statistics.median(durations) * 1000:.0f} ms,"
        f" maximum {max(durations) * 1000:.0f} ms ({events} events)"
    )


if __name__ == "__main__":
    main()
