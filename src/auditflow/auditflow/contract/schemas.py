"""The published contract: JSON Schemas and an AsyncAPI document, generated from the Structs.

``make schemas`` writes the documents to docs/contracts. A test compares the two.
"""

import inspect
import json
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any, Final

import msgspec

from auditflow.amqp import topology
from auditflow.contract import finding_message
from auditflow.contract.event import Event
from auditflow.contract.finding import Finding
from auditflow.contract.ledger_report import LedgerReport

_SCHEMA: Final = "https://json-schema.org/draft/2020-12/schema"
_KINDS: Final[Mapping[str, type[msgspec.Struct]]] = {
    "event": Event,
    "finding": Finding,
    "ledger": LedgerReport,
}


def documents() -> dict[str, str]:
    """File name and text of each document."""
    texts = {f"{name}.schema.json": schema(name) for name in _KINDS}
    return {
        name: json.dumps(document, indent=2, ensure_ascii=False) + "\n"
        for name, document in {**texts, "asyncapi.json": asyncapi()}.items()
    }


def schema(name: str) -> dict[str, Any]:
    """The JSON Schema (2020-12) of a message, with all its definitions."""
    kind = _KINDS[name]
    (root,), parts = msgspec.json.schema_components([kind], ref_template="#/$defs/{name}")
    own = parts.pop(kind.__name__)
    del root  # a reference to the definition that is the top level here
    for part in (own, *parts.values()):
        if "description" in part:
            part["description"] = inspect.cleandoc(part["description"])
    return {
        "$schema": _SCHEMA,
        "$id": f"https://raw.githubusercontent.com/jojees/project-genesis/main/docs/contracts/{name}.schema.json",
        **own,
        **({"$defs": parts} if parts else {}),
    }


def asyncapi() -> dict[str, Any]:
    """The AsyncAPI 3.0 document: the queues, their messages, senders and receivers."""
    channels = {
        queue.name: {
            "address": queue.name,
            "title": title,
            "description": description,
            "messages": {name: {"$ref": f"#/components/messages/{name}"}},
            "bindings": {
                "amqp": {
                    "is": "queue",
                    "queue": {"name": queue.name, "durable": True, "vhost": "/"},
                    "bindingVersion": "0.3.0",
                }
            },
        }
        for queue, name, title, description in (
            (topology.QUEUES[0], "events", "Audit events", "One event, or an array of them."),
            (
                topology.QUEUES[1],
                "finding",
                "Findings",
                "One finding, or an array of them. Versions of a finding are merged.",
            ),
        )
    }
    events = {
        "oneOf": [
            {"$ref": "./event.schema.json"},
            {"type": "array", "items": {"$ref": "./event.schema.json"}},
        ]
    }
    finding = {"$ref": "./finding.schema.json"}
    headers = {"type": "object", "additionalProperties": {"type": ["string", "integer"]}}
    listed = {
        "type": "object",
        "description": "A finding, and the headers of a message with only this finding.",
        "properties": {"finding": finding, "headers": headers},
        "required": ["finding"],
    }
    findings = {
        "oneOf": [
            finding,
            {
                "type": "array",
                "minItems": 1,
                "maxItems": finding_message.MAX_FINDINGS,
                "items": {"oneOf": [listed, finding]},
            },
        ]
    }
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "AuditFlow",
            "version": version("auditflow"),
            "description": "Events in, findings out. Each queue has a dead-letter queue (.dlq).",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {"broker": {"host": "rabbitmq:5672", "protocol": "amqp"}},
        "channels": channels,
        "operations": {
            "sendEvents": _operation("send", topology.EVENTS, "The ingest, or any source."),
            "receiveEvents": _operation("receive", topology.EVENTS, "The analysis."),
            "sendFinding": _operation("send", topology.FINDINGS, "The analysis."),
            "receiveFinding": _operation("receive", topology.FINDINGS, "The alert store."),
        },
        "components": {
            "messages": {
                "events": _message("Events", events),
                "finding": _message("Finding", findings),
            }
        },
    }


def _operation(action: str, channel: str, summary: str) -> dict[str, Any]:
    return {"action": action, "channel": {"$ref": f"#/channels/{channel}"}, "summary": summary}


def _message(title: str, payload: dict[str, Any]) -> dict[str, Any]:
    return {
        "title": title,
        "contentType": "application/json",
        "headers": {
            "type": "object",
            "properties": {
                "traceparent": {"type": "string", "description": "W3C trace context"},
            },
        },
        "payload": payload,
    }
