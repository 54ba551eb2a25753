"""Secrets that are absent are made, agree with each other, and are never changed."""

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditflow.provisioning.__main__ import complete, main
from auditflow.provisioning.catalogue import SECRETS, Document, Value
from auditflow.provisioning.kubernetes import Namespace
from auditflow.provisioning.plan import ProvisioningError, plan


def hashes_of(definitions: str) -> dict[str, bytes]:
    return {
        user["name"]: base64.b64decode(user["password_hash"])
        for user in json.loads(definitions)["users"]
    }


def agree(secrets: dict[str, dict[str, str]]) -> bool:
    """Whether every server knows the password that every client will show."""
    broker = hashes_of(secrets["rabbitmq"]["definitions.json"])
    for service in ("audit-event-generator", "audit-log-analysis", "notification-service"):
        salt, digest = broker[service][:4], broker[service][4:]
        shown = secrets[service]["RABBITMQ_PASS"].encode()
        if hashlib.sha256(salt + shown).digest() != digest:
            return False
    shown = secrets["audit-log-analysis"]["REDIS_PASSWORD"].encode()
    return (
        f"#{hashlib.sha256(shown).hexdigest()} " in secrets["redis"]["users.acl"]
        and secrets["notification-service"]["PG_PASSWORD"] == secrets["postgres"]["auditflow_app"]
        and secrets["notification-service-migrate"]["PG_PASSWORD"]
        == secrets["postgres"]["auditflow_owner"]
        and secrets["postgres-backup"]["PGPASSWORD"] == secrets["postgres"]["auditflow_reader"]
        and secrets["notification-service"]["API_TOKEN"]
        == secrets["event-audit-dashboard"]["API_TOKEN"]
    )


def test_an_empty_namespace_gets_all_secrets_and_they_agree() -> None:
    made = plan({})
    assert made.keys() == SECRETS.keys()
    assert agree(made)


def test_each_value_is_of_its_own_and_long() -> None:
    values = {v for s in plan({}).values() for k, v in s.items() if "." not in k}
    kinds = {c for s in SECRETS.values() for c in s.values() if isinstance(c, Value)}
    assert len(values) == len(kinds)
    assert all(re.fullmatch("[0-9a-f]{40}", value) for value in values)


def test_documents_hold_no_password() -> None:
    made = plan({})
    passwords = {v for s in made.values() for k, v in s.items() if "." not in k}
    documents = made["rabbitmq"]["definitions.json"] + made["redis"]["users.acl"]
    assert not any(password in documents for password in passwords)


def test_a_complete_namespace_is_left_alone() -> None:
    assert plan(plan({})) == {}


@given(st.sets(st.sampled_from(sorted(SECRETS))))
def test_whatever_was_deleted_comes_back_and_agrees_or_it_is_said_what_else_to_delete(
    deleted: set[str],
) -> None:
    everything = plan({})
    while True:
        existing = {name: data for name, data in everything.items() if name not in deleted}
        try:
            made = plan(existing)
            break
        except ProvisioningError as error:
            # When a person does what the text says ...
            told = re.search(r"Delete (\S+) too", str(error))
            assert told
            assert told[1] not in deleted
            deleted = deleted | {told[1]}
    # ... it ends well, and nothing that was there has changed.
    assert made.keys() == deleted
    assert agree(existing | made)


def test_it_may_be_stopped_after_any_secret_and_started_anew() -> None:
    order = list(plan({}).items())
    for stopped_after in range(len(order)):
        existing = dict(order[:stopped_after])
        assert agree(existing | plan(existing))


def test_secrets_that_contradict_each_other_are_refused_by_name() -> None:
    existing = plan({})
    existing["event-audit-dashboard"]["API_TOKEN"] = "another"
    with pytest.raises(ProvisioningError, match=r"notification-service and event-audit-dashboard"):
        plan(existing)


def test_a_key_that_is_missing_is_named() -> None:
    existing = plan({})
    del existing["postgres"]["auditflow_reader"]
    with pytest.raises(ProvisioningError, match=r"Secret postgres has no key auditflow_reader"):
        plan(existing)


class ApiServer(BaseHTTPRequestHandler):
    """Secrets of a namespace, as far as is needed here."""

    secrets: dict[str, dict[str, str]]

    def do_GET(self) -> None:
        name = self.path.rpartition("/")[2]
        if name not in self.secrets:
            self._answer(404, {"message": f'secrets "{name}" not found'})
            return
        encoded = {k: base64.b64encode(v.encode()).decode() for k, v in self.secrets[name].items()}
        self._answer(200, {"data": encoded})

    def do_POST(self) -> None:
        secret = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        name = secret["metadata"]["name"]
        if name in self.secrets:
            self._answer(409, {"message": f'secrets "{name}" already exists'})
            return
        self.secrets[name] = secret["stringData"]
        self._answer(201, secret)

    def _answer(self, code: int, body: object) -> None:
        self.send_response(code)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def secrets() -> dict[str, dict[str, str]]:
    return {}


@pytest.fixture
def namespace(secrets: dict[str, dict[str, str]]) -> Iterator[Namespace]:
    handler = type("Handler", (ApiServer,), {"secrets": secrets})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        yield Namespace(url=url, token="t", name="auditflow-dev", tls=None)
        server.shutdown()


def test_the_secrets_are_made_once_and_the_log_shows_no_value(
    namespace: Namespace,
    secrets: dict[str, dict[str, str]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    complete(namespace)
    first = json.loads(json.dumps(secrets))
    complete(namespace)
    assert secrets == first
    assert agree(secrets)
    said = capsys.readouterr().out
    assert "created rabbitmq: definitions.json" in said
    assert "kept    rabbitmq" in said
    assert not any(value in said for data in secrets.values() for value in data.values())


def test_a_secret_that_another_made_meanwhile_is_an_error_and_stays(
    namespace: Namespace, secrets: dict[str, dict[str, str]]
) -> None:
    secrets["postgres"] = {"postgres": "theirs"}
    with pytest.raises(ProvisioningError, match=r"409: secrets .postgres. already exists"):
        namespace.create("postgres", {"postgres": "ours"})
    assert secrets["postgres"] == {"postgres": "theirs"}


def test_the_monitoring_has_a_password_and_no_default(
    namespace: Namespace, secrets: dict[str, dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Namespace, "of_this_pod", lambda: namespace)
    monkeypatch.setattr("sys.argv", ["provisioning", "monitoring"])
    main()
    first = json.loads(json.dumps(secrets))
    main()
    assert secrets == first
    assert secrets.keys() == {"grafana-admin"}
    assert secrets["grafana-admin"]["admin-user"] == "admin"
    assert re.fullmatch("[0-9a-f]{40}", secrets["grafana-admin"]["admin-password"])


def test_another_catalogue_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], namespace: Namespace
) -> None:
    monkeypatch.setattr(Namespace, "of_this_pod", lambda: namespace)
    monkeypatch.setattr("sys.argv", ["provisioning", "prod"])
    with pytest.raises(SystemExit):
        main()
    assert "prod: say one of environment, monitoring" in capsys.readouterr().err


def test_documents_are_only_in_secrets_of_their_own() -> None:
    for name, contents in SECRETS.items():
        kinds = {isinstance(content, Document) for content in contents.values()}
        assert len(kinds) == 1, name
