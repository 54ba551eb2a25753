"""Static checks of the playbooks and roles. `make infra-test` runs them on machines."""

import base64
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import jinja2
import pytest
import trustme
import yaml
from prometheus_client.parser import text_string_to_metric_families

from .conftest import ROOT

ANSIBLE = ROOT / "infra/ansible"
PLAYBOOKS = sorted(path.name for path in (ANSIBLE / "playbooks").glob("*.yaml"))
BIN = Path(sys.executable).parent


def run(*command: str) -> str:
    """The output of one of Ansible's programs, in its folder."""
    done = subprocess.run(
        (str(BIN / command[0]), *command[1:]),
        cwd=ANSIBLE, capture_output=True, text=True, check=False,
        env=os.environ | {"ANSIBLE_CONFIG": "ansible.cfg", "LC_ALL": "C.UTF-8"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def render(role: str, template: str, **values: Any) -> Any:
    """A role's template with its defaults, as YAML reads it."""
    defaults = yaml.safe_load((ANSIBLE / f"roles/{role}/defaults/main.yaml").read_text())
    loader = jinja2.FileSystemLoader(ANSIBLE / f"roles/{role}/templates")
    environment = jinja2.Environment(  # what it makes is YAML
        loader=loader, trim_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters["to_json"] = json.dumps
    text = environment.get_template(template).render(
        {**defaults, "ansible_managed": "by a test", **values}
    )
    return yaml.safe_load(text)


def server(name: str, **values: Any) -> Any:
    """The configuration of a server of a cluster that server-1 began."""
    given = {
        "inventory_hostname": name,
        "ansible_host": "203.0.113.20",
        "k3s_server_first": "server-1",
        "k3s_server_node_ip": "10.0.1.11",
        "k3s_server_url": "https://10.0.1.11:6443",
        **values,
    }
    return render("k3s_server", "config.yaml.j2", **given)


def test_yaml_is_as_agreed() -> None:
    run("yamllint", "--strict", ".")


def test_the_playbooks_can_be_read() -> None:
    assert len(PLAYBOOKS) >= 7
    run("ansible-playbook", "--syntax-check", *(f"playbooks/{name}" for name in PLAYBOOKS))


def test_both_inventories_are_equal() -> None:
    def hosts(name: str) -> Any:
        listed = json.loads(run("ansible-inventory", "-i", f"inventory/{name}", "--list"))
        return {
            group: listed.get(group) for group in ("k3s_cluster", "k3s_servers", "k3s_agents")
        }, {
            host: {k: v for k, v in variables.items() if k.startswith("ansible_")}
            for host, variables in listed["_meta"]["hostvars"].items()
        }

    assert hosts("hosts.yaml") == hosts("hosts.ini")


def test_the_first_server_begins_and_the_others_join() -> None:
    first, second = server("server-1"), server("server-2")

    assert first["cluster-init"] is True
    assert "server" not in first
    assert second["server"] == "https://10.0.1.11:6443"
    assert "cluster-init" not in second
    # https://docs.k3s.io/cli/server: all servers must agree on these.
    for key in ("cluster-cidr", "service-cidr", "flannel-backend"):
        assert first[key] == second[key]


def test_a_server_is_reached_by_each_of_its_names() -> None:
    config = server("server-1", k3s_server_tls_san=["k3s.example.com"])

    assert config["tls-san"] == ["10.0.1.11", "203.0.113.20", "k3s.example.com"]
    assert config["write-kubeconfig-mode"] == "0600"


def test_sqlite_has_no_snapshots() -> None:
    config = server("server-1", k3s_server_datastore="sqlite")

    assert not [key for key in config if key.startswith(("etcd", "cluster-init"))]


SNAPSHOTS = ANSIBLE / "roles/k3s_server/files/snapshots"


def snapshot_metrics(snapshots: Path, output: Path) -> dict[str, float]:
    """The metrics that the program writes."""
    program = SNAPSHOTS / "etcd-snapshot-metrics"
    done = subprocess.run(
        ("sh", program, snapshots, output), capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert [file.name for file in output.iterdir()] == ["etcd-snapshots.prom"]
    file = output / "etcd-snapshots.prom"
    assert file.stat().st_mode & 0o777 == 0o644
    return {
        sample.name: sample.value
        for family in text_string_to_metric_families(file.read_text())
        for sample in family.samples
    }


def test_the_newest_snapshot_is_measured(tmp_path: Path) -> None:
    snapshots, output = tmp_path / "snapshots", tmp_path / "textfile"
    output.mkdir()
    none = {
        "auditflow_etcd_snapshots": 0,
        "auditflow_etcd_snapshot_timestamp_seconds": 0,
        "auditflow_etcd_snapshot_bytes": 0,
    }
    # before the first snapshot, the folder does not exist
    assert snapshot_metrics(snapshots, output) == none

    snapshots.mkdir()
    (snapshots / "unfinished").touch()
    assert snapshot_metrics(snapshots, output) == none

    for name, size, at in (
        ("newest of server 1", 20, 2_000_000_000),
        ("oldest", 10, 1_999_999_999),
    ):
        (snapshots / name).write_bytes(b"x" * size)
        os.utime(snapshots / name, (at, at))
    assert snapshot_metrics(snapshots, output) == {
        "auditflow_etcd_snapshots": 2,
        "auditflow_etcd_snapshot_timestamp_seconds": 2_000_000_000,
        "auditflow_etcd_snapshot_bytes": 20,
    }


def test_node_exporter_reads_the_folder_that_the_servers_write() -> None:
    values = yaml.safe_load((ROOT / "monitoring/values/prometheus-stack.yaml").read_text())
    exporter = values["prometheus-node-exporter"]
    (mount,) = exporter["extraHostVolumeMounts"]
    assert f"--collector.textfile.directory={mount['mountPath']}" in exporter["extraArgs"]
    unit = (SNAPSHOTS / "etcd-snapshot-metrics.service").read_text()
    assert f"ReadWritePaths={mount['hostPath']}\n" in unit
    assert unit.split("ExecStart=")[1].splitlines()[0].split()[-1] == mount["hostPath"]


def test_labels_and_taints_are_lists() -> None:
    agent = render(
        "k3s_agent", "config.yaml.j2", inventory_hostname="agent-1",
        k3s_agent_server_url="https://10.0.1.11:6443", k3s_agent_node_ip="10.0.1.101",
        k3s_agent_node_labels=["disk=ssd"],
    )  # fmt: skip

    assert agent["node-label"] == ["disk=ssd"]
    assert "node-taint" not in agent


def test_pods_are_restricted_unless_their_namespace_is_labelled_otherwise() -> None:
    plugins = render("k3s_server", "admission.yaml.j2")["plugins"]

    defaults = plugins[0]["configuration"]["defaults"]
    assert {defaults[mode] for mode in ("enforce", "audit", "warn")} == {"restricted"}
    assert plugins[0]["configuration"]["exemptions"]["namespaces"] == ["kube-system"]


def test_lists_of_flags_add_to_each_other() -> None:
    folder = ANSIBLE / "roles/k3s_server/files/config.yaml.d"
    for path in folder.glob("*.yaml"):
        lists = [key for key, value in yaml.safe_load(path.read_text()).items()
                 if isinstance(value, list)]  # fmt: skip
        assert all(key.endswith("+") for key in lists), (
            f"{path.name} would undo the files before it"
        )


def test_no_flag_is_given_twice() -> None:
    flags = [
        flag.partition("=")[0]
        for path in sorted((ANSIBLE / "roles/k3s_server/files/config.yaml.d").glob("*.yaml"))
        for flag in yaml.safe_load(path.read_text()).get("kube-apiserver-arg+", [])
    ]
    assert len(flags) == len(set(flags))


def test_the_webhook_uses_the_address_given_to_the_role() -> None:
    webhook = render(
        "k3s_server", "audit/webhook.yaml.j2",
        k3s_server_audit_address="10.43.7.7:5000", k3s_server_audit_token="t0ken-of-the-entrance",
    )  # fmt: skip

    [cluster] = webhook["clusters"]
    assert cluster["cluster"]["server"] == (
        "http://apiserver:t0ken-of-the-entrance@10.43.7.7:5000/ingest/kubernetes"
    )


def test_the_webhook_verifies_the_name_and_the_authority_of_the_ingest() -> None:
    authority = trustme.CA()
    webhook = render(
        "k3s_server", "audit/webhook.yaml.j2",
        k3s_server_audit_address="10.43.7.7:5443", k3s_server_audit_token="t0ken-of-the-entrance",
        k3s_server_audit_authority=base64.b64encode(authority.cert_pem.bytes()).decode(),
    )  # fmt: skip

    [cluster] = webhook["clusters"]
    assert cluster["cluster"] == {
        "server": "https://10.43.7.7:5443/ingest/kubernetes",
        "tls-server-name": "audit-event-generator-service",
        "certificate-authority-data": base64.b64encode(authority.cert_pem.bytes()).decode(),
    }
    assert webhook["users"] == [{"name": "apiserver", "user": {"token": "t0ken-of-the-entrance"}}]
    assert webhook["contexts"][0]["context"] == {"cluster": "auditflow", "user": "apiserver"}


def test_k3s_is_pinned_for_each_processor() -> None:
    variables = yaml.safe_load((ANSIBLE / "roles/k3s_binary/defaults/main.yaml").read_text())

    for checksums in (variables["k3s_binary_checksums"], variables["k3s_binary_images_checksums"]):
        assert set(checksums) == {"amd64", "arm64"}
        assert all(len(checksum) == 64 and int(checksum, 16) for checksum in checksums.values())


def test_git_ignores_the_vault_and_the_example_holds_nothing() -> None:
    folder = ANSIBLE / "inventory/group_vars/k3s_cluster"
    example = yaml.safe_load((folder / "vault.example.yaml.txt").read_text())
    ignored = subprocess.run(
        ("git", "check-ignore", "--quiet", str(folder / "vault.yaml")), cwd=ROOT, check=False
    )

    assert set(example.values()) == {""}
    assert ignored.returncode == 0


@pytest.mark.parametrize("variable", ["k3s_server_token", "k3s_server_agent_token"])
def test_secrets_have_no_default(variable: str) -> None:
    variables = yaml.safe_load((ANSIBLE / "roles/k3s_server/defaults/main.yaml").read_text())
    assert variables[variable] == ""
