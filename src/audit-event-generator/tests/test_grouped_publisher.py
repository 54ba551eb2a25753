"""Concurrent requests are published together, and each one is answered for itself."""

import asyncio
import threading
from collections.abc import Sequence
from concurrent.futures import Future

import pytest

from audit_event_generator import grouped_publisher
from audit_event_generator.grouped_publisher import GroupedPublisher
from auditflow.amqp import Message
from auditflow.errors import PublishError


class ManualBroker:
    """Records the submitted groups. The test completes their futures."""

    def __init__(self) -> None:
        self.calls: list[list[Sequence[Message]]] = []
        self.results: list[Future[None]] = []
        self.unavailable = False

    def submit_each(self, groups: Sequence[Sequence[Message]]) -> list[Future[None]]:
        if self.unavailable:
            raise PublishError("not connected")
        self.calls.append(list(groups))
        results: list[Future[None]] = [Future() for _ in groups]
        self.results += results
        return results


def message(name: str, *, size: int = 1) -> Message:
    return Message(exchange="audit", routing_key="event.api", body=b"x" * size, message_id=name)


async def started(broker: ManualBroker, *tasks: "asyncio.Task[None]") -> None:
    while len(broker.results) < len(tasks):  # noqa: ASYNC110 - the loop must run its callbacks
        await asyncio.sleep(0)


def test_concurrent_requests_are_one_submission() -> None:
    async def run() -> ManualBroker:
        broker = ManualBroker()
        publisher = GroupedPublisher(broker)
        tasks = [asyncio.create_task(publisher.publish([message(str(n))])) for n in range(5)]
        await started(broker, *tasks)
        for result in broker.results:
            result.set_result(None)
        await asyncio.gather(*tasks)
        return broker

    broker = asyncio.run(run())

    assert [len(call) for call in broker.calls] == [5]


def test_each_request_gets_its_own_result() -> None:
    async def run() -> list[bool]:
        broker = ManualBroker()
        publisher = GroupedPublisher(broker)
        tasks = [asyncio.create_task(publisher.publish([message(str(n))])) for n in range(3)]
        await started(broker, *tasks)
        # the publisher's thread confirms the third and refuses the second
        thread = threading.Thread(
            target=lambda: (
                broker.results[2].set_result(None),
                broker.results[1].set_exception(PublishError("full")),
            )
        )
        thread.start()
        await asyncio.wait(tasks[1:])
        thread.join()
        first_waits = not tasks[0].done()
        failed = isinstance(tasks[1].exception(), PublishError)
        broker.results[0].set_result(None)
        await tasks[0]
        return [first_waits, failed, tasks[2].exception() is None]

    assert asyncio.run(run()) == [True, True, True]


def test_unavailable_broker_fails_every_request() -> None:
    async def run() -> list[BaseException | None]:
        broker = ManualBroker()
        broker.unavailable = True
        publisher = GroupedPublisher(broker)
        tasks = [asyncio.create_task(publisher.publish([message(str(n))])) for n in range(3)]
        return list(await asyncio.gather(*tasks, return_exceptions=True))

    assert all(isinstance(error, PublishError) for error in asyncio.run(run()))


def test_wait_for_a_confirm_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grouped_publisher, "CONFIRM_SECONDS", 0.01)

    async def run() -> None:
        await GroupedPublisher(ManualBroker()).publish([message("1")])

    with pytest.raises(PublishError, match="no confirm within"):
        asyncio.run(run())


def test_unconfirmed_bytes_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grouped_publisher, "MAX_UNCONFIRMED_BYTES", 100)
    monkeypatch.setattr(grouped_publisher, "CONFIRM_SECONDS", 0.05)

    async def run() -> None:
        broker = ManualBroker()
        publisher = GroupedPublisher(broker)
        # a single request may be larger than the limit
        large = asyncio.create_task(publisher.publish([message("1", size=150)]))
        await started(broker, large)
        with pytest.raises(PublishError, match="too many bytes"):
            await publisher.publish([message("2")])
        # a request that timed out still counts: the broker may hold it
        with pytest.raises(PublishError, match="no confirm"):
            await large
        with pytest.raises(PublishError, match="too many bytes"):
            await publisher.publish([message("3")])
        # a late confirm makes room
        broker.results[0].set_result(None)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        last = asyncio.create_task(publisher.publish([message("4")]))
        await started(broker, large, last)
        broker.results[1].set_result(None)
        await last

    asyncio.run(run())


def test_more_messages_than_a_window_are_published_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grouped_publisher, "WINDOW", 2)

    async def run() -> ManualBroker:
        broker = ManualBroker()
        task = asyncio.create_task(
            GroupedPublisher(broker).publish([message(str(n)) for n in range(5)])
        )
        for count in (1, 2, 3):
            while len(broker.results) < count:  # noqa: ASYNC110
                await asyncio.sleep(0)
            assert not task.done()
            broker.results[-1].set_result(None)
        await task
        return broker

    broker = asyncio.run(run())
    assert [[len(group) for group in call] for call in broker.calls] == [[2], [2], [1]]
