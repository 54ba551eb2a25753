"""Secrets: whose they are, and that they stay."""

from pathlib import Path

from auditflow_local import secrets


def mode(path: Path) -> str:
    return oct(path.stat().st_mode & 0o777)


def test_a_secret_is_made_once_and_is_only_ours(tmp_path: Path) -> None:
    # given a store
    store = secrets.Store(tmp_path / "secrets")

    # when a secret is asked for twice, also by another run
    first, second = store.get("PG_PASSWORD"), secrets.Store(store.folder).get("PG_PASSWORD")

    # then it is the same, long, and in a file that only we read
    assert first == second
    assert len(first) >= 40
    assert mode(store.folder / "PG_PASSWORD") == "0o600"
    assert mode(store.folder) == "0o700"
    assert store.get("API_TOKEN") != first


def test_a_secret_that_a_person_wrote_is_used(tmp_path: Path) -> None:
    (tmp_path / "DASHBOARD_PASSWORD").write_text("correct horse\n")
    assert secrets.Store(tmp_path).get("DASHBOARD_PASSWORD") == "correct horse"
    assert mode(tmp_path / "DASHBOARD_PASSWORD") == "0o600"


def test_a_service_gets_its_own_secrets_and_no_old_ones(tmp_path: Path) -> None:
    # given a folder with a secret that the service once had
    secrets.hand_out(tmp_path / "service", {"OLD": "x", "API_TOKEN": "a"})

    # when it is handed out again
    folder = secrets.hand_out(tmp_path / "service", {"API_TOKEN": "b"})

    # then the folder holds that and nothing else
    assert {file.name: file.read_text() for file in folder.iterdir()} == {"API_TOKEN": "b\n"}
    assert mode(folder) == "0o700"
    assert mode(folder / "API_TOKEN") == "0o600"
