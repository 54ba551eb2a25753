"""Certificates are created, renewed before they expire, and trusted during a renewal."""

import datetime as dt
import json
import re
import ssl
import subprocess
from pathlib import Path

import pytest
from cryptography import x509

from provisioning import certificates
from provisioning.__main__ import create_certificates, renew_certificates, restart_servers
from provisioning.kubernetes import Namespace
from provisioning.plan import ProvisioningError, plan

NAMESPACE = "auditflow-dev"
Secrets = dict[str, dict[str, str]]


def trusts(authority: str, certificate: str, folder: Path) -> bool:
    (folder / "ca.crt").write_text(authority)
    (folder / "tls.crt").write_text(certificate)
    command = ("openssl", "verify", "-CAfile", str(folder / "ca.crt"), str(folder / "tls.crt"))
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def test_an_empty_namespace_gets_an_authority_and_a_certificate_for_each_server(
    tmp_path: Path,
) -> None:
    created = certificates.renew({}, NAMESPACE)
    assert created.keys() == set(certificates.SECRETS)
    authority = created["environment-ca"]["ca.crt"]
    for name, (service, *_) in certificates.SERVERS.items():
        secret = created[name]
        assert secret.keys() == {"ca.crt", "tls.crt", "tls.key"}
        assert secret["ca.crt"] == authority
        assert trusts(authority, secret["tls.crt"], tmp_path)
        (tmp_path / "tls.key").write_text(secret["tls.key"])
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tmp_path / "tls.crt", tmp_path / "tls.key")
        certificate = x509.load_pem_x509_certificate(secret["tls.crt"].encode())
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        names = extension.value.get_values_for_type(x509.DNSName)
        assert {service, f"{service}.{NAMESPACE}.svc.cluster.local", "localhost"} <= set(names)


def test_valid_certificates_are_not_changed() -> None:
    created = certificates.renew({}, NAMESPACE)
    assert certificates.renew(created, NAMESPACE) == {}


def test_a_certificate_that_expires_soon_is_renewed_by_the_same_authority(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(certificates, "_SERVER_DAYS", 119)
    created = certificates.renew({}, NAMESPACE)
    monkeypatch.undo()
    renewed = certificates.renew(created, NAMESPACE)
    assert renewed.keys() == certificates.SERVERS.keys()
    for name, secret in renewed.items():
        assert secret["tls.crt"] != created[name]["tls.crt"]
        assert secret["ca.crt"] == created["environment-ca"]["ca.crt"]


def test_old_and_new_clients_trust_old_and_new_servers_while_the_authority_is_renewed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(certificates, "_AUTHORITY_DAYS", 700)
    before = certificates.renew({}, NAMESPACE)
    monkeypatch.undo()
    after = before | certificates.renew(before, NAMESPACE)
    assert after["environment-ca"]["tls.crt"] != before["environment-ca"]["tls.crt"]
    assert after["redis-tls"]["ca.crt"] == after["environment-ca"]["ca.crt"]
    # A certificate that the renewed authority signs
    after |= certificates.renew({k: v for k, v in after.items() if k != "redis-tls"}, NAMESPACE)
    for client in (before, after):
        for server in (before, after):
            authority = client["environment-ca"]["ca.crt"]
            assert trusts(authority, server["redis-tls"]["tls.crt"], tmp_path)


def test_a_new_authority_replaces_all_certificates() -> None:
    created = certificates.renew({}, NAMESPACE)
    del created["environment-ca"]
    assert certificates.renew(created, NAMESPACE).keys() == set(certificates.SECRETS)


def test_an_unusable_key_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    created = certificates.renew({}, NAMESPACE)
    created["environment-ca"]["tls.key"] = "not a key"
    del created["redis-tls"]
    with pytest.raises(ProvisioningError, match="openssl req failed"):
        certificates.renew(created, NAMESPACE)
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(ProvisioningError, match="openssl is not on PATH"):
        certificates.renew(created, NAMESPACE)


def test_the_job_creates_what_is_missing_and_the_cron_job_renews(
    namespace: Namespace, secrets: Secrets, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(certificates, "_SERVER_DAYS", 119)
    create_certificates(namespace)
    first: Secrets = json.loads(json.dumps(secrets))
    monkeypatch.undo()
    create_certificates(namespace)
    assert secrets == first, "the Job changes nothing that exists"
    renew_certificates(namespace)
    assert secrets["environment-ca"] == first["environment-ca"]
    for name in certificates.SERVERS:
        assert secrets[name]["tls.crt"] != first[name]["tls.crt"]


def test_only_servers_that_started_before_a_renewal_are_restarted(
    namespace: Namespace, secrets: Secrets, pods: dict[str, str]
) -> None:
    restart_servers(namespace)
    create_certificates(namespace)
    issued = certificates.issued_at(secrets["redis-tls"])
    assert abs(issued - dt.datetime.now(dt.UTC)) < dt.timedelta(minutes=5)
    pods["redis-0"] = f"{issued - dt.timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}"
    pods["postgres-0"] = f"{issued + dt.timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}"
    restart_servers(namespace)
    assert pods.keys() == {"postgres-0"}


def test_an_environment_from_before_tls_keeps_its_passwords_and_gets_certificates() -> None:
    """Follow docs/how-to/upgrade-to-tls.md."""
    before = plan({})
    before["redis-exporter"] = {"exporter.json": '{"redis://127.0.0.1:6379": "old"}'}
    page = (Path(__file__).parents[3] / "docs/how-to/upgrade-to-tls.md").read_text("utf-8")
    deleted = re.findall(r"delete secret (\S+)", page)
    existing = {name: data for name, data in before.items() if name not in deleted}

    created = plan(existing) | certificates.renew(existing, NAMESPACE)

    assert created.keys() == {"redis-exporter", *certificates.SECRETS}
    passwords = json.loads(created["redis-exporter"]["exporter.json"])
    assert passwords["rediss://127.0.0.1:6379"] == before["redis-people"]["auditflow-monitor"]
    after = existing | created
    assert plan(after) == {}
    assert certificates.renew(after, NAMESPACE) == {}
