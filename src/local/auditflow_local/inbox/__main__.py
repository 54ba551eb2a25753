"""``python -m auditflow_local.inbox``: runs the demo receiver until it is stopped."""

import logging
import os
from pathlib import Path

from werkzeug.serving import make_server

from auditflow_local.inbox.app import Inbox, create


def main() -> None:
    """Serve on the loopback address, as the environment says."""
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    key = Path(os.environ["INBOX_KEY_FILE"]).read_text("utf-8").strip().encode()
    app = create(Inbox(Path(os.environ["INBOX_FILE"])), key)
    make_server("127.0.0.1", int(os.environ["INBOX_PORT"]), app, threaded=True).serve_forever()


if __name__ == "__main__":
    main()
