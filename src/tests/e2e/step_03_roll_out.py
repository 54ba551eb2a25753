"""A commit in dev becomes new pods, without a failed request."""

from __future__ import annotations

import contextlib
import time

import psycopg2

from gitops.layout import SERVICES
from lab import events
from lab.bootstrap import Delivery
from lab.environment import Environment
from lab.progress import info
from lab.releases import Version
from lab.waiting import until

#: From the commit to ready pods: under a minute on two idle cores. The figures are for people.
_PATIENCE = 600
_PREFIX = "roll-out"
_BASE_CHANGES = "notification-service"


def test_a_commit_rolls_out_and_loses_no_event(delivery: Delivery, dev: Environment) -> None:
    new = {service: delivery.releases[service, Version.NEXT].digest for service in SERVICES}
    elapsed: dict[str, float] = {}

    # Given a source that posts events all the time
    with events.streaming(dev, _PREFIX) as stream:
        until(lambda: len(stream.accepted) > 5, "events flow", seconds=30)

        # When CI commits the new version of all four services, and a base changes
        delivery.annotate_base(_BASE_CHANGES, "2")
        start = time.monotonic()
        delivery.pin("dev", Version.NEXT)
        commit = delivery.deliver("dev: e2e-2", *dev.services.values())

        # Then each is served by new pods, and at every moment by some pod
        def rolled_out() -> bool:
            for service in SERVICES:
                assert dev.ready_images(service), f"nobody serves {service}"
                if service not in elapsed and dev.runs(service, new[service]):
                    elapsed[service] = time.monotonic() - start
            return elapsed.keys() == set(SERVICES)

        _wait(rolled_out, seconds=_PATIENCE)
        for service in SERVICES:
            delivery.wait_for(dev.services[service], commit)
    info(", ".join(f"{service} {seconds:.0f} s" for service, seconds in elapsed.items()))
    info(f"{len(stream.accepted)} bursts accepted, {stream.refused} posts refused and repeated")

    # And every event that was accepted counts in exactly one alert
    expected = dict.fromkeys(stream.accepted, events.BURST)
    until(
        lambda: events.counts(dev.alerts(), _PREFIX) == expected,
        f"{len(expected)} alerts of {events.BURST} events each",
        seconds=120,
        every=1,
    )
    # And is in the archive, with the same number of events for each message
    until(lambda: _is_balanced(dev), "each accepted event is archived", seconds=120, every=1)


def _is_balanced(dev: Environment) -> bool:
    """Whether no accepted event is missing in the archive, and none differs.

    The synthetic stream of dev continues, so an event can be missing for a short time.
    """
    password = dev.secret("audit-event-archive")["PG_PASSWORD"]
    with dev.cluster.service(dev.namespace, "postgres-service", 5432) as address:
        host, _, port = address.rpartition(":")
        try:
            connection = psycopg2.connect(
                host=host,
                port=int(port),
                user="auditflow_archive",
                password=password,
                dbname="auditflow",
                sslmode="require",
            )
        except psycopg2.OperationalError as error:
            raise AssertionError(error) from None
        with contextlib.closing(connection), connection.cursor() as cursor:
            cursor.execute("SELECT sum(outstanding), sum(altered) FROM archive.ledger_blocks")
            row = cursor.fetchone()
    assert row == (0, 0), f"not archived and altered: {row}"
    return True


def _wait(rolled_out: object, *, seconds: float) -> None:
    # Here an AssertionError is a failure at once, and not a reason to ask again.
    assert callable(rolled_out)
    deadline = time.monotonic() + seconds
    while not rolled_out():
        assert time.monotonic() < deadline, f"the roll-out was not over within {seconds} s"
        time.sleep(0.2)
