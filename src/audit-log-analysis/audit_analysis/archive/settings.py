"""The settings of the archive process, from environment variables."""

from pathlib import Path
from typing import Annotated, Final

from pydantic import Field

from audit_analysis.cli.rule_paths import SHIPPED_RULES
from auditflow.settings import (
    Block,
    Port,
    PostgresSettings,
    RabbitMQSettings,
    Secret,
    ServiceSettings,
)

#: The default retention in a folder and in a bucket: the periods of PCI DSS 10.5.1.
RETENTION_DAYS_FOLDER: Final = 90
RETENTION_DAYS_BUCKET: Final = 365


class StorageSettings(Block):
    """The storage of the files: a folder, or a bucket of an S3 service."""

    #: The folder of the files. With a bucket, only the folder of unfinished files.
    archive_folder: Path
    #: The bucket. Empty: the files are in the folder.
    archive_bucket: str = ""
    #: The prefix of all keys in the bucket.
    archive_prefix: str = ""
    #: The address of an S3 that is not Amazon's, for example https://minio:9000.
    archive_s3_endpoint: str = ""
    archive_s3_region: str = "us-east-1"
    #: Without keys, the credentials of the node or of the service account are used.
    archive_s3_access_key_id: str = ""
    archive_s3_secret_access_key: Secret | None = None


class SearchSettings(Block):
    """The API of archived events, and its limits."""

    #: The notification service, which knows the tokens and roles of callers. Empty: no API.
    notification_service_host: str = ""
    notification_service_port: Port = 8000
    notification_service_tls: bool = False
    #: Maximum memory of all searches together (MiB).
    archive_search_mebibytes: Annotated[int, Field(ge=32)] = 192
    #: Maximum number of threads of all searches together.
    archive_search_threads: Annotated[int, Field(ge=1, le=64)] = 2
    #: Maximum time of a search (seconds).
    archive_search_seconds: Annotated[float, Field(gt=0, le=600)] = 20

    def notification_service_url(self) -> str:
        """The address of the notification service."""
        scheme = "https" if self.notification_service_tls else "http"
        return f"{scheme}://{self.notification_service_host}:{self.notification_service_port}"


class HuntSettings(Block):
    """Hunts. Each runs in a process of its own."""

    #: The rules that a hunt can name: files and folders of Sigma rules, as a JSON list.
    rules_paths: tuple[Path, ...] = (SHIPPED_RULES,)
    #: The LATENESS_SECONDS of the analysis.
    lateness_seconds: Annotated[int, Field(ge=0, le=7 * 86_400)] = 900
    #: Maximum memory of the process of a hunt (MiB).
    archive_hunt_mebibytes: Annotated[int, Field(ge=128)] = 384
    #: Maximum time of a hunt (seconds).
    archive_hunt_seconds: Annotated[float, Field(gt=0, le=86_400)] = 3600


class Settings(
    ServiceSettings,
    RabbitMQSettings,
    PostgresSettings,
    StorageSettings,
    SearchSettings,
    HuntSettings,
):
    """All settings of the archive process."""

    port: Port = 5003
    #: Rows are written to a file at the latest after this time (seconds).
    archive_flush_seconds: Annotated[float, Field(gt=0, le=3600)] = 60
    #: Rows are written to a file when their records have this size (MiB).
    archive_buffer_mebibytes: Annotated[int, Field(ge=1, le=4096)] = 32
    #: Maximum memory of DuckDB while it writes files, and again while it merges files (MiB).
    archive_writer_mebibytes: Annotated[int, Field(ge=32)] = 128
    #: Maximum number of threads of DuckDB while it writes files.
    archive_writer_threads: Annotated[int, Field(ge=1, le=64)] = 1
    #: Events are deleted after this time (days). Default: 90 in a folder, 365 in a bucket.
    archive_retention_days: Annotated[int, Field(ge=1, le=36_500)] | None = None
    #: Time between two runs of the maintenance (seconds).
    archive_maintenance_seconds: Annotated[float, Field(gt=0, le=86_400)] = 300

    #: A host is reported as silent after this time without events at the earliest (minutes).
    ledger_silence_minutes: Annotated[float, Field(ge=1, le=100_000)] = 30
    #: Time between two checks of the ledger (seconds).
    ledger_check_seconds: Annotated[float, Field(gt=0, le=3600)] = 30

    def retention_days(self) -> int:
        """After how many days events are deleted."""
        if self.archive_retention_days is not None:
            return self.archive_retention_days
        return RETENTION_DAYS_BUCKET if self.archive_bucket else RETENTION_DAYS_FOLDER
