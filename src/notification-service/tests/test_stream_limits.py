"""One caller cannot use all streams and exports of a replica, and a closed stream is released."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from auditflow.contract.access import USER_HEADER, Role
from notification_service.api.caller_limit import CallerLimit, StreamBody
from notification_service.api.callers import Caller, TooManyRequests
from notification_service.api.feeds import STREAMS
from notification_service.database.change_feed import MAX_VIEWERS
from notification_service.history import Actor


async def parts() -> AsyncIterator[bytes]:
    yield b"first"
    yield b"second"


def caller(name: str, *, is_service: bool = False) -> Caller:
    return Caller(actor=Actor(name, "person"), role=Role.VIEWER, is_service=is_service)


def test_a_caller_is_limited_until_a_response_ends() -> None:
    limit = CallerLimit(1)
    leave = limit.enter(caller("alice"))
    with pytest.raises(TooManyRequests):
        limit.enter(caller("alice"))
    limit.enter(caller("bob"))
    leave()
    limit.enter(caller("alice"))


def test_the_service_itself_is_not_limited() -> None:
    limit = CallerLimit(1)
    for _ in range(3):
        limit.enter(caller("service", is_service=True))


def test_a_body_that_is_never_sent_is_released() -> None:
    ended: list[str] = []
    body = StreamBody(parts(), lambda: ended.append("a"))
    asyncio.run(body.aclose())
    assert ended == ["a"]
    dropped = StreamBody(parts(), lambda: ended.append("b"))
    del dropped
    assert ended == ["a", "b"]


def test_a_body_is_released_once() -> None:
    ended: list[str] = []

    async def send() -> None:
        body = StreamBody(parts(), lambda: ended.append("a"))
        assert [part async for part in body] == [b"first", b"second"]
        await body.aclose()
        body.end()

    asyncio.run(send())
    assert ended == ["a"]


def test_streams_of_one_person_leave_room_for_others(api: httpx.Client, eventually: Any) -> None:
    def status(person: str) -> int:
        headers = {USER_HEADER: person}
        with api.stream("GET", "/api/v1/alerts/stream", headers=headers) as answer:
            return answer.status_code

    # Given as many open streams of a person as permitted
    request = api.build_request("GET", "/api/v1/alerts/stream", headers={USER_HEADER: "mallory"})
    opened = [api.send(request, stream=True) for _ in range(STREAMS)]
    assert {answer.status_code for answer in opened} == {200}

    # Then a further one is refused, others are served, and it is accepted after one has ended
    assert status("mallory") == 429
    assert status("alice") == 200
    assert api.get("/api/v1/alerts").status_code == 200
    for answer in opened:
        answer.close()
    eventually(lambda: status("mallory") == 200)


def test_connections_that_are_reset_use_no_stream(
    api: httpx.Client, service: Any, service_secrets: dict[str, str], eventually: Any
) -> None:
    # Given more streams than permitted, whose clients disconnect at once
    head = (
        f"GET /api/v1/alerts/stream HTTP/1.1\r\nHost: localhost\r\n"
        f"Authorization: Bearer {service_secrets['API_TOKEN']}\r\n\r\n"
    )
    for _ in range(2 * MAX_VIEWERS):
        with socket.create_connection(("127.0.0.1", service.port), timeout=60) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.sendall(head.encode())

    # Then the replica serves the maximum number of streams
    def opened() -> bool:
        request = api.build_request("GET", "/api/v1/alerts/stream")
        answers = [api.send(request, stream=True) for _ in range(60)]
        for answer in answers:
            answer.close()
        return {answer.status_code for answer in answers} == {200}

    eventually(opened)
