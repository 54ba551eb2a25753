"""Builds the Flask application from its parts."""

from flask import Flask, request
from jinja2 import StrictUndefined
from prometheus_client import CollectorRegistry
from redis import Redis
from werkzeug.middleware.proxy_fix import ProxyFix

from auditflow.http import middleware, probes
from auditflow.http.health import Health
from event_audit_dashboard.access import auth
from event_audit_dashboard.access.audit_reports import NoReports, Reports
from event_audit_dashboard.access.local_sign_in import LocalSignIn
from event_audit_dashboard.access.login_throttle import LoginThrottle
from event_audit_dashboard.access.oidc import OidcProvider
from event_audit_dashboard.access.roles import Roles
from event_audit_dashboard.access.second_factors import SecondFactors
from event_audit_dashboard.access.session_cache import CachedSessions
from event_audit_dashboard.access.sessions import MemorySessions, RedisSessions, SessionStore
from event_audit_dashboard.access.totp import SecretBox
from event_audit_dashboard.apis.administration import AdminApi
from event_audit_dashboard.apis.client import ApiClient
from event_audit_dashboard.apis.events import EventsApi
from event_audit_dashboard.apis.notification_service import NotificationService
from event_audit_dashboard.apis.notifications import NotificationsApi
from event_audit_dashboard.apis.pipeline import PipelineApi
from event_audit_dashboard.apis.rules import RulesApi
from event_audit_dashboard.archived_rows import ArchivedRows
from event_audit_dashboard.health_of_parts import PartsHealth
from event_audit_dashboard.ledgers import Ledgers
from event_audit_dashboard.localization import languages
from event_audit_dashboard.localization.translation import N_
from event_audit_dashboard.metrics import Metrics
from event_audit_dashboard.rendering import compression, headers, templating
from event_audit_dashboard.rendering.assets import Assets
from event_audit_dashboard.rendering.constant_calls import ConstantCallEnvironment
from event_audit_dashboard.rendering.csrf import MaskedCSRFProtect
from event_audit_dashboard.rendering.last_pages import LastPages
from event_audit_dashboard.rendering.page_cache import PageCache
from event_audit_dashboard.rendering.rows import RowRenderer
from event_audit_dashboard.runbooks import Runbooks
from event_audit_dashboard.saved_views import SavedViews
from event_audit_dashboard.settings import DashboardSettings
from event_audit_dashboard.views import (
    administration,
    alert,
    alerts,
    audit_trail,
    entity,
    errors,
    event_search,
    home,
    notifications,
    oidc,
    overview,
    pipeline,
    rules,
    saved_views,
    second_factor,
    sign_in,
    silences,
    status,
    triage,
)
from event_audit_dashboard.views import assets as asset_views
from event_audit_dashboard.views import settings as settings_views

SERVICE = "event-audit-dashboard"
#: Maximum size of a form, in bytes.
MAX_FORM_BYTES = 64 * 1024


class _Dashboard(Flask):
    jinja_environment = ConstantCallEnvironment


