"""The entry point ``audit-event-archive``: connects the parts, and runs the archive process."""

import ssl
from collections.abc import Callable, Sequence
from functools import partial

import httpx
from prometheus_client import CollectorRegistry
from quart import Quart

from audit_analysis.archive import web
from audit_analysis.archive.flusher import SERVICE
from audit_analysis.archive.id_index import INDEX, IdIndex
from audit_analysis.archive.maintenance import MAX_CLOCK_DIFFERENCE, Maintenance
from audit_analysis.archive.maintenance_manifest import MaintenanceManifest
from audit_analysis.archive.manifest import Manifest
from audit_analysis.archive.metrics import ArchiveMetrics
from audit_analysis.archive.parquet import ParquetWriter
from audit_analysis.archive.settings import Settings
from audit_analysis.archive.storage import UNFINISHED, Storage, open_storage
from audit_analysis.archive.table import ArchivedEvent
from audit_analysis.archive.writer import ArchiveWriter
from audit_analysis.events_api import app as events_app
from audit_analysis.events_api.archive_search import ArchiveSearch
from audit_analysis.events_api.callers import RemoteCallers
from audit_analysis.events_api.database import SearchDatabase, SearchLimits
from audit_analysis.events_api.manifest_archive import ManifestArchive
from audit_analysis.events_api.proofs import EventProofs
from audit_analysis.events_api.trail import RemoteTrail
from audit_analysis.hunt.jobs import HUNTS, HuntJobs
from audit_analysis.hunt.runner import HuntLimits, HuntRunner
from audit_analysis.ledger import silence
from audit_analysis.ledger.monitor import LedgerMetrics, LedgerMonitor
from audit_analysis.ledger.reading import LedgerReader
from audit_analysis.ledger.sender_store import SenderStore
from audit_analysis.ledger.silence import SilenceReporter
from auditflow import amqp, postgres
from auditflow.contract.ledger_report import LedgerSenders
from auditflow.errors import Unavailable
from auditflow.http import serving
from auditflow.http.health import Health
from auditflow.http.probes import Probes
from auditflow.interpreter import tune_garbage_collector
from auditflow.telemetry.metrics import create_registry

#: Statement time-out for the writer. No person waits for it.
WRITE_SECONDS = 30.0
#: Statement time-out for searches.
READ_SECONDS = 5.0
#: Maximum time of the notification service to authenticate a caller, or to store an entry of the
#: audit trail.
CALLER_SECONDS = 3.0
#: Statement time-out for the health check.
CHECK_SECONDS = 1.0


def main() -> None:
    """Start the process: the console script ``audit-event-archive``."""
    tune_garbage_collector()
    serving.start(SERVICE, Settings, run)


