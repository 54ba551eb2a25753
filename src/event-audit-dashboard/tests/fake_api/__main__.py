"""Starts the server with a dashboard, and adds an alert every 20 seconds."""

import datetime as dt
import os
import subprocess
import sys
import time

from . import TOKEN, FakeApi, alert, hostile, stamp


def main() -> None:
    """Run until Ctrl-C."""
    api = FakeApi()
    start = dt.datetime.now(dt.UTC)
    api.alerts = [*hostile(start), *(alert(number, now=start) for number in range(60))]
    settings = {
        "HOST": "127.0.0.1",
        "API_TOKEN": TOKEN,
        "DASHBOARD_PASSWORD": "admin",
        "NOTIFICATION_SERVICE_HOST": "127.0.0.1",
        "NOTIFICATION_SERVICE_PORT": str(api.port),
        "SESSION_SECRET": "not-secret-not-secret-not-secret-",
    }
    print("http://127.0.0.1:8080, user admin, password admin")  # noqa: T201
    program = "from event_audit_dashboard.main import main; main()"
    with subprocess.Popen(
        [sys.executable, "-c", program], env={**os.environ, **settings}
    ) as process:
        try:
            for number in range(2000, 3000):
                time.sleep(20)
                now = dt.datetime.now(dt.UTC)
                api.alerts.append(
                    alert(number, now=now, last_seen=stamp(now), first_seen=stamp(now))
                )
        except KeyboardInterrupt:
            process.wait(60)
        finally:
            api.stop()


if __name__ == "__main__":
    main()
