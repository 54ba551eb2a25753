"""Minimal web applications, as upper limits for the services' HTTP APIs.

``python -m hypercorn src.tests.bench.bare_http:quart_app`` serves them as the services are served.
"""

from __future__ import annotations

import asyncio
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pika
from flask import Flask
from quart import Quart, request

_HELLO = "Hello"

quart_app = Quart(__name__)
flask_app = Flask(__name__)
_local = threading.local()
_pool = ThreadPoolExecutor(16, thread_name_prefix="publish")


@quart_app.get("/")
async def quart_hello() -> str:
    """Answer with a constant."""
    return _HELLO


@quart_app.post("/publish")
async def quart_publish() -> tuple[str, int]:
    """Publish the body and answer when the broker has confirmed it."""
    body = await request.get_data()
    await asyncio.get_running_loop().run_in_executor(_pool, _publish, body)
    return "", 202


@flask_app.get("/")
def flask_hello() -> str:
    """Answer with a constant."""
    return _HELLO


def _publish(body: Any) -> None:
    _channel().basic_publish(
        "", os.environ["BENCH_QUEUE"], body, pika.BasicProperties(delivery_mode=2), mandatory=True
    )


def _channel() -> Any:
    if not hasattr(_local, "channel"):
        connection = pika.BlockingConnection(pika.URLParameters(os.environ["BENCH_BROKER"]))
        _local.channel = connection.channel()
        _local.channel.confirm_delivery()
    return _local.channel
