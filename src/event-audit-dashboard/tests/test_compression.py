"""Compression of responses, and the masked CSRF token that makes it safe."""

import gzip
import os
import re
from typing import Any

import pytest

from event_audit_dashboard.rendering import csrf
from event_audit_dashboard.rendering.compression import MIN_BYTES

TOKEN = re.compile(r'name="csrf_token" value="([^"]+)"')
STATIC = re.compile(r'(?:src|href)="(/static/[^"]+)"')
GZIP = {"Accept-Encoding": "gzip, br"}
#: Maximum size of a page as it is transferred, in bytes.
MAX_BYTES = 100_000


def test_pages_are_compressed_for_clients_that_accept_it(analyst: Any, many: Any) -> None:
    plain = analyst.get("/alerts")
    assert "Content-Encoding" not in plain.headers
    packed = analyst.get("/alerts", headers=GZIP)
    assert packed.headers["Content-Encoding"] == "gzip"
    assert "Accept-Encoding" in packed.headers["Vary"]
    assert int(packed.headers["Content-Length"]) == len(packed.data) < len(plain.data) / 3
    assert gzip.decompress(packed.data).decode().count("<tr id=") == 50
    refused = analyst.get("/alerts", headers={"Accept-Encoding": "gzip;q=0"})
    assert "Content-Encoding" not in refused.headers


def test_small_responses_and_not_modified_ones_are_not_compressed(analyst: Any, many: Any) -> None:
    health = analyst.get("/healthz", headers=GZIP)
    assert len(health.data) < MIN_BYTES
    assert "Content-Encoding" not in health.headers
    live = analyst.get("/alerts/live", headers=GZIP)
    assert live.headers["Content-Encoding"] == "gzip"
    again = analyst.get("/alerts/live", headers={**GZIP, "If-None-Match": live.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")


def test_static_files_are_compressed(analyst: Any, many: Any) -> None:
    url = re.search(r'/static/[^"]+/htmx\.min\.js', analyst.get("/alerts").text)
    assert url
    packed = analyst.get(url[0], headers=GZIP)
    assert packed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed.data) == analyst.get(url[0]).data
    assert packed.headers["Vary"] == "Accept-Encoding"  # the cache is the same for all sessions


def test_no_page_is_larger_than_100_kb(analyst: Any, attacked: Any) -> None:
    attacked.alerts[0] |= {
        "description": os.urandom(100_000).hex(),
        "resource": os.urandom(100_000).hex(),
        "title": os.urandom(100_000).hex(),
    }
    paths = ["/alerts", *(f"/alerts/{item['alert_id']}" for item in attacked.alerts)]
    for path in paths:
        assert len(analyst.get(path, headers=GZIP).data) < MAX_BYTES, path


def test_no_page_with_its_scripts_and_styles_is_larger_than_100_kb(
    make: Any, user: Any, many: Any
) -> None:
    app = make(with_archive=True)
    analyst = user(app)
    analyst.sign_in()
    rules = [rule for rule in app.url_map.iter_rules() if "GET" in rule.methods]
    paths = {rule.rule for rule in rules if not rule.arguments} | {
        f"/alerts/{many.alerts[0]['alert_id']}",
        "/pipeline/dead-letters/audit_events",
    }
    sizes = {}
    for path in paths:
        page = analyst.get(path, headers=GZIP)
        if page.mimetype != "text/html" or page.status_code in {302, 303}:
            continue
        # Scripts import ago.js and poll.js.
        static = {*STATIC.findall(gzip.decompress(page.data).decode())}
        static |= {
            f"{url.rpartition('/')[0]}/{name}" for url in static for name in ("ago.js", "poll.js")
        }
        sizes[path] = len(page.data) + sum(
            len(analyst.get(url, headers=GZIP).data) for url in static
        )
    assert len(sizes) >= 15, sizes
    assert max(sizes.values()) < MAX_BYTES, sizes
    assert sizes["/settings"] > 20_000, "scripts and styles are not counted"


def test_the_csrf_token_differs_in_every_response_and_is_accepted(analyst: Any, many: Any) -> None:
    tokens = [TOKEN.findall(analyst.get("/settings").text)[0] for _ in range(2)]
    halves = {token[:40] for token in tokens} | {token[-40:] for token in tokens}
    assert len(halves) == 4
    assert len({str(csrf.unmask(token)).partition(".")[0] for token in tokens}) == 1
    for token in tokens:
        data = {"csrf_token": token, "zone": "Asia/Tokyo"}
        assert analyst.http.post("/settings/time-zone", data=data).status_code == 303


@pytest.mark.parametrize("given", ["", "x", "a" * 81, "é", "AAAA", "%%%%"])
def test_a_token_that_is_not_masked_is_rejected(analyst: Any, many: Any, given: str) -> None:
    unmasked = csrf.unmask(analyst.token("/settings"))
    for token in (given, unmasked):
        rejected = analyst.http.post("/settings/time-zone", data={"csrf_token": token})
        assert rejected.status_code == 400


def test_masks_are_reversible() -> None:
    assert csrf.unmask(csrf.mask("abc.def")) == "abc.def"
    assert csrf.mask("abc.def") != csrf.mask("abc.def")
