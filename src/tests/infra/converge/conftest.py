"""Machines that exist for all steps of the test."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from . import node as nodes
from .proxy import mirror

ROOT = Path(__file__).parents[4]
ANSIBLE = ROOT / "infra/ansible"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "auditflow-infra"


@dataclass(frozen=True)
class Cluster:
    """A server and an agent, and Ansible to act upon them."""

    server: nodes.Node
    agent: nodes.Node
    inventory: Path
    folder: Path

    def play(self, playbook: str, *arguments: str, fails: bool = False) -> str:
        """Run a playbook; returns what it printed."""
        done = subprocess.run(
            (str(Path(sys.executable).with_name("ansible-playbook")), "-i", str(self.inventory),
             f"playbooks/{playbook}", *arguments),
            cwd=ANSIBLE, capture_output=True, text=True, check=False, timeout=1200,
            env=os.environ | {"ANSIBLE_CONFIG": "ansible.cfg", "LC_ALL": "C.UTF-8"},
        )  # fmt: skip
        (self.folder / f"{playbook}.log").write_text(done.stdout + done.stderr)
        assert (done.returncode != 0) == fails, done.stdout[-6000:] + done.stderr[-2000:]
        return done.stdout

    def offer(self, version: str) -> dict[str, str]:
        """Put a K3s of this version into the folder without internet; returns its checksums."""
        text = Path(__file__).with_name("stand_in_k3s.sh").read_text()
        text = text.replace("VERSION=v1.36.4+k3s1", f"VERSION={version}")
        offered = self.folder / "release"
        offered.mkdir(exist_ok=True)
        for name in ("k3s", "k3s-arm64"):
            (offered / name).write_text(text)
        digest = hashlib.sha256(text.encode()).hexdigest()
        return {"amd64": digest, "arm64": digest}


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    if lacking := nodes.missing():
        pytest.skip(f"machines need {', '.join(lacking)}")
    CACHE.mkdir(parents=True, exist_ok=True)
    folder = tmp_path_factory.mktemp("machines")
    base = nodes.image(CACHE)
    with ExitStack() as stack:
        port = stack.enter_context(mirror())
        server, agent = (
            stack.enter_context(nodes.running(name, number, base=base, folder=folder, proxy=port))
            for number, name in enumerate(("server-1", "agent-1"), start=1)
        )
        made = Cluster(server, agent, folder / "hosts.json", folder)
        made.inventory.write_text(json.dumps(inventory(made, made.offer("v1.36.4+k3s1"))))
        yield made


def inventory(cluster: Cluster, checksums: dict[str, str], **more: Any) -> dict[str, Any]:
    """The inventory of the two machines, with what a vault would hold."""

    def host(item: nodes.Node) -> dict[str, Any]:
        return {item.name: {"ansible_host": item.address}}

    return {
        "k3s_cluster": {
            "children": {
                "k3s_servers": {"hosts": host(cluster.server)},
                "k3s_agents": {"hosts": host(cluster.agent)},
            },
            "vars": {
                "ansible_user": "root",
                "ansible_ssh_private_key_file": str(cluster.server.key),
                "ansible_ssh_common_args": " ".join(cluster.server.ssh_options[2:]),
                "base_admin_networks": ["10.77.0.0/16"],
                "k3s_binary_folder": str(cluster.folder / "release"),
                "k3s_binary_images": False,
                "k3s_binary_checksums": checksums,
                "k3s_server_token": "the-token-of-the-servers",
                "k3s_server_agent_token": "the-token-of-the-agents",
                "k3s_agent_token": "the-token-of-the-agents",
                **more,
            },
        }
    }
