"""An event becomes an alert, through real pods and the DNS names of the cluster."""

from __future__ import annotations

import contextlib
import socket
import ssl
import uuid
from typing import Any

import httpx
import psycopg2
import pytest

from gitops.layout import SERVICES
from lab import events, pages
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


@pytest.mark.usefixtures("all_steps")
def test_commands_of_the_onboarding_page_lead_to_the_first_alert(dev: Environment) -> None:
    page = "docs/how-to/fork-to-first-alert.md"

    # Given the password that the page prints
    (print_password,) = pages.commands(page, "## 5. First sign-in")
    printed = pages.run(dev.cluster, print_password)
    assert printed.strip() == dev.secret("event-audit-dashboard")["DASHBOARD_PASSWORD"]

    # When the first event of a host is posted as on the page
    post, _ = pages.commands(page, "## 6. First event of a real host")
    user = f"user-{uuid.uuid4().hex[:6]}"
    # The registry of the lab uses the port 5000 of this machine.
    post = post.replace("5000:5000", "15000:5000").replace("localhost:5000", "localhost:15000")
    pages.run(dev.cluster, f"trap 'kill $!' EXIT\n{post}", env={"USER": user})

    # Then the dashboard shows the alert of the page
    def shown() -> bool:
        found = [alert for alert in dev.alerts() if alert["actor"] == user]
        assert [alert["rule"]["title"] for alert in found] == ["Sensitive file changed"]
        return found[0]["server_hostname"] == socket.gethostname()

    until(shown, "the alert of the first event", seconds=60)


def test_the_archive_finds_the_event_and_the_dashboard_shows_it(dev: Environment) -> None:
    # Given the event of the first test
    actor = "mallory-of-step-2"

    # Then a search with a token of the notification service finds it, over TLS
    def found() -> list[Any]:
        with dev.archive() as client:
            try:
                answer = client.get("/api/v1/events", params={"user": actor})
            except httpx.TransportError as error:
                raise AssertionError(error) from None
        assert answer.status_code == httpx.codes.OK, answer.text
        listed: list[Any] = answer.json()["events"]
        return listed

    (event, *_) = until(found, "the archive finds the event", seconds=60)
    assert event["event_type"] == "file_modified"
    with dev.archive() as client:
        refused = client.get("/api/v1/events", headers={"Authorization": "Bearer wrong"})
    assert refused.status_code == httpx.codes.UNAUTHORIZED

    # And the dashboard shows it, and the rules of the analysis
    with dev.dashboard() as browser:
        for path, text in (
            (f"/events?user={actor}", event["event_id"]),
            ("/rules", "Burst of failed logins"),
        ):

            def shown(path: str = path, text: str = text) -> bool:
                answer = browser.get(path)
                assert answer.status_code == httpx.codes.OK, f"{path}: {answer.status_code}"
                return text in answer.text

            until(shown, f"{path} shows {text}", seconds=30)


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


def test_servers_accept_only_tls_with_a_certificate_of_the_environment(
    dev: Environment, staging: Environment
) -> None:
    for name, port in (
        ("rabbitmq-service", 5671),
        ("redis-service", 6379),
        ("audit-event-archive-service", 5003),
        ("audit-event-generator-service", 5443),
        ("audit-log-analysis-service", 5001),
        ("notification-service", 8000),
    ):
        with dev.cluster.service(dev.namespace, name, port) as address:
            host, _, number = address.rpartition(":")
            # A TLS server answers with an alert or closes the connection.
            with (
                contextlib.suppress(ConnectionResetError),
                socket.create_connection((host, int(number)), timeout=10) as plain,
            ):
                plain.sendall(b"PING\r\n\r\n")
                assert not plain.recv(1024).startswith((b"+", b"-", b"AMQP", b"HTTP")), name
            _shake_hands(address, name, dev.trust())
            with pytest.raises(ssl.SSLCertVerificationError):
                _shake_hands(address, name, staging.trust())
    # PostgreSQL refuses a session without TLS before it checks the password.
    password = dev.secret("notification-service")["PG_PASSWORD"]
    with dev.cluster.service(dev.namespace, "postgres-service", 5432) as address:
        host, _, number = address.rpartition(":")
        login: dict[str, Any] = {
            "host": host,
            "port": int(number),
            "user": "auditflow_app",
            "password": password,
            "dbname": "auditflow",
        }
        with pytest.raises(psycopg2.OperationalError, match="no encryption"):
            psycopg2.connect(**login, sslmode="disable")
        psycopg2.connect(**login, sslmode="require").close()


def _shake_hands(address: str, name: str, trust: ssl.SSLContext) -> None:
    host, _, port = address.rpartition(":")
    with (
        socket.create_connection((host, int(port)), timeout=10) as connection,
        trust.wrap_socket(connection, server_hostname=name),
    ):
        pass


def test_a_renewed_certificate_is_used(dev: Environment) -> None:
    # Given a certificate that has to be created again
    space = f"--namespace={dev.namespace}"
    kubectl = dev.cluster.kubectl
    before = dev.secret("redis-tls")["tls.crt"]
    kubectl("delete", "secret", "redis-tls", space)

    # When the CronJob runs
    kubectl("delete", "job", "certificates-now", "--ignore-not-found", space)
    kubectl("create", "job", "certificates-now", "--from=cronjob/certificates", space)
    kubectl("wait", "--for=condition=complete", "job/certificates-now", "--timeout=120s", space)

    # Then Redis runs with the new certificate, and the analysis connects to it
    renewed = dev.secret("redis-tls")["tls.crt"]
    assert renewed != before

    def served() -> bool:
        with dev.cluster.service(dev.namespace, "redis-service", 6379) as address:
            host, _, port = address.rpartition(":")
            try:
                certificate = ssl.get_server_certificate((host, int(port)))
            except OSError as error:  # it restarts
                raise AssertionError(error) from None
            return certificate.strip() == renewed.strip()

    until(served, "Redis serves the renewed certificate", seconds=90)
    actor = f"mallory-{uuid.uuid4().hex[:6]}"
    with dev.generator() as client:
        client.post("/generate_event", json=events.file_change(actor)).raise_for_status()
    until(
        lambda: events.counts(dev.alerts(), actor) == {actor: 1},
        "an alert after the renewal",
        seconds=90,
    )
    # The analysis was not ready while Redis restarted; the next step needs every service.
    until(
        lambda: all(dev.ready_images(service) for service in SERVICES),
        "every service is ready again",
        seconds=90,
    )
