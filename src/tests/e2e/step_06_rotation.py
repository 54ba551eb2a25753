"""Passwords are rotated by docs/how-to/rotate-secrets.md while events arrive."""

from __future__ import annotations

import uuid

import httpx
import pytest

from lab import argocd, events, visitors
from lab.bootstrap import Delivery
from lab.environment import Environment
from lab.errors import CommandFailed
from lab.kube import Object
from lab.progress import info
from lab.waiting import until

#: All consumers, in the order of their restarts: the dashboard sends the token of the API.
_CONSUMERS = (
    "audit-event-generator",
    "audit-log-analysis",
    "notification-service",
    "event-audit-dashboard",
)
#: The tokens that the clients of each service send.
_TOKENS = {"audit-event-generator": "INGEST_TOKEN", "notification-service": "API_TOKEN"}
_SERVERS = ("postgres", "rabbitmq", "redis", "redis-ha")
_REDIS_CLI = ("redis-cli", "--tls", "--cacert", "/run/secrets/tls/ca.crt")
#: In a cluster that was kept, the run before has alerts of its own.
_PREFIX = f"rotation-{uuid.uuid4().hex[:6]}"
#: The kubelet brings a changed Secret into a pod within two minutes.
_FILES_WITHIN = 240


def test_passwords_are_rotated_while_events_flow(delivery: Delivery, staging: Environment) -> None:
    kube, rotation = delivery.cluster.kube, _Rotation(delivery, staging)
    old = {name: staging.secret(name) for name in _CONSUMERS}

    # Given a source that posts events all the time, and a program that reads alerts
    with (
        events.streaming(staging, _PREFIX) as stream,
        staging.api() as program,
        visitors.asking(program, "/alerts?limit=1") as read,
    ):
        until(lambda: len(stream.accepted) > 5, "events flow", seconds=30)

        # When someone keeps the tokens that they have, deletes the Secrets, has the Job make them
        # anew, and tells the servers
        rotation.keep_tokens(old)
        rotation.regenerate()
        rotation.tell_postgres()
        rotation.tell_rabbitmq()
        rotation.tell_redis()
        *services, dashboard = _CONSUMERS
        rotation.restart(*services)
        rotation.restart(dashboard)
        so_far = len(stream.accepted)
        until(lambda: len(stream.accepted) > so_far + 5, "events flow again", seconds=60)
    info(
        f"{len(stream.accepted)} bursts accepted, {stream.refused} posts repeated; read: {dict(read)}"
    )

    # Then both went on with the tokens that they had
    assert set(read) == {httpx.codes.OK}
    with staging.dashboard() as browser:
        assert browser.get("/alerts").status_code == httpx.codes.OK
    # until the old ones are forgotten
    rotation.forget_tokens()
    rotation.restart(*_TOKENS)
    with staging.generator() as source, staging.api() as reader:
        assert source.post("/ingest/ndjson").status_code != httpx.codes.UNAUTHORIZED
        assert reader.get("/alerts").status_code == httpx.codes.OK
        for client, name in ((source, "audit-event-generator"), (reader, "notification-service")):
            client.headers["Authorization"] = f"Bearer {old[name][_TOKENS[name]]}"
        assert source.post("/ingest/ndjson").status_code == httpx.codes.UNAUTHORIZED
        assert reader.get("/alerts").status_code == httpx.codes.UNAUTHORIZED

    # Then every value is another one, and the servers refuse the old ones
    for name, values in old.items():
        new = staging.secret(name)
        assert not set(new.values()) & set(values.values()), name
    rabbitmq = ("rabbitmq-0", "rabbitmqctl", "authenticate_user", "audit-log-analysis")
    redis = ("redis-0", *_REDIS_CLI, "--user", "audit-log-analysis", "--pass")
    with pytest.raises(CommandFailed):
        rotation.exec(*rabbitmq, old["audit-log-analysis"]["RABBITMQ_PASS"])
    assert "NOAUTH" in rotation.exec(*redis, old["audit-log-analysis"]["REDIS_PASSWORD"], "PING")
    with pytest.raises(CommandFailed):
        rotation.sign_in_to_postgres(old["notification-service"]["PG_PASSWORD"])
    rotation.sign_in_to_postgres(staging.secret("notification-service")["PG_PASSWORD"])

    # And every event that was accepted counts in exactly one alert
    expected = dict.fromkeys(stream.accepted, events.BURST)
    until(
        lambda: events.counts(staging.alerts(), _PREFIX) == expected,
        f"{len(expected)} alerts of {events.BURST} events each",
        seconds=180,
        every=1,
    )
    argocd.wait_until_healthy(
        kube,
        lambda name: name in staging.services.values(),
        "the services of staging are Synced and Healthy",
        seconds=120,
    )


