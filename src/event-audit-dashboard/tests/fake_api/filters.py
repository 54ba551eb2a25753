"""The filter of a list of alerts."""

import datetime as dt
import json
from typing import Any

from auditflow.contract import text_filter

NAMES = {
    "host": "server_hostname",
    "actor": "actor",
    "ip": "client_ip",
    "resource": "resource",
    "environment": "environment",
}


def matches(item: dict[str, Any], args: Any) -> bool:
    """Whether an alert matches the filter of a request."""
    for name in ("status", "severity", "level"):
        if args.get(name) and item[name] not in args[name].split(","):
            return False
    if any(
        args.get(name) and item[field] != text_filter.parse(args[name]).value
        for name, field in NAMES.items()
    ):
        return False
    if "assignee" in args and (item["assignee"] or "") != args["assignee"]:
        return False
    if args.get("rule") and item["rule"]["id"] != args["rule"]:
        return False
    if args.get("since") and dt.datetime.fromisoformat(
        item["last_seen"]
    ) < dt.datetime.fromisoformat(args["since"]):
        return False
    return args.get("q", "").lower() in json.dumps([item["title"], item["description"]]).lower()
