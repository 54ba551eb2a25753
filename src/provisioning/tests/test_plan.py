"""Missing Secrets are created, agree with each other, and are never changed."""

import base64
import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from provisioning.__main__ import create_missing, main
from provisioning.catalogue import SECRETS, Document, Value
from provisioning.kubernetes import Namespace
from provisioning.plan import ProvisioningError, plan


def hashes_of(definitions: str) -> dict[str, bytes]:
    return {
        user["name"]: base64.b64decode(user["password_hash"])
        for user in json.loads(definitions)["users"]
    }


def agree(secrets: dict[str, dict[str, str]]) -> bool:
    """Whether every server accepts the password that every client sends."""
    broker = hashes_of(secrets["rabbitmq"]["definitions.json"])
    for service in ("audit-event-generator", "audit-log-analysis", "notification-service"):
        salt, digest = broker[service][:4], broker[service][4:]
        password = secrets[service]["RABBITMQ_PASS"].encode()
        if hashlib.sha256(salt + password).digest() != digest:
            return False
    password = secrets["audit-log-analysis"]["REDIS_PASSWORD"].encode()
    return (
        f"#{hashlib.sha256(password).hexdigest()} " in secrets["redis"]["users.acl"]
        and secrets["notification-service"]["PG_PASSWORD"] == secrets["postgres"]["auditflow_app"]
        and secrets["notification-service-migrate"]["PG_PASSWORD"]
        == secrets["postgres"]["auditflow_owner"]
        and secrets["postgres-backup"]["PGPASSWORD"] == secrets["postgres"]["auditflow_reader"]
        and secrets["notification-service"]["API_TOKEN"]
        == secrets["event-audit-dashboard"]["API_TOKEN"]
    )


def test_an_empty_namespace_gets_all_secrets_and_they_agree() -> None:
    created = plan({})
    assert created.keys() == SECRETS.keys()
    assert agree(created)


def test_each_value_is_different_and_long() -> None:
    values = {v for s in plan({}).values() for k, v in s.items() if "." not in k}
    kinds = {c for s in SECRETS.values() for c in s.values() if isinstance(c, Value)}
    assert len(values) == len(kinds)
    assert all(re.fullmatch("[0-9a-f]{40}", value) for value in values)


def test_documents_contain_no_password() -> None:
    created = plan({})
    passwords = {v for s in created.values() for k, v in s.items() if "." not in k}
    documents = created["rabbitmq"]["definitions.json"] + created["redis"]["users.acl"]
    assert not any(password in documents for password in passwords)


def test_a_complete_namespace_is_not_changed() -> None:
    assert plan(plan({})) == {}


@given(st.sets(st.sampled_from(sorted(SECRETS))))
def test_deleted_secrets_are_created_again_or_the_error_names_the_secret_to_delete(
    deleted: set[str],
) -> None:
    complete = plan({})
    while True:
        existing = {name: data for name, data in complete.items() if name not in deleted}
        try:
            created = plan(existing)
            break
        except ProvisioningError as error:
            # When a person does what the text says,
            advice = re.search(r"Delete (\S+) too", str(error))
            assert advice
            assert advice[1] not in deleted
            deleted = deleted | {advice[1]}
    # then the plan is complete, and no existing Secret has changed.
    assert created.keys() == deleted
    assert agree(existing | created)


def test_a_run_can_be_interrupted_after_any_secret() -> None:
    order = list(plan({}).items())
    for stopped_after in range(len(order)):
        existing = dict(order[:stopped_after])
        assert agree(existing | plan(existing))


def test_contradicting_secrets_are_named() -> None:
    existing = plan({})
    existing["event-audit-dashboard"]["API_TOKEN"] = "another"
    with pytest.raises(ProvisioningError, match=r"notification-service and event-audit-dashboard"):
        plan(existing)


def test_a_missing_key_is_named() -> None:
    existing = plan({})
    del existing["postgres"]["auditflow_reader"]
    with pytest.raises(ProvisioningError, match=r"Secret postgres has no key auditflow_reader"):
        plan(existing)


def test_secrets_are_created_once_and_the_log_shows_no_value(
    namespace: Namespace,
    secrets: dict[str, dict[str, str]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    create_missing(namespace)
    first = json.loads(json.dumps(secrets))
    create_missing(namespace)
    assert secrets == first
    assert agree(secrets)
    output = capsys.readouterr().out
    assert "created rabbitmq: definitions.json" in output
    assert "kept    rabbitmq" in output
    assert not any(value in output for data in secrets.values() for value in data.values())


def test_a_secret_that_was_created_meanwhile_is_an_error_and_is_not_changed(
    namespace: Namespace, secrets: dict[str, dict[str, str]]
) -> None:
    secrets["postgres"] = {"postgres": "theirs"}
    with pytest.raises(ProvisioningError, match=r"409: secrets .postgres. already exists"):
        namespace.create("postgres", {"postgres": "ours"})
    assert secrets["postgres"] == {"postgres": "theirs"}


def test_the_monitoring_namespace_gets_a_random_password(
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


def test_an_unknown_catalogue_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], namespace: Namespace
) -> None:
    monkeypatch.setattr(Namespace, "of_this_pod", lambda: namespace)
    monkeypatch.setattr("sys.argv", ["provisioning", "prod"])
    with pytest.raises(SystemExit):
        main()
    assert "prod: the argument must be one of environment, monitoring" in capsys.readouterr().err


def test_the_job_runs_the_program_with_the_standard_library_only(
    namespace: Namespace, secrets: dict[str, dict[str, str]], tmp_path: Path
) -> None:
    """The files that the ConfigMaps contain, in the folders where the Job mounts them."""
    source = Path(__file__).parents[2]
    for package in ("provisioning", "auditflow"):
        kustomization = yaml.safe_load((source / package / "kustomization.yaml").read_text())
        (generator,) = kustomization["configMapGenerator"]
        for file in generator["files"]:
            target = tmp_path / file
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes((source / package / file).read_bytes())
    script = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from provisioning.__main__ import create_missing\n"
        "from provisioning.kubernetes import Namespace\n"
        "create_missing(Namespace(url=sys.argv[2], token='t', name=sys.argv[3], tls=None))\n"
    )
    url = namespace.url.partition("/api/")[0]
    # -S: without site-packages; -I: without this checkout on the path
    command = (sys.executable, "-I", "-S", "-B", "-c", script, str(tmp_path), url, namespace.name)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert agree(secrets)


def test_a_secret_contains_either_values_or_documents() -> None:
    for name, contents in SECRETS.items():
        kinds = {isinstance(content, Document) for content in contents.values()}
        assert len(kinds) == 1, name
