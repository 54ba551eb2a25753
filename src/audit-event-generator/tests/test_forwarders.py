"""The forwarders in infra/forwarders deliver each record of a log once, also across an outage."""

import gzip
import importlib
import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import quote_plus

import boto3  # type: ignore[import-untyped]
import moto
import pytest
import yaml

from audit_event_generator.ingest import auditd
from auditflow.contract import event
from auditflow_local.polling import eventually

from .conftest import DATA
from .test_service import accepted, stored

FORWARDERS = Path(__file__).parents[3] / "infra/forwarders"
NAME = "audit-event-generator"
SYSLOG_NG = shutil.which("syslog-ng", path="/usr/sbin:/usr/bin")


def expected_events(log: bytes) -> set[tuple[str, str, str | None]]:
    """The events of one request with the complete log: identifiers, types and users."""
    return {
        (found.event_id, found.event_type, found.user_id)
        for found in (auditd.to_event(record) for _, record in auditd.split(log))
    }


def summary(events: Sequence[event.Event]) -> set[tuple[str, str, str | None]]:
    return {(found.event_id, found.event_type, found.user_id) for found in events}


class SyslogNg:
    """syslog-ng with the configuration of the repository. Only addresses are replaced."""

    def __init__(self, folder: Path, url: str, authorization: str) -> None:
        self.log = folder / "audit.log"
        self.log.touch()
        text = (FORWARDERS / "syslog-ng.conf").read_text("utf-8")
        for name, value in {
            "ingest-url": f"{url}/ingest/auditd",
            "token-header": f"Authorization: {authorization}",
            "audit-log": str(self.log),
        }.items():
            start = text.index(f'@define {name} "')
            text = text[:start] + f'@define {name} "{value}"' + text[text.index("\n", start) :]
        text = text.replace("reliable(yes)", f'reliable(yes) dir("{folder}")')
        (folder / "syslog-ng.conf").write_text(text)
        assert SYSLOG_NG
        self._command = [
            SYSLOG_NG, "--foreground", "--no-caps", f"--cfgfile={folder}/syslog-ng.conf",
            f"--persist-file={folder}/persist", f"--pidfile={folder}/pid",
            f"--control={folder}/control",
        ]  # fmt: skip
        self._folder = folder
        self.start()

    def start(self) -> None:
        with (self._folder / "stderr").open("a") as errors:
            self._process = subprocess.Popen(self._command, stderr=errors)

    def append(self, content: bytes) -> None:
        with self.log.open("ab") as file:
            file.write(content)

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(timeout=60)


@pytest.fixture
def syslog_ng(tmp_path: Path) -> Iterator[Callable[[str, str], SyslogNg]]:
    started: list[SyslogNg] = []

    def start(url: str, authorization: str) -> SyslogNg:
        started.append(SyslogNg(tmp_path, url, authorization))
        return started[-1]

    yield start
    for process in started:
        process.stop()


@pytest.mark.skipif(SYSLOG_NG is None, reason="syslog-ng is not installed")
def test_syslog_ng_delivers_each_event_once_with_all_its_records(
    rabbitmq: Any,
    service_process: Callable[..., Any],
    service_secrets: dict[str, str],
    syslog_ng: Callable[[str, str], SyslogNg],
) -> None:
    stored(rabbitmq)
    service = service_process(NAME, rabbitmq=rabbitmq)
    log = (DATA / "auditd.log").read_bytes()
    lines = log.splitlines(keepends=True)
    expected = expected_events(log)

    forwarder = syslog_ng(service.url, f"Bearer {service_secrets['INGEST_TOKEN']}")
    forwarder.append(b"".join(lines[:40]))
    eventually(lambda: accepted(service.url, "auditd") > 0)
    # The forwarder is stopped while the log grows, and continues at its position.
    forwarder.stop()
    forwarder.append(b"".join(lines[40:]))
    forwarder.start()

    eventually(lambda: accepted(service.url, "auditd") >= len(expected))
    assert summary(stored(rabbitmq)) == expected


