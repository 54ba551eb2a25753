"""RabbitMQ's definitions: the topology, and one user with minimum permissions per service."""

import base64
import hashlib
import secrets
from collections.abc import Mapping
from typing import Any

from auditflow.amqp import topology
from provisioning.accounts import BROKER_USERS


def definitions(passwords: Mapping[str, str], *, vhost: str = "/") -> dict[str, Any]:
    """The document for RabbitMQ's ``load_definitions``.

    ``passwords`` maps user names to passwords. The document contains only salted hashes.

    Raises:
        ValueError: a user name is unknown.
    """
    unknown = passwords.keys() - BROKER_USERS.keys()
    if unknown:
        raise ValueError(f"unknown users: {', '.join(sorted(unknown))}")
    return {
        "vhosts": [{"name": vhost}],
        "users": [_user(name, password) for name, password in passwords.items()],
        "permissions": [_permissions(name, vhost) for name in passwords],
        "topic_permissions": [
            _topic_permissions(name, vhost)
            for name in passwords
            if BROKER_USERS[name].topics is not None
        ],
        **topology.definitions(vhost=vhost),
    }


def _user(name: str, password: str) -> dict[str, Any]:
    # RabbitMQ's salted form: base64(salt + sha256(salt + password)).
    salt = secrets.token_bytes(4)
    digest = hashlib.sha256(salt + password.encode()).digest()
    return {
        "name": name,
        "password_hash": base64.b64encode(salt + digest).decode(),
        "hashing_algorithm": "rabbit_password_hashing_sha256",
        "tags": list(BROKER_USERS[name].tags),
        "limits": {},
    }


def _permissions(name: str, vhost: str) -> dict[str, str]:
    user = BROKER_USERS[name]
    return {
        "vhost": vhost,
        "user": name,
        "configure": user.configure,
        "write": user.write,
        "read": user.read,
    }


def _topic_permissions(name: str, vhost: str) -> dict[str, str]:
    topics = BROKER_USERS[name].topics
    assert topics is not None
    return {
        "vhost": vhost,
        "user": name,
        "exchange": topology.EXCHANGE,
        "write": topics.write,
        "read": topics.read,
    }