def create(
    settings: DashboardSettings,
    *,
    api: NotificationService,
    analysis: ApiClient,
    health: Health,
    registry: CollectorRegistry,
    metrics: Metrics,
    events: ApiClient | None = None,
    client: "Redis | None" = None,
    reports: Reports | None = None,
) -> Flask:
    """Return the application. It keeps only the hash of the password.

    ``client`` connects to Redis, for sessions and the login throttle. Without it they are in
    memory.
    """
    app = _Dashboard(__name__, static_folder=None)
    app.config.update(MAX_CONTENT_LENGTH=MAX_FORM_BYTES, WTF_CSRF_TIME_LIMIT=None)
    app.jinja_env.undefined = StrictUndefined
    middleware.instrument(app, metrics.http, request=request)
    languages.add(app)  # first: errors of the following steps are shown in this language
    if settings.trusted_proxies:
        count = settings.trusted_proxies
        app.wsgi_app = ProxyFix(  # type: ignore[method-assign]
            app.wsgi_app, x_for=count, x_proto=count, x_host=count
        )
    # Flask calls these functions in reverse order: a page is kept after its compression.
    last_pages = LastPages(app)
    compression.add(app)
    headers.add(app)
    account = _configure_sign_in(app, settings)
    roles = Roles(api)
    store: SessionStore = (
        MemorySessions() if client is None else CachedSessions(RedisSessions(client))
    )
    sessions = auth.Sessions(app, store, roles)
    csrf = MaskedCSRFProtect(app)  # after the sessions: the error page depends on who is signed in
    assets = Assets()
    templating.configure(app, assets=assets, environment=settings.environment)
    app.jinja_env.globals["entity_url"] = entity.url
    alert_rows = RowRenderer(app.jinja_env.get_template("_row.html"), decode=api.decode_alert)
    errors.add(app, last_pages)
    app.register_blueprint(asset_views.blueprint(assets))
    _add_sign_in(
        app, settings, api, metrics, account=account, sessions=sessions, roles=roles,
        throttle=LoginThrottle(account.user, client), reports=reports or NoReports(),
    )  # fmt: skip
    app.jinja_env.globals["sso_name"] = settings.oidc_name if settings.oidc_issuer else None
    if settings.oidc_issuer:
        provider_pages = oidc.blueprint(
            OidcProvider(app, settings),
            metrics,
            sessions=sessions,
            roles=roles,
            reports=reports or NoReports(),
        )
        csrf.exempt(provider_pages)  # its only form comes from the provider, with a signature
        app.register_blueprint(provider_pages)
    app.register_blueprint(home.blueprint())
    views = SavedViews(api)
    rendered = PageCache()
    app.register_blueprint(alerts.blueprint(api, alert_rows, views, rendered))
    app.register_blueprint(saved_views.blueprint(views))
    notification_routes = NotificationsApi(api)
    app.register_blueprint(
        alert.blueprint(
            api,
            notification_routes,
            ArchivedRows(None if events is None else EventsApi(events)),
            rendered,
        )
    )
    app.register_blueprint(
        rules.blueprint(RulesApi(analysis, api), api, Runbooks(settings.runbooks_dir))
    )
    _add_pipeline(app, api, analysis, events)
    app.register_blueprint(entity.blueprint(api, None if events is None else EventsApi(events)))
    administrators = AdminApi(api)
    app.register_blueprint(administration.blueprint(administrators))
    app.register_blueprint(audit_trail.blueprint(administrators))
    if events is not None:
        app.register_blueprint(event_search.blueprint(EventsApi(events)))
    app.jinja_env.globals["has_archive"] = events is not None
    app.register_blueprint(notifications.blueprint(notification_routes))
    app.register_blueprint(silences.blueprint(notification_routes))
    app.register_blueprint(triage.blueprint(api, administrators))
    app.register_blueprint(settings_views.blueprint(cookie_secure=settings.cookie_secure))
    probes.add_routes(app, health, registry, service=SERVICE, request=request)
    return app


def _add_pipeline(
    app: Flask, api: NotificationService, analysis: ApiClient, events: ApiClient | None
) -> None:
    """The overview, the page of the pipeline, and the status for open pages."""
    others = {"rules": analysis} | ({} if events is None else {"events": events})
    app.register_blueprint(status.blueprint(api, others))
    services: dict[str, ApiClient] = {
        N_("Notification service"): api,
        N_("Analysis"): analysis,
    }
    if events is not None:
        services[N_("Archive of events")] = events
    parts = PartsHealth(services)
    ledgers = Ledgers(None if events is None else EventsApi(events))
    queues = PipelineApi(api)
    pages = overview.blueprint(api, NotificationsApi(api), queues, parts, ledgers)
    app.register_blueprint(pages)
    app.register_blueprint(pipeline.blueprint(queues, parts, ledgers))


def _add_sign_in(
    app: Flask,
    settings: DashboardSettings,
    api: ApiClient,
    metrics: Metrics,
    *,
    account: auth.Account,
    sessions: auth.Sessions,
    roles: Roles,
    throttle: LoginThrottle,
    reports: Reports,
) -> None:
    """The pages of sign-in with the local account, and its second factor."""
    local = LocalSignIn(
        sessions=sessions,
        throttle=throttle,
        roles=roles,
        metrics=metrics,
        reports=reports,
    )
    box = SecretBox(settings.session_secret.get_secret_value())
    factors = SecondFactors(api, box, mode=settings.second_factor)
    app.register_blueprint(
        sign_in.blueprint(account, local, factors, sessions=sessions, reports=reports)
    )
    app.register_blueprint(
        second_factor.SecondFactorPages(
            factors, local, account, sessions=sessions, environment=settings.environment
        ).blueprint()
    )
    app.jinja_env.globals["local_user"] = account.user


def _configure_sign_in(app: Flask, settings: DashboardSettings) -> auth.Account:
    password = settings.dashboard_password.get_secret_value()
    key = auth.signing_key(
        settings.session_secret.get_secret_value(), settings.dashboard_user, password
    )
    auth.configure(app, key=key, cookie_secure=settings.cookie_secure)
    return auth.Account(settings.dashboard_user, password)
