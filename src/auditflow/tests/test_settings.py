"""Settings are complete at the start, or the process says what is missing and ends."""

from pathlib import Path
from typing import Any

import pytest

from auditflow import settings
from auditflow.errors import SettingsError
from auditflow.settings import PostgresSettings, RabbitMQSettings, ServiceSettings


class Sample(ServiceSettings, RabbitMQSettings):
    """Some service."""


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PORT", "RABBITMQ_USER", "RABBITMQ_PASS", "SECRETS_DIR", "RABBITMQ_PORT"):
        monkeypatch.delenv(name, raising=False)


def test_every_missing_variable_is_named() -> None:
    with pytest.raises(SettingsError) as caught:
        settings.load(Sample)
    lines = str(caught.value).splitlines()
    assert {line.split(":")[0] for line in lines} == {"PORT", "RABBITMQ_USER", "RABBITMQ_PASS"}


def test_a_secret_may_be_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "RABBITMQ_PASS").write_text("s3cret\n")
    (tmp_path / "RABBITMQ_USER").write_text("alice")
    monkeypatch.setenv("SECRETS_DIR", str(tmp_path))
    loaded = settings.load(Sample, port=1)
    assert loaded.rabbitmq_pass.get_secret_value() == "s3cret"
    assert loaded.rabbitmq_user == "alice"


def test_a_secret_does_not_print(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RABBITMQ_PASS", "s3cret")
    assert "s3cret" not in repr(settings.load(Sample, port=1, rabbitmq_user="alice"))


@pytest.mark.parametrize(
    ("variable", "value"),
    [("PORT", "0"), ("PORT", "many"), ("LOG_LEVEL", "LOUD"), ("RABBITMQ_PASS", " ")],
)
def test_a_wrong_value_is_named_and_a_secret_not_shown(
    variable: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = {"PORT": "1", "RABBITMQ_USER": "alice", "RABBITMQ_PASS": "s3cret"}
    for name, content in {**good, variable: value}.items():
        monkeypatch.setenv(name, content)
    with pytest.raises(SettingsError, match=f"^{variable}: ") as caught:
        settings.load(Sample)
    assert "s3cret" not in str(caught.value)


def test_a_folder_of_secrets_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRETS_DIR", "/nowhere")
    with pytest.raises(SettingsError, match="SECRETS_DIR: there is no folder /nowhere"):
        settings.load(Sample)


def test_a_certificate_needs_its_key(tmp_path: Path) -> None:
    certificate = tmp_path / "tls.crt"
    certificate.touch()
    with pytest.raises(SettingsError, match="TLS_CERT_FILE and TLS_KEY_FILE must be set together"):
        settings.load(ServiceSettings, port=1, tls_cert_file=str(certificate))


@pytest.mark.parametrize("variable", [{"https_port": 2}, {"metrics_tls": True}])
def test_https_needs_a_certificate(variable: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match="need TLS_CERT_FILE and TLS_KEY_FILE"):
        settings.load(ServiceSettings, port=1, **variable)


def test_a_missing_file_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TLS_CA_FILE", "/missing.pem")
    with pytest.raises(SettingsError, match=r"TLS_CA_FILE: there is no file /missing\.pem"):
        settings.load(Sample, port=1, rabbitmq_user="a", rabbitmq_pass="b")


@pytest.mark.parametrize(
    ("mode", "with_file", "options"),
    [
        ("prefer", False, {"sslmode": "prefer"}),
        ("require", True, {"sslmode": "require"}),
        ("verify-full", False, {"sslmode": "verify-full", "sslrootcert": "system"}),
        ("verify-full", True, {"sslmode": "verify-full", "sslrootcert": "FILE"}),
    ],
)
def test_the_tls_options_of_postgresql(
    tmp_path: Path, mode: str, with_file: bool, options: dict[str, str]
) -> None:
    ca = tmp_path / "ca.crt"
    ca.touch()
    loaded = settings.load(
        PostgresSettings, pg_user="a", pg_password="b", pg_sslmode=mode,
        tls_ca_file=str(ca) if with_file else "",
    )  # fmt: skip
    assert loaded.pg_tls_options() == {
        name: str(ca) if value == "FILE" else value for name, value in options.items()
    }
