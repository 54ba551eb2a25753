"""Makes the screenshots of the docs from a running demo: `make up`, then `make screenshots`.

Sends failed logins and other events to the demo, waits for their alerts, and writes the main pages
in light and dark colours to `docs/screenshots`.
"""

import datetime as dt
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import httpx
from playwright.sync_api import Page, sync_playwright

ROOT: Final = Path(__file__).resolve().parents[2]
FOLDER: Final = ROOT / "docs/screenshots"
CHROMIUM: Final = "/usr/bin/chromium"
SIZE: Final[Any] = {"width": 1280, "height": 800}
RULE: Final = "3f0c2a52-7e0f-4d53-8f4e-0d0f5f1f9a01"
#: Name of the image and path of the page. ``{alert}`` is an alert of failed logins.
PAGES: Final = {
    "overview": "/overview",
    "alerts": "/alerts?status=open%2Cacknowledged",
    "alert": "/alerts/{alert}",
    "entity": "/entity?kind=user&value=alice",
    "rules": "/rules",
    "rule": f"/rules/detail?id={RULE}",
    "notifications": "/notifications?level=critical",
    "pipeline": "/pipeline",
}
_WAIT_SECONDS: Final = 60


def main() -> None:
    """The command. The addresses are those of `make up`, or of the environment."""
    secrets = ROOT / ".auditflow/secrets"
    settings = _read_environment(ROOT / ".auditflow/env")
    dashboard = os.environ.get(
        "DASHBOARD_URL", f"http://localhost:{os.environ.get('AUDITFLOW_PORT_DASHBOARD', '30080')}"
    )
    _send_events(settings)
    alert = _wait_for_alert(settings)
    FOLDER.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        for scheme in ("light", "dark"):
            context = browser.new_context(
                viewport=SIZE, color_scheme=scheme, timezone_id="Europe/Berlin"
            )
            page = context.new_page()
            _sign_in(page, dashboard, (secrets / "DASHBOARD_PASSWORD").read_text().strip())
            for name, path in PAGES.items():
                page.goto(dashboard + path.format(alert=alert))
                page.wait_for_load_state("networkidle")
                file = FOLDER / f"{name}-{scheme}.png"
                page.screenshot(path=str(file))
                sys.stdout.write(f"{file.relative_to(ROOT)}\n")
            context.close()
        browser.close()


def events(now: dt.datetime) -> Iterator[dict[str, Any]]:
    """Failed logins of three users, a login as root, and a changed file."""
    for index, user in enumerate(("alice", "bob", "carol")):
        for number in range(5 + index):
            yield {
                "event_type": "user_login",
                "action_result": "FAILURE",
                "user_id": user,
                "server_hostname": f"web-0{index + 1}",
                "client_ip": f"203.0.113.{index + 7}",
                "timestamp": (now - dt.timedelta(seconds=60 - number * 4)).isoformat(),
            }
    yield {
        "event_type": "file_modified",
        "action_result": "SUCCESS",
        "user_id": "alice",
        "server_hostname": "web-01",
        "resource": "/etc/passwd",
        "timestamp": (now - dt.timedelta(seconds=20)).isoformat(),
    }


def _send_events(settings: dict[str, str]) -> None:
    headers = {"Authorization": f"Bearer {settings['INGEST_TOKEN']}"}
    with httpx.Client(base_url=settings["INGEST_URL"], headers=headers) as client:
        for event in events(dt.datetime.now(dt.UTC)):
            client.post("/generate_event", json=event).raise_for_status()


def _wait_for_alert(settings: dict[str, str]) -> str:
    headers = {"Authorization": f"Bearer {settings['API_TOKEN']}"}
    deadline = time.monotonic() + _WAIT_SECONDS
    with httpx.Client(base_url=settings["API_URL"], headers=headers) as client:
        while time.monotonic() < deadline:
            query = {"rule": RULE, "actor": "alice", "limit": "1"}
            found = client.get("/api/v1/alerts", params=query).raise_for_status().json()["alerts"]
            if found:
                return str(found[0]["alert_id"])
            time.sleep(0.5)
    raise SystemExit(f"no alert of the rule {RULE} in {_WAIT_SECONDS} s; is `make up` running?")


def _sign_in(page: Page, dashboard: str, password: str) -> None:
    page.goto(f"{dashboard}/login")
    page.get_by_label("User").fill("admin")
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/alerts**")


def _read_environment(file: Path) -> dict[str, str]:
    if not file.is_file():
        raise SystemExit(f"{file} is missing: start the demo with `make up DETACH=1`")
    lines = [line for line in file.read_text("utf-8").splitlines() if "=" in line]
    return dict(line.split("=", 1) for line in lines if not line.startswith("#"))


if __name__ == "__main__":
    main()
