"""URLs of this application. A page has up to 60 of them, and building one has a cost."""

from functools import lru_cache
from typing import Any, Final

from flask import current_app, request, url_for

#: Maximum number of URLs without parameters that are kept. Applications in tests add theirs.
_MAX_URLS: Final = 1_000


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
