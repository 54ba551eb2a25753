"""``/docs``: the OpenAPI document, shown by Swagger UI. The page loads nothing from elsewhere."""

from functools import cache
from importlib.resources import files
from typing import Final

from quart import Quart
from quart_schema import hide
from werkzeug.exceptions import NotFound

#: File below ``static`` and content type, by the name in the address. ``npm_build_hook.py``
#: installs the files in ``vendor`` when the package is built.
_FILES: Final = {
    "api-page.css": ("api-page.css", "text/css; charset=utf-8"),
    "api-page.js": ("api-page.js", "text/javascript; charset=utf-8"),
    "swagger-ui.css": ("vendor/swagger-ui.css", "text/css; charset=utf-8"),
    "swagger-ui-bundle.js": ("vendor/swagger-ui-bundle.js", "text/javascript; charset=utf-8"),
}
_CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; connect-src 'self'; img-src data:; script-src 'self'; style-src 'self';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

Answer = tuple[bytes, int, dict[str, str]]


def add(app: Quart) -> None:
    """Serve the page and its files."""

    @app.get("/docs")
    @hide
    async def docs() -> Answer:
        return (
            _read("api-page.html"),
            200,
            {
                "Content-Type": "text/html; charset=utf-8",
                "Content-Security-Policy": _CONTENT_SECURITY_POLICY,
            },
        )

    @app.get("/docs/<name>")
    @hide
    async def docs_file(name: str) -> Answer:
        if name not in _FILES:
            raise NotFound
        path, content_type = _FILES[name]
        # The name does not contain the version of the library, so a browser asks again.
        return _read(path), 200, {"Content-Type": content_type, "Cache-Control": "max-age=3600"}


@cache
def _read(path: str) -> bytes:
    return files("notification_service.api").joinpath("static", path).read_bytes()
