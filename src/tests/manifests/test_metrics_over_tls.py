"""The data services serve their metrics over TLS, with the configuration of the manifests."""

import os
import re
import ssl
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import trustme

from auditflow_local import ports
from auditflow_local.polling import eventually
from auditflow_local.processes import Command
from auditflow_local.servers.rabbitmq import RabbitMQ
from provisioning import rabbitmq as provisioned

Object = dict[str, Any]
PASSWORD = "a-password-of-a-test"


class Certificates:
    """The files that pods mount at /run/secrets/tls."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        authority = trustme.CA()
        server = authority.issue_cert("localhost")
        authority.cert_pem.write_to_path(folder / "ca.crt")
        server.cert_chain_pems[0].write_to_path(folder / "tls.crt")
        server.private_key_pem.write_to_path(folder / "tls.key")
        self.trust = ssl.create_default_context()
        authority.configure_trust(self.trust)

    def local(self, text: str) -> str:
        """The text with the paths of this machine."""
        return text.replace("/run/secrets/tls", str(self.folder)).replace(
            "/run/secrets/ca", str(self.folder)
        )


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    return Certificates(tmp_path)


def serves_metrics_over_tls_only(port: int, certificates: Certificates, metric: str) -> None:
    def scraped() -> bool:
        try:
            answer = httpx.get(f"https://localhost:{port}/metrics", verify=certificates.trust)
        except httpx.TransportError:
            return False
        return answer.status_code == 200 and metric in answer.text

    eventually(scraped, what=f"{metric} over TLS")
    try:
        plain = httpx.get(f"http://localhost:{port}/metrics")
    except httpx.TransportError:
        return
    assert plain.status_code == 400
    assert metric not in plain.text


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Callable[..., None]]:
    """Starts a program; it ends with the test."""
    started: list[subprocess.Popen[bytes]] = []

    def start(*command: str, **environment: str) -> None:
        with (tmp_path / "log").open("wb") as log:
            started.append(
                subprocess.Popen(
                    command, env={**os.environ, **environment}, stdout=log, stderr=subprocess.STDOUT
                )
            )

    yield start
    for process in started:
        process.kill()
        process.wait()


def exporter(objects: list[Object], kit: Any, name: str) -> Object:
    """The container of the exporter in the pod of a data service."""
    (pod,) = [
        kit.pod_template(item)
        for item in kit.of_kind(objects, "StatefulSet")
        if item["metadata"]["name"] == name
    ]
    (container,) = [item for item in pod["spec"]["containers"] if item["name"] == "exporter"]
    found: Object = container
    return found


class ConfiguredRabbitMQ(RabbitMQ):
    """A broker with the settings of the manifest for metrics."""

    settings: str

    def _command(self) -> Command:
        command = super()._command()
        file = self.folder / "rabbitmq.conf"
        lines = [line for line in file.read_text().splitlines() if "prometheus.tcp" not in line]
        file.write_text("\n".join([*lines, self.settings, ""]))
        return command


def test_rabbitmq(root: Path, certificates: Certificates, tmp_path: Path) -> None:
    manifest = (root / "apps/data/rabbitmq/base/rabbitmq.conf").read_text()
    metrics_port = ports.pick()
    broker = ConfiguredRabbitMQ(
        tmp_path / "broker",
        port=ports.pick(),
        metrics_port=metrics_port,
        distribution_port=ports.pick(),
        epmd_port=ports.pick(),
        definitions=provisioned.definitions({"auditflow-admin": PASSWORD}),
        passwords={"auditflow-admin": PASSWORD},
        durable=False,
    )
    broker.settings = certificates.local(
        "\n".join(re.findall(r"^prometheus\..*$", manifest, re.MULTILINE))
    ).replace("15691", str(metrics_port))
    try:
        broker.start()
        serves_metrics_over_tls_only(metrics_port, certificates, "rabbitmq_build_info")
    finally:
        broker.destroy()


@pytest.mark.parametrize("environment", ["dev"], indirect=True)
def test_exporter_of_redis(
    objects: list[Object], certificates: Certificates, run: Callable[..., None], kit: Any
) -> None:
    variables = {
        item["name"]: certificates.local(item["value"])
        for item in exporter(objects, kit, "redis")["env"]
        if "PASSWORD_FILE" not in item["name"]
    }
    port = ports.pick()
    run("prometheus-redis-exporter", f"-web.listen-address=127.0.0.1:{port}", **variables)
    serves_metrics_over_tls_only(port, certificates, "redis_exporter_build_info")


@pytest.mark.parametrize("environment", ["dev"], indirect=True)
def test_exporter_of_postgresql(
    objects: list[Object],
    certificates: Certificates,
    run: Callable[..., None],
    tmp_path: Path,
    kit: Any,
) -> None:
    (web,) = [
        item["data"]["web.yaml"]
        for item in kit.of_kind(objects, "ConfigMap")
        if item["metadata"]["name"].startswith("postgres-exporter")
    ]
    (tmp_path / "web.yaml").write_text(certificates.local(web))
    arguments = [
        argument.replace("/etc/exporter", str(tmp_path))
        for argument in exporter(objects, kit, "postgres")["args"]
        if argument.startswith("--web.")
    ]
    port = ports.pick()
    run(
        "prometheus-postgres-exporter", f"--web.listen-address=127.0.0.1:{port}", *arguments,
        DATA_SOURCE_NAME="postgresql://nobody@127.0.0.1:1/none?sslmode=disable",
    )  # fmt: skip
    serves_metrics_over_tls_only(port, certificates, "postgres_exporter_build_info")
