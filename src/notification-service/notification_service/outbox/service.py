"""Notifications as one part of the service: made from settings, started and stopped together."""

import datetime as dt
import time
from collections.abc import Callable
from functools import partial

from prometheus_client import CollectorRegistry

from notification_service.audit.trail import Record, clean
from notification_service.database.connection import connect
from notification_service.database.pool import Pool
from notification_service.oncall.calendars import Calendars
from notification_service.outbox.clock import DatabaseClock
from notification_service.outbox.flusher import Flusher
from notification_service.outbox.hiding import (
    ByInhibition,
    ByMaintenance,
    BySilence,
    BySnooze,
    HidingInTurn,
)
from notification_service.outbox.metrics import Metrics
from notification_service.outbox.queue import Queue
from notification_service.outbox.router import Router
from notification_service.outbox.worker import RoutingWorker, SendingWorker, TreeFileWorker
from notification_service.receivers.links import Links
from notification_service.receivers.network import Addresses
from notification_service.receivers.secrets import SecretFiles
from notification_service.receivers.senders import Surroundings, sender_of
from notification_service.routing.tree_file import TreeFile
from notification_service.settings import Settings

#: Routing and flushing have a connection of their own; claims and results share a few.
_SENDING_CONNECTIONS = 2
_WAIT_SECONDS = 5.0
#: A flush of a very large group reads many alerts.
_ROUTE_SECONDS = 60.0
_SEND_SECONDS = 10.0
_JOIN_SECONDS = 3.0


class Notifications:
    """Everything between a stored alert and its receivers."""

    def __init__(
        self,
        settings: Settings,
        registry: CollectorRegistry,
        readers: Pool,
        *,
        service: str,
        record: Callable[[Record], object] = lambda record: None,
    ) -> None:
        """``readers`` has the connections for what the API reads and people change.

        ``record`` adds to the audit trail which routing file is in force.
        """
        self.metrics = Metrics(registry)
        self._record = record
        open_routing = partial(
            connect, settings, name=f"{service} routing", statement_seconds=_ROUTE_SECONDS
        )
        open_sending = partial(
            connect, settings, name=f"{service} sending", statement_seconds=_SEND_SECONDS
        )
        self.pool = readers
        self._routing = Pool(open_routing, size=1, wait_seconds=0)
        self._sending = Pool(open_sending, size=_SENDING_CONNECTIONS, wait_seconds=_WAIT_SECONDS)
        self.clock = DatabaseClock(self._sending)
        self.file = TreeFile(settings.routes_file, on_reload=self._reloaded)
        self.file.refresh()
        self.calendars = Calendars(lambda: self.file.folder)
        around = Surroundings(
            secrets=SecretFiles(settings.receiver_secrets_dir),
            addresses=Addresses(settings.webhook_allowed_networks),
            links=Links(settings.dashboard_url),
            folder=self.file.folder,
            on_call=self._on_call,
        )
        self.hiding = HidingInTurn(
            [
                BySnooze(),
                BySilence(),
                ByMaintenance(lambda: self.file.tree, self.calendars),
                ByInhibition(lambda: self.file.tree),
            ]
        )
        self._sender = SendingWorker(
            file=self.file,
            queue=Queue(self._sending),
            make_sender=lambda tree, receiver: sender_of(tree, receiver, around),
            metrics=self.metrics,
            clock=self.clock,
        )
        self._workers = (
            TreeFileWorker(self.file),
            RoutingWorker(
                file=self.file,
                router=Router(self._routing),
                flusher=Flusher(self._routing),
                hiding=self.hiding,
                metrics=self.metrics,
                clock=self.clock,
            ),
            self._sender,
        )

    def circuits(self) -> dict[str, bool]:
        """The receivers, and whether the circuit of each is open in this replica."""
        return self._sender.circuits()

    def _reloaded(self, loaded: bool) -> None:
        self.metrics.reloaded(loaded)
        detail = {"receivers": " ".join(self.file.tree.receivers)}
        if not loaded:
            detail = {"error": self.file.error() or ""}
        self._record(
            Record(
                at=dt.datetime.now(dt.UTC),
                actor="notification-service",
                actor_kind="token",
                action="routing file loaded",
                outcome="done" if loaded else "refused",
                target=(self.file.sha256 or "") if loaded else "",
                detail={name: clean(text) for name, text in detail.items()},
            )
        )

    def _on_call(self, schedule: str) -> str | None:
        return self.calendars.receiver(self.file.tree, schedule, self.clock())

    def start(self) -> None:
        for worker in self._workers:
            worker.start()

    def stop(self) -> None:
        """Route and claim nothing more. It does not wait."""
        for worker in self._workers:
            worker.stop()

    def close(self) -> None:
        """Finish what is being done, for some seconds, and close the connections."""
        self.stop()
        deadline = time.monotonic() + _JOIN_SECONDS
        for worker in self._workers:
            worker.join(max(0.0, deadline - time.monotonic()))
        for pool in (self._routing, self._sending):
            pool.abort()  # a database that hangs must not keep the process from ending
            pool.close()

    def alive(self) -> str | None:
        """None while all threads run, else what ended."""
        return next(filter(None, (worker.alive() for worker in self._workers)), None)
