"""The settings: valid and invalid values."""

from pathlib import Path

import pytest

from audit_event_generator.settings import Settings
from auditflow import settings
from auditflow.errors import SettingsError


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GENERATOR_RATE", "GENERATOR_SEED", "EVENT_GENERATION_INTERVAL_SECONDS", "PORT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RABBITMQ_USER", "u")
    monkeypatch.setenv("RABBITMQ_PASS", "p")
    monkeypatch.setenv("INGEST_TOKEN", "hush")


def test_stream_is_off_by_default() -> None:
    loaded = settings.load(Settings)

    assert loaded.rate == 0
    assert loaded.port == 5000
    assert "hush" not in repr(loaded)


@pytest.mark.parametrize(
    ("variables", "rate"),
    [
        ({"GENERATOR_RATE": "2"}, 2),
        ({"GENERATOR_RATE": "0.0167"}, 0.0167),
        ({"GENERATOR_RATE": "0"}, 0),
        ({"EVENT_GENERATION_INTERVAL_SECONDS": "5"}, 0.2),
        ({"EVENT_GENERATION_INTERVAL_SECONDS": "0.5", "GENERATOR_RATE": "2"}, 2),
    ],
)
def test_rate_or_interval(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], rate: float
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    assert settings.load(Settings).rate == pytest.approx(rate)


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"INGEST_TOKEN": " "}, "INGEST_TOKEN"),
        ({"GENERATOR_RATE": "-1"}, "GENERATOR_RATE"),
        ({"GENERATOR_RATE": "nan"}, "GENERATOR_RATE"),
        ({"GENERATOR_RATE": "inf"}, "GENERATOR_RATE"),
        ({"GENERATOR_SEED": "x"}, "GENERATOR_SEED"),
        ({"EVENT_GENERATION_INTERVAL_SECONDS": "0"}, "EVENT_GENERATION_INTERVAL_SECONDS"),
        (
            {"EVENT_GENERATION_INTERVAL_SECONDS": "5", "GENERATOR_RATE": "2"},
            "EVENT_GENERATION_INTERVAL_SECONDS: .*contradicts GENERATOR_RATE=2",
        ),
        (
            {"EVENT_GENERATION_INTERVAL_SECONDS": "5", "GENERATOR_RATE": "0"},
            "EVENT_GENERATION_INTERVAL_SECONDS",
        ),
    ],
)
def test_invalid_setting_is_named(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], named: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    with pytest.raises(SettingsError, match=named):
        settings.load(Settings)


@pytest.mark.parametrize(
    ("variables", "file"),
    [
        ({}, None),
        ({"SECRETS_DIR": "/tmp"}, "/tmp/INGEST_TOKENS"),
        ({"SECRETS_DIR": "/tmp", "INGEST_TOKENS": "sources: {}"}, None),
        ({"SECRETS_DIR": "/tmp", "INGEST_TOKENS_FILE": "/etc/tokens"}, "/etc/tokens"),
    ],
)
def test_file_of_tokens(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], file: str | None
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    assert settings.load(Settings).tokens_file == (Path(file) if file else None)
