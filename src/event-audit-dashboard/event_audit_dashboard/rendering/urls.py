"""URLs of this application. A page has up to 60 of them, and building one has a cost."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final
from urllib.parse import quote, urlencode

from flask import current_app, request, url_for

#: Maximum number of URLs without parameters that are kept. Applications in tests add theirs.
_MAX_URLS: Final = 1_000
#: Characters that Werkzeug does not quote in a path, and in a parameter.
_OF_PATHS: Final = "!$&'()*+,/:;=@"
_OF_PARAMETERS: Final = "!$'()*,/:;?@"


def cached_url_for(endpoint: str, **values: Any) -> str:
    """The same as Flask's ``url_for``. URLs without parameters are built once."""
    if values or endpoint.startswith("."):
        return url_for(endpoint, **values)
    return _built(current_app.name, request.script_root, endpoint)


@lru_cache(_MAX_URLS)
def _built(application: str, root: str, endpoint: str) -> str:
    """``application`` and ``root``, the prefix of all its paths, only belong to the key."""
    del application, root
    return url_for(endpoint)


def urls_of_records(alert_id: str) -> Callable[[str], str]:
    """Builds the URL of each event of an alert. The route is looked up once."""
    start = url_for("alert.event", alert_id=alert_id, event_id="-").removesuffix("-")
    return lambda event_id: start + quote(event_id, safe=_OF_PATHS)


def url_of_archived(event_id: str) -> str:
    """The URL of an event in the archive."""
    return f"{cached_url_for('events.detail')}?{urlencode({'id': event_id}, safe=_OF_PARAMETERS)}"