class _Rotation:
    """The steps of the page, in its order."""

    def __init__(self, delivery: Delivery, environment: Environment) -> None:
        self._delivery = delivery
        self._environment = environment

    def kubectl(self, *words: str) -> str:
        space = f"--namespace={self._environment.namespace}"
        return self._delivery.cluster.kubectl(*words, space)

    def exec(self, pod: str, *words: str) -> str:
        space = f"--namespace={self._environment.namespace}"
        return self._delivery.cluster.kubectl("exec", pod, space, "--", *words)

    def keep_tokens(self, old: dict[str, dict[str, str]]) -> None:
        for service, token in _TOKENS.items():
            kept = f"--from-literal={token}={old[service][token]}"
            self.kubectl("create", "secret", "generic", f"{service}-before", kept)

    def forget_tokens(self) -> None:
        self.kubectl("delete", "secret", *(f"{service}-before" for service in _TOKENS))

    def restart(self, *services: str) -> None:
        for service in services:
            self.kubectl("rollout", "restart", f"deployment/{service}")
        for service in services:
            self.kubectl("rollout", "status", f"deployment/{service}", "--timeout=300s")
            # The last of before still answers those who have not heard that it leaves.
            self._until_left(service)

    def _until_left(self, service: str) -> None:
        until(
            lambda: not any(_leaves(pod) for pod in self._environment.pods(service)),
            f"the pods of before of {service} are gone",
            seconds=60,
        )

    def regenerate(self) -> None:
        self.kubectl("delete", "secret", *_CONSUMERS, *_SERVERS)
        self.kubectl("delete", "job", "secrets")
        argocd.refresh(self._delivery.cluster.kube, f"{self._environment.name}-secrets")
        # Not for the Job: Argo CD may make it a second time while one waits for the first.
        for name in (*_CONSUMERS, *_SERVERS):
            self.kubectl("wait", "--for=create", f"secret/{name}", "--timeout=360s")

    def tell_postgres(self) -> None:
        self._until_file("postgres", "auditflow_app")
        script = "/docker-entrypoint-initdb.d/roles.sql"
        self.exec("postgres-0", "psql", "-U", "postgres", "-d", "auditflow", "-f", script)

    def tell_rabbitmq(self) -> None:
        self._until_file("rabbitmq", "definitions.json")
        file = "/run/secrets/rabbitmq/definitions.json"
        self.exec("rabbitmq-0", "rabbitmqctl", "import_definitions", file)

    def tell_redis(self) -> None:
        (key,) = self._environment.secret("redis")
        self._until_file("redis", key)
        password = self._environment.secret("redis-people")["auditflow-admin"]
        output = self.exec(
            *("redis-0", *_REDIS_CLI, "--no-auth-warning"),
            *("--user", "auditflow-admin", "--pass", password, "ACL", "LOAD"),
        )
        assert output.strip() == "OK", output

    def sign_in_to_postgres(self, password: str) -> None:
        self.exec(
            *("postgres-0", "env", f"PGPASSWORD={password}"),
            *(
                "psql",
                "-h",
                "127.0.0.1",
                "-U",
                "auditflow_app",
                "-d",
                "auditflow",
                "-c",
                "SELECT 1",
            ),
        )

    def _until_file(self, server: str, key: str) -> None:
        wanted = self._environment.secret(server)[key].strip()
        until(
            lambda: (
                self.exec(f"{server}-0", "cat", f"/run/secrets/{server}/{key}").strip() == wanted
            ),
            f"the new {key} is in the pod of {server}",
            seconds=_FILES_WITHIN,
            every=2,
        )


def _leaves(pod: Object) -> bool:
    return "deletionTimestamp" in pod["metadata"]
