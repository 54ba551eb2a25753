"""Roles of users, as the API knows them."""

import contextlib

from auditflow.contract.access import Role
from event_audit_dashboard.access.sessions import Session
from event_audit_dashboard.apis.client import Caller
from event_audit_dashboard.apis.notification_service import NotificationService
from event_audit_dashboard.caching import TimedCache
from event_audit_dashboard.errors import ApiError, NotAllowed, TranslatedError
from event_audit_dashboard.localization.translation import N_

#: A changed role takes effect in the pages after at most this time, in seconds. The API itself
#: checks the role of every action.
ROLE_SECONDS = 5.0


class Disabled(TranslatedError):
    """An administrator has disabled the person."""


class Roles:
    """Reads roles from the API and keeps them for some seconds."""

    def __init__(self, api: NotificationService) -> None:
        self._api = api
        self._roles: TimedCache[Role] = TimedCache(seconds=ROLE_SECONDS)

    def role(self, session: Session) -> Role:
        """The role of a signed-in user. During an outage, the role at sign-in still applies."""
        return self._roles.get(session.user, lambda: self._load(session))

    def _load(self, session: Session) -> Role:
        try:
            return self._api.me(Caller(person=session.user, correlation_id="role")).role
        except NotAllowed:  # the person is disabled
            return Role.VIEWER
        except ApiError:
            return session.role

    def of_identity(self, user: str, role: Role | None) -> Role:
        """The role of a person of the identity provider. A ``role`` from groups replaces it.

        Raises:
            Disabled: an administrator has disabled the person.
            ApiError: the API does not respond. The sign-in fails, because the role is not known.
        """
        try:
            stored = self._api.me(Caller(person=user, correlation_id="sign-in")).role
        except NotAllowed:
            raise Disabled(N_("An administrator has disabled your access.")) from None
        if role is None or role == stored:
            return stored
        self._api.put_user(user, role)
        return role

    def make_admin(self, user: str) -> Role:
        """Give the built-in account the role admin, which others get from an administrator."""
        # Sign-in works during an outage of the API. The next sign-in repeats the request.
        with contextlib.suppress(ApiError):
            self._api.put_user(user, Role.ADMIN)
            self._roles.discard(user)
        return Role.ADMIN
