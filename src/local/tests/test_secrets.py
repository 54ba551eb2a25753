"""Secrets: file modes, and values that do not change."""

from pathlib import Path

from auditflow_local import secrets


def mode(path: Path) -> str:
    return oct(path.stat().st_mode & 0o777)


def test_a_secret_is_generated_once_and_only_its_owner_can_read_it(tmp_path: Path) -> None:
    # given a store
    store = secrets.Store(tmp_path / "secrets")

    # when a secret is requested twice, the second time by another run
    first, second = store.get("PG_PASSWORD"), secrets.Store(store.folder).get("PG_PASSWORD")

    # then it is the same value, long, and in a file that only its owner can read
    assert first == second
    assert len(first) >= 40
    assert mode(store.folder / "PG_PASSWORD") == "0o600"
    assert mode(store.folder) == "0o700"
    assert store.get("API_TOKEN") != first


def test_an_existing_secret_is_used(tmp_path: Path) -> None:
    (tmp_path / "DASHBOARD_PASSWORD").write_text("correct horse\n")
    assert secrets.Store(tmp_path).get("DASHBOARD_PASSWORD") == "correct horse"
    assert mode(tmp_path / "DASHBOARD_PASSWORD") == "0o600"


def test_a_service_gets_its_own_secrets_and_no_old_ones(tmp_path: Path) -> None:
    # given a folder with a secret that the service does not need any more
    secrets.write_all(tmp_path / "service", {"OLD": "x", "API_TOKEN": "a"})

    # when the secrets are written again
    folder = secrets.write_all(tmp_path / "service", {"API_TOKEN": "b"})

    # then the folder contains only the new secrets
    assert {file.name: file.read_text() for file in folder.iterdir()} == {"API_TOKEN": "b\n"}
    assert mode(folder) == "0o700"
    assert mode(folder / "API_TOKEN") == "0o600"
