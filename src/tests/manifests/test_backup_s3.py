"""Backups outside the node: the scripts of the component and of the restore, with rclone and an S3 server.

The node and its volume are lost between the backup and the restore.
"""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import boto3  # type: ignore[import-untyped]
import pytest
from moto.server import ThreadedMotoServer

from .databases import ALERT, Database

Container = dict[str, Any]


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """A bucket, and the rclone.conf that a team would write for it."""
    # A machine behind a proxy has certificates of its own, which rclone of Debian 12 cannot take.
    monkeypatch.delenv("AWS_CA_BUNDLE", raising=False)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    address, key = f"http://{host}:{port}", "a-key-of-the-test"
    bucket = f"off-the-node-{uuid4()}"  # servers in one process share their buckets
    boto3.client(
        "s3", endpoint_url=address, aws_access_key_id=key, aws_secret_access_key=key,
        region_name="us-east-1",
    ).create_bucket(Bucket=bucket)  # fmt: skip
    file = tmp_path / "rclone.conf"
    file.write_text(
        f"[s3]\ntype = s3\nprovider = Other\nendpoint = {address}\nregion = us-east-1\n"
        f"access_key_id = {key}\nsecret_access_key = {key}\nno_check_bucket = true\n"
        f"[backups]\ntype = alias\nremote = s3:{bucket}/auditflow/prod\n"
    )
    yield file
    server.stop()


def variables(container: Container, settings: Path) -> dict[str, str]:
    """The environment of a container, with the values of the mounted file."""
    variables = {item["name"]: item["value"] for item in container["env"]}
    assert variables["RCLONE_CONFIG"] == "/run/secrets/rclone/rclone.conf"
    return variables | {"RCLONE_CONFIG": str(settings)}


def copy_off_the_node(database: Database, container: Container, settings: Path) -> None:
    """Run the steps of the container of the CronJob, which has no shell."""
    words = [str(database.backups) if word == "/backup" else word for word in container["args"]]
    subprocess.run(("rclone", *words), env=os.environ | variables(container, settings), check=True)


def test_the_alerts_are_restored_when_the_node_and_its_volume_are_lost(
    database: Database,
    settings: Path,
    opted_in: Callable[..., list[Container]],
    kit: Any,
    root: Path,
) -> None:
    # Given alerts, a backup of each night, and their copies in the bucket
    (job,) = kit.of_kind(opted_in("data/postgres", "backup-s3"), "CronJob")
    (copy,) = kit.pod_template(job)["spec"]["containers"]
    database.migrate()
    database.as_superuser(ALERT)
    database.backup()
    (dump,) = database.backups.glob("*.dump")
    dump.rename(database.backups / "auditflow-20200101T000000Z.dump")
    copy_off_the_node(database, copy, settings)
    database.as_superuser(ALERT)
    database.backup()
    copy_off_the_node(database, copy, settings)

    # When the node is lost
    shutil.rmtree(database.backups)
    database.backups.mkdir()
    database.as_superuser("DROP DATABASE auditflow WITH (FORCE)", database="postgres")
    database.as_superuser("CREATE DATABASE auditflow", database="postgres")
    database.roles()
    database.migrate()

    # Then the newest comes from the bucket, and the alerts from it
    (restore,) = kit.of_kind(kit.render(root / "apps/data/postgres/restore-s3"), "Job")
    (fetch,) = kit.pod_template(restore)["spec"]["initContainers"]
    database.fetch(**variables(fetch, settings))
    assert len(list(database.backups.glob("*.dump"))) == 1
    assert "2 alerts" in database.restore()


def test_an_empty_bucket_is_reported(database: Database, settings: Path) -> None:
    with pytest.raises(AssertionError, match="there is no backup in the bucket"):
        database.fetch(RCLONE_CONFIG=str(settings))
