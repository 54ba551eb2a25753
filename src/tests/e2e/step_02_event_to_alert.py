"""An event becomes an alert, through real pods and the DNS names of the cluster."""

from __future__ import annotations

import httpx

from lab import events
from lab.environment import Environment
from lab.waiting import until


def test_an_event_posted_in_dev_is_an_alert_on_its_dashboard(dev: Environment) -> None:
    # Given someone who changes the password file
    actor = "mallory-of-step-2"

    # When the event is posted to the generator
    with dev.generator() as client:
        client.post("/generate_event", json=events.file_change(actor)).raise_for_status()

    # Then the dashboard shows an alert that names them, once
    until(
        lambda: events.counts(dev.alerts(), actor) == {actor: 1},
        "the notification service has the alert",
        seconds=60,
    )
    with dev.dashboard() as browser:
        page = until(
            lambda: browser.get("/alerts").raise_for_status().text,
            "the dashboard shows alerts",
            seconds=30,
        )
    assert actor in page


def test_a_service_does_not_serve_its_metrics_to_users(dev: Environment) -> None:
    # The port 9464 serves them, which no Service has.
    for client in (dev.generator, dev.api, dev.dashboard):
        with client() as user:
            answer = user.get("/metrics", follow_redirects=False)
            assert answer.status_code == httpx.codes.NOT_FOUND, user.base_url


def test_another_environment_does_not_see_it(dev: Environment, staging: Environment) -> None:
    # Given the alert in dev
    assert events.counts(dev.alerts(), "mallory-of-step-2")

    # Then staging, on the same cluster, has none of it
    assert not events.counts(staging.alerts(), "mallory-of-step-2")
