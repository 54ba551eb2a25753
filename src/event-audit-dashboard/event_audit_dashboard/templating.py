"""Filters and globals of all templates."""

import datetime as dt
from typing import Any

from flask import Flask, g

from event_audit_dashboard.assets import Assets
from event_audit_dashboard.presentation import attack, badges, text, times
from event_audit_dashboard.query import MAX_TEXT


def configure(app: Flask, *, assets: Assets, environment: str) -> None:
    """Register filters and globals. An undefined name in a template is an error."""
    env = app.jinja_env
    env.trim_blocks = env.lstrip_blocks = True
    env.filters.update(
        visible=text.visible,
        shorten=text.shorten,
        exact=times.exact,
        clock=times.clock,
        machine=times.machine,
        web_link=badges.web_link,
    )
    env.globals.update(
        asset=assets.url,
        plural=text.plural,
        span=times.span,
        ago=times.ago,
        tag=attack.tag,
        severity=badges.SEVERITY,
        status=badges.STATUS,
        filter_label=badges.filter_label,
        environment=environment,
        max_text=MAX_TEXT,
    )

    @app.context_processor
    def _common() -> dict[str, Any]:
        return {"now": dt.datetime.now(dt.UTC), "user": g.get("user")}
