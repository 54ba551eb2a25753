"""Fixtures of the tests of machines: the files that Ansible installs."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="session")
def server_files() -> Path:
    """The files of the role that makes K3s servers."""
    return ROOT / "infra/ansible/roles/k3s_server/files"
