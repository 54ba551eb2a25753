"""The demo receiver as a process, and the routing file that leads to it."""

import sys
from pathlib import Path
from typing import ClassVar, Final

from auditflow_local import secrets
from auditflow_local.processes import Command, environment, http_ok
from auditflow_local.servers.base import Server

#: What a person may edit: ``make up`` writes it once.
ROUTES: Final = """\
# Where notifications go. The service reads this file again when it changes.
# `.venv/bin/auditflow routes lint FILE` checks it; docs/how-to/send-notifications.md explains it.
route:
  receiver: inbox
  group_by: [rule]
  group_wait: 10s
  group_interval: 1m
  repeat_interval: 4h
receivers:
- name: inbox # the page that `make up` prints
  webhook:
    url_secret: INBOX_URL
    key_secret: INBOX_KEY
"""


class InboxServer(Server):
    """Receives notifications by webhook, and shows them on a page."""

    name: ClassVar[str] = "inbox"

    def __init__(
        self, folder: Path, *, port: int, key: str, routes: Path, receiver_secrets: Path,
        log: Path | None = None,
    ) -> None:  # fmt: skip
        """``routes`` is the folder of the routing file, ``receiver_secrets`` that of secrets."""
        super().__init__(folder, port=port, log=log)
        self._key = key
        self.routes_file = routes / "routes.yaml"
        self.receiver_secrets = receiver_secrets

    @property
    def url(self) -> str:
        return f"http://localhost:{self.port}"

    def ready(self) -> bool:
        return http_ok(self.host, self.port, "/")

    def prepare(self) -> None:
        """Write what the notification-service needs: the routing file, once, and the secrets."""
        secrets.make_private(self.receiver_secrets)
        secrets.write_file(
            self.receiver_secrets / "INBOX_URL", f"http://127.0.0.1:{self.port}/notifications\n"
        )
        secrets.write_file(self.receiver_secrets / "INBOX_KEY", self._key + "\n")
        if not self.routes_file.exists():
            self.routes_file.parent.mkdir(parents=True, exist_ok=True)
            self.routes_file.write_text(ROUTES, "utf-8")

    def variables(self, dashboard_url: str) -> dict[str, str]:
        """The settings with which the notification-service sends to this server."""
        return {
            "ROUTES_FILE": str(self.routes_file),
            "RECEIVER_SECRETS_DIR": str(self.receiver_secrets),
            "WEBHOOK_ALLOWED_NETWORKS": "127.0.0.0/8,::1/128",
            "DASHBOARD_URL": dashboard_url,
        }

    def _command(self) -> Command:
        return Command(
            argv=(sys.executable, "-m", "auditflow_local.inbox"),
            env=environment(
                INBOX_PORT=str(self.port),
                INBOX_FILE=str(self.folder / "notifications.jsonl"),
                INBOX_KEY_FILE=str(self.receiver_secrets / "INBOX_KEY"),
            ),
        )