def run(settings: Settings) -> None:
    """Consume and serve until SIGTERM, then stop in order."""
    registry = create_registry(SERVICE, settings)
    metrics = ArchiveMetrics(registry)
    storage = open_storage(settings)
    manifest = Manifest(
        partial(postgres.connect, settings, name=SERVICE, statement_seconds=WRITE_SECONDS)
    )
    probe = Manifest(
        partial(
            postgres.connect, settings, name=f"{SERVICE} probe", statement_seconds=CHECK_SECONDS
        )
    )
    files = ParquetWriter(
        settings.archive_folder / UNFINISHED,
        memory_mebibytes=settings.archive_writer_mebibytes,
        threads=settings.archive_writer_threads,
    )
    parameters = amqp.connection_parameters(settings, name=SERVICE)
    publisher = amqp.Publisher(parameters)
    writer = ArchiveWriter(
        parameters,
        manifest,
        storage,
        files,
        publisher,
        metrics=metrics,
        flush_seconds=settings.archive_flush_seconds,
        buffer_bytes=settings.archive_buffer_mebibytes * 1024 * 1024,
        silence_seconds=settings.ledger_silence_minutes * 60,
    )
    metrics.observe_free_bytes(storage.free_bytes)
    merger = ParquetWriter(
        settings.archive_folder / UNFINISHED / "merge",
        memory_mebibytes=settings.archive_writer_mebibytes,
        threads=1,
        storage=storage,
    )
    reader = Manifest(
        partial(
            postgres.connect, settings, name=f"{SERVICE} searches", statement_seconds=READ_SECONDS
        )
    )
    index = IdIndex(settings.archive_folder / INDEX)
    maintenance = Maintenance(
        MaintenanceManifest(
            partial(
                postgres.connect,
                settings,
                name=f"{SERVICE} maintenance",
                statement_seconds=WRITE_SECONDS,
            )
        ),
        storage,
        merger,
        retention_days=settings.retention_days(),
        interval_seconds=settings.archive_maintenance_seconds,
        index=index,
        snapshot=reader.snapshot,
        metrics=metrics,
        max_clock_difference=MAX_CLOCK_DIFFERENCE,
    )
    ledger = LedgerReader(
        partial(
            postgres.connect, settings, name=f"{SERVICE} ledger", statement_seconds=READ_SECONDS
        )
    )
    silence_ms = int(settings.ledger_silence_minutes * 60_000)
    senders = SenderStore(
        partial(
            postgres.connect, settings, name=f"{SERVICE} senders", statement_seconds=READ_SECONDS
        )
    )
    reporter = SilenceReporter(
        senders,
        lambda messages, seconds: publisher.publish(messages, timeout=seconds),
        minimum_ms=silence_ms,
    )
    monitor = LedgerMonitor(
        ledger,
        LedgerMetrics(registry),
        interval_seconds=settings.ledger_check_seconds,
        report_silence=reporter.run,
    )
    health = Health(
        {
            "postgresql": partial(_reason, probe.check),
            "rabbitmq": lambda: publisher.check() or writer.check(),
            "writer": writer.pause_reason,
        },
        alive=lambda: (
            publisher.alive()
            or writer.alive()
            or maintenance.alive()
            or monitor.alive()
            or hunts.alive()
        ),
    )
    hunts = HuntRunner(
        HuntJobs(settings.archive_folder / HUNTS),
        pending=writer.pending,
        publish=lambda messages, seconds: publisher.publish(messages, timeout=seconds),
        limits=HuntLimits(seconds=settings.archive_hunt_seconds),
    )
    publisher.start()
    writer.start()
    monitor.start()
    maintenance.start()
    hunts.start()
    try:
        serving.serve(
            _app(
                settings,
                health,
                registry,
                manifest=reader,
                index=index,
                storage=storage,
                ledger=ledger,
                senders=partial(silence.report, senders, minimum_ms=silence_ms),
                hunts=hunts,
                pending=writer.pending,
            ),
            settings,
            mode="asgi",
            probes=Probes(health, registry, service=SERVICE),
            on_stop=health.stop,
        )
    finally:
        hunts.stop()
        maintenance.stop()
        monitor.stop()
        writer.stop()
        publisher.close()
        probe.close()
        reader.close()
        manifest.close()
        files.close()
        merger.close()


def _app(
    settings: Settings,
    health: Health,
    registry: CollectorRegistry,
    *,
    manifest: Manifest,
    index: IdIndex,
    storage: Storage,
    ledger: LedgerReader,
    senders: Callable[[], LedgerSenders],
    hunts: HuntRunner,
    pending: Callable[[], Sequence[ArchivedEvent]],
) -> Quart:
    """The HTTP interface: with the API of events if the notification service is known."""
    if not settings.notification_service_host:
        return web.create(SERVICE, health, registry)
    settings.archive_folder.mkdir(parents=True, exist_ok=True)
    database = SearchDatabase(
        SearchLimits(
            memory_mebibytes=settings.archive_search_mebibytes,
            threads=settings.archive_search_threads,
            seconds=settings.archive_search_seconds,
        ),
        folders=[settings.archive_folder],
        addresses=[storage.address("")] if settings.archive_bucket else [],
        register=storage.register,
    )
    url = settings.notification_service_url()
    client = httpx.AsyncClient(
        timeout=CALLER_SECONDS,
        verify=ssl.create_default_context(
            cafile=str(settings.tls_ca_file) if settings.tls_ca_file else None
        ),
    )
    return events_app.create(
        ArchiveSearch(ManifestArchive(manifest, storage.address, pending, index.select), database),
        RemoteCallers(url, client=client),
        health,
        registry,
        ledger=ledger,
        senders=senders,
        hunts=hunts,
        proofs=EventProofs(
            manifest,
            database,
            address=storage.address,
            sha256=storage.sha256,
            pending=pending,
            select=index.select,
        ),
        trail=RemoteTrail(url, client=client),
    )


def _reason(check: object) -> str | None:
    try:
        check()  # type: ignore[operator]
    except Unavailable as error:
        return str(error).partition(": ")[2]
    return None


if __name__ == "__main__":
    main()
