"""Connections to the test broker."""

from collections.abc import Callable
from typing import Any

import pika
import pytest

Parameters = Callable[[str], pika.ConnectionParameters]


@pytest.fixture
def parameters(rabbitmq: Any) -> Parameters:
    """The connection parameters of a user."""
    return lambda user: pika.URLParameters(rabbitmq.url(user))