@pytest.fixture
def cloudtrail(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The forwarder of CloudTrail, as Lambda imports it."""
    monkeypatch.syspath_prepend(str(FORWARDERS / "cloudtrail"))
    for name, value in {
        "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "eu-central-1",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    return importlib.import_module("forward")


def notification(*keys: str) -> dict[str, Any]:
    """A notification of S3 in an SQS message, with the keys encoded as S3 encodes them."""
    records = [
        {"s3": {"bucket": {"name": "trail"}, "object": {"key": quote_plus(key)}}} for key in keys
    ]
    return {"messageId": keys[0], "body": json.dumps({"Records": records})}


def test_cloudtrail_files_are_forwarded_and_failures_are_retried(
    rabbitmq: Any,
    service_process: Callable[..., Any],
    service_secrets: dict[str, str],
    cloudtrail: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stored(rabbitmq)
    service = service_process(NAME, rabbitmq=rabbitmq)
    file = "AWSLogs/111122223333/CloudTrail/eu-central-1/2026/11/30/a+b.json.gz"
    digest = "AWSLogs/111122223333/CloudTrail-Digest/eu-central-1/2026/11/30/d.json.gz"
    broken = "AWSLogs/111122223333/CloudTrail/eu-central-1/2026/11/30/broken.json.gz"
    missing = "AWSLogs/111122223333/CloudTrail/eu-central-1/2026/11/30/missing.json.gz"
    with moto.mock_aws():
        boto3.client("s3").create_bucket(
            Bucket="trail", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"}
        )
        content = (DATA / "cloudtrail.json").read_bytes()
        for key, body in {
            file: gzip.compress(content), digest: b"x", broken: gzip.compress(b"[")
        }.items():  # fmt: skip
            boto3.client("s3").put_object(Bucket="trail", Key=key, Body=body)
        secret = boto3.client("secretsmanager").create_secret(
            Name="token", SecretString=service_secrets["INGEST_TOKEN"]
        )["ARN"]
        monkeypatch.setenv("AUDITFLOW_URL", service.url)
        monkeypatch.setenv("AUDITFLOW_TOKEN_SECRET", secret)

        # A file, a digest, a file that the ingest refuses, a test notification, and a file that S3 does not have
        messages = [
            notification(file, digest),
            notification(broken),
            {"messageId": "test", "body": json.dumps({"Event": "s3:TestEvent"})},
            notification(missing),
        ]
        result = cloudtrail.handler({"Records": messages}, None)
        assert result == {"batchItemFailures": [{"itemIdentifier": missing}]}
        identifiers = sorted(record["eventID"] for record in json.loads(content)["Records"])
        assert sorted(found.event_id for found in stored(rabbitmq)) == identifiers

        # While the token is wrong or the ingest is down, every file is retried.
        boto3.client("secretsmanager").put_secret_value(SecretId=secret, SecretString="wrong")
        result = cloudtrail.handler({"Records": [notification(file)]}, None)
        assert result == {"batchItemFailures": [{"itemIdentifier": file}]}
        monkeypatch.setenv("AUDITFLOW_URL", "http://127.0.0.1:9")
        result = cloudtrail.handler({"Records": [notification(file)]}, None)
        assert result == {"batchItemFailures": [{"itemIdentifier": file}]}


def test_the_template_of_cloudtrail_sets_what_the_function_reads() -> None:
    class Loader(yaml.SafeLoader):
        """A loader for the short form of CloudFormation's functions."""

    Loader.add_multi_constructor("!", lambda loader, suffix, node: f"!{suffix} {node.value}")
    text = (FORWARDERS / "cloudtrail/template.yaml").read_text("utf-8")
    resources = yaml.load(text, Loader)["Resources"]
    settings = resources["Function"]["Properties"]["Environment"]["Variables"]
    code = (FORWARDERS / "cloudtrail/forward.py").read_text("utf-8")
    assert set(re.findall(r"environ\[['\"](\w+)", code)) == set(settings)
    limit = resources["Function"]["Properties"]["Timeout"]
    assert resources["Queue"]["Properties"]["VisibilityTimeout"] == 6 * limit


def test_vector_sends_to_the_route_of_auditd_and_confirms_after_delivery() -> None:
    config = yaml.safe_load((FORWARDERS / "vector.yaml").read_text("utf-8"))
    sink = config["sinks"]["auditflow"]
    assert sink["uri"].endswith("/ingest/auditd")
    assert sink["inputs"] == ["joined"]
    assert config["acknowledgements"]["enabled"]
