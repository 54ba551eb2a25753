"""Static files. They need no session."""

from flask import Blueprint, Response, abort

from event_audit_dashboard.rendering.assets import Assets
from event_audit_dashboard.rendering.compression import accepts_gzip


def blueprint(assets: Assets) -> Blueprint:
    """``/static/<version>/<name>``."""
    pages = Blueprint("assets", __name__)

    @pages.get("/static/<version>/<name>")
    def file(version: str, name: str) -> Response:
        asset = assets.get(name)
        if asset is None:
            abort(404)
        # During a roll-out, a page of the old version may request files of the new version.
        current = version == assets.version
        cache_control = "public, max-age=31536000, immutable" if current else "no-store"
        headers = {"Cache-Control": cache_control}
        if accepts_gzip():
            headers["Content-Encoding"] = "gzip"
        content = asset.compressed if accepts_gzip() else asset.content
        return Response(content, content_type=asset.content_type, headers=headers)

    return pages
