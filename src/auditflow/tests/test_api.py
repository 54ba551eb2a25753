"""The common parts of the REST APIs: answers, problems, and security headers."""

import asyncio

import msgspec
from quart import Quart
from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound

from auditflow.http import api
from auditflow.http.problem import Problem


def test_an_answer_has_json_a_status_and_headers() -> None:
    assert api.ok(Problem(1, "t"), status=202, X_Total="3") == (
        b'{"status":1,"title":"t"}',
        202,
        {"Content-Type": "application/json", "Cache-Control": "no-store", "X-Total": "3"},
    )
    assert api.ok(b"[1]")[:2] == (b"[1]", 200)
    assert "X-Total" not in api.JSON_HEADERS


def test_a_problem_has_the_title_of_its_status() -> None:
    body, status, headers = api.problem(503, "Repeat it later.", Retry_After=api.RETRY_AFTER)
    assert msgspec.json.decode(body, type=Problem) == Problem(
        503, "Service Unavailable", "Repeat it later."
    )
    assert (status, headers["Retry-After"]) == (503, "2")
    assert headers["Content-Type"] == "application/problem+json"


def test_an_http_error_has_the_text_of_its_status_and_the_allowed_methods() -> None:
    body, status, headers = api.http_problem(MethodNotAllowed(["GET"]), {404: "No such page."})
    assert (status, headers["Allow"], b"No such page" in body) == (405, "GET", False)
    body, status, headers = api.http_problem(NotFound(), {404: "No such page."})
    assert (status, b"No such page" in body, "Allow" in headers) == (404, True, False)
    assert api.http_problem(HTTPException())[1] == 500


def test_all_answers_have_security_headers_and_keep_their_own() -> None:
    app = Quart("test", static_folder=None)
    api.add_security_headers(app)
    app.add_url_rule("/cached", view_func=lambda: ("", 200, {"Cache-Control": "max-age=60"}))

    async def headers_of(path: str) -> tuple[int, str, str]:
        answer = await app.test_client().get(path)
        headers = answer.headers
        return answer.status_code, headers["Cache-Control"], headers["X-Content-Type-Options"]

    assert asyncio.run(headers_of("/cached")) == (200, "max-age=60", "nosniff")
    assert asyncio.run(headers_of("/missing")) == (404, "no-store", "nosniff")
