"""The second factor: entered at sign-in, enabled and deleted in the settings, reset by an admin."""

from typing import Final

from flask import Blueprint, Response, g, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from auditflow.http.middleware import correlation_id
from auditflow.telemetry import logs
from event_audit_dashboard.access import auth, totp
from event_audit_dashboard.access.local_sign_in import LocalSignIn, pending_user
from event_audit_dashboard.access.second_factors import SecondFactors
from event_audit_dashboard.apis.client import Caller
from event_audit_dashboard.errors import Conflict, NotAllowed, NotFound
from event_audit_dashboard.localization.translation import N_, gettext
from event_audit_dashboard.presentation import times
from event_audit_dashboard.presentation.text import sentence
from event_audit_dashboard.views.common import caller, notify, person

_WRONG: Final = N_("This code is wrong, or it was used already. Wait for the next code.")
_log = logs.get(__name__)


class SecondFactorPages:
    """The pages. They need the name of the account, and the environment for the QR code."""

    def __init__(
        self,
        factors: SecondFactors,
        sign_in: LocalSignIn,
        account: auth.Account,
        *,
        sessions: auth.Sessions,
        environment: str,
    ) -> None:
        self._factors = factors
        self._sign_in = sign_in
        self._account = account
        self._sessions = sessions
        self._environment = environment

    def blueprint(self) -> Blueprint:
        """``/login/code``, ``/login/second-factor`` and ``/settings/second-factor``."""
        pages = Blueprint("second_factor", __name__)
        for path, method, view in (
            ("/login/code", "GET", self.code),
            ("/login/code", "POST", self.check_code),
            ("/login/second-factor", "GET", self.first_setup),
            ("/login/second-factor", "POST", self.first_confirm),
            ("/settings/second-factor", "GET", self.show),
            ("/settings/second-factor/new", "POST", self.setup),
            ("/settings/second-factor", "POST", self.confirm),
            ("/settings/second-factor/delete", "POST", self.delete),
            ("/settings/users/second-factor", "POST", self.reset),
        ):
            pages.add_url_rule(path, view.__name__, view, methods=[method])
        return pages

    def code(self) -> ResponseReturnValue:
        """Ask for the code after the password."""
        return _code_page() if pending_user() else _again()

    def check_code(self) -> ResponseReturnValue:
        """Sign the user in if the code is correct."""
        user = pending_user()
        if user is None:
            return _again()
        problem = self._check(user, _caller_of(user))
        if problem is not None:
            text, status = problem
            return _code_page(text), status
        self._sign_in.finish(user)
        return redirect(auth.safe_redirect(request.args.get("next")), 303)

    def first_setup(self) -> ResponseReturnValue:
        """Set up a second factor at sign-in, where the settings require it."""
        user = pending_user()
        return self._setup_page(user, "second_factor.first_confirm") if user else _again()

    def first_confirm(self) -> ResponseReturnValue:
        """Enable it, sign the user in, and show the recovery codes."""
        user = pending_user()
        if user is None:
            return _again()
        enabled = self._enable(user, _caller_of(user), "second_factor.first_confirm")
        if not isinstance(enabled, list):
            return enabled
        self._sign_in.finish(user)
        target = auth.safe_redirect(request.args.get("next"))
        return render_template("recovery_codes.html", codes=enabled, target=target)

    def show(self) -> ResponseReturnValue:
        """Whether the user has a second factor."""
        is_local = person() == self._account.user
        factor = self._factors.read(caller()) if is_local else None
        return render_template(
            "second_factor.html", factor=factor, is_local=is_local, mode=self._factors.mode
        )

    def setup(self) -> ResponseReturnValue:
        """Show the QR code, after the password."""
        user = person()
        if user != self._account.user or self._factors.mode == "off":
            notify(gettext("Only a local account has a second factor here."), error=True)
            return redirect(url_for("second_factor.show"), 303)
        wait = self._sign_in.admit(user)
        if wait:
            notify(_too_many(wait), error=True)
        elif self._account.verify(user, request.form.get("password", "")[:1024]):
            self._sign_in.forgive(user)
            return self._setup_page(user, "second_factor.confirm")
        else:
            self._sign_in.refuse(user)
            notify(gettext("The password is wrong."), error=True)
        return redirect(url_for("second_factor.show"), 303)

    def confirm(self) -> ResponseReturnValue:
        """Enable the second factor and show the recovery codes."""
        user = person()
        if user != self._account.user or self._factors.mode == "off":
            return redirect(url_for("second_factor.show"), 303)
        enabled = self._enable(user, caller(), "second_factor.confirm")
        if not isinstance(enabled, list):
            return enabled
        _log.info("second factor enabled", user=user)
        target = url_for("second_factor.show")
        return render_template("recovery_codes.html", codes=enabled, target=target)

    def delete(self) -> ResponseReturnValue:
        """Delete the user's own second factor, after a code."""
        if self._factors.mode == "required":
            notify(gettext("A second factor is required. An admin can reset it."), error=True)
            return redirect(url_for("second_factor.show"), 303)
        problem = self._check(person(), caller())
        if problem is not None:
            notify(problem[0], error=True)
        else:
            self._sign_in.forgive(person())
            self._delete(person())
        return redirect(url_for("second_factor.show"), 303)

    def reset(self) -> ResponseReturnValue:
        """Reset the second factor of another user. All sessions of this user end."""
        name = request.form.get("name", "")[:200]
        if name == person():
            notify(gettext("Delete your own second factor in your settings."), error=True)
        elif self._delete(name):
            self._sessions.end_all(name)
        return redirect(url_for("administration.users"), 303)

    def _delete(self, name: str) -> bool:
        try:
            self._factors.delete(name, caller())
        except (NotAllowed, NotFound) as error:
            notify(sentence(error), error=True)
            return False
        _log.info("second factor deleted", name=name, user=person())
        notify(gettext("%(name)s has no second factor now.", name=name))
        return True

    def _check(self, user: str, asking: Caller) -> tuple[str, int] | None:
        """None if the code is correct, otherwise the problem and the status of the page."""
        wait = self._sign_in.admit(user)
        if wait:
            return _too_many(wait), 429
        if not self._factors.check(request.form.get("code", "")[:64], asking):
            self._sign_in.refuse(user)
            return gettext(_WRONG), 401
        return None

    def _enable(self, user: str, asking: Caller, action: str) -> list[str] | ResponseReturnValue:
        encrypted = request.form.get("encrypted", "")[:400]
        try:
            codes = self._factors.enable(encrypted, request.form.get("code", "")[:64], asking)
        except Conflict as error:
            notify(sentence(error), error=True)
            return redirect(url_for("sign_in.form"), 303)
        if codes is None:
            error_text = gettext(
                "This code is wrong. Check the clock of your device and try again."
            )
            return Response(self._setup_page(user, action, encrypted, error_text), 400)
        return codes

    def _setup_page(
        self, user: str, action: str, encrypted: str = "", error: str | None = None
    ) -> str:
        secret = self._factors.secret(user, encrypted) if encrypted else None
        if secret is None:
            secret, encrypted = self._factors.new(user)
        return render_template(
            "second_factor_new.html",
            action=url_for(action, next=request.args.get("next")),
            secret=" ".join(secret[start : start + 4] for start in range(0, len(secret), 4)),
            qr_code=totp.qr_code(secret, user=user, environment=self._environment),
            encrypted=encrypted,
            error=error,
        )


def _code_page(error: str | None = None) -> str:
    return render_template("login_code.html", error=error, next=request.args.get("next"))


def _again() -> ResponseReturnValue:
    """The password must be entered first, or again."""
    if g.get("user"):
        return redirect(auth.safe_redirect(request.args.get("next")))
    return redirect(url_for("sign_in.form", next=request.args.get("next")), 303)


def _caller_of(user: str) -> Caller:
    return Caller(
        person=user, correlation_id=correlation_id(request.environ), address=request.remote_addr
    )


def _too_many(wait: int) -> str:
    return gettext("Too many attempts. Try again in %(time)s.", time=times.wait(wait))
