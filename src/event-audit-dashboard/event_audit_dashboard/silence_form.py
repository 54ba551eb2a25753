"""The form of a silence, and the matchers of an alert. Pure."""

import datetime as dt
from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct

from event_audit_dashboard.actions import InvalidForm
from event_audit_dashboard.localization.translation import N_, Texts, gettext

#: Durations that the form offers, and their labels.
DURATIONS: Final = Texts(
    {
        "1h": N_("1 hour"),
        "4h": N_("4 hours"),
        "1d": N_("1 day"),
        "7d": N_("7 days"),
        "30d": N_("30 days"),
    }
)
_LENGTHS: Final = {
    "1h": dt.timedelta(hours=1),
    "4h": dt.timedelta(hours=4),
    "1d": dt.timedelta(days=1),
    "7d": dt.timedelta(days=7),
    "30d": dt.timedelta(days=30),
}
MAX_LINES: Final = 20
#: Days that a preview looks back.
PREVIEW_DAYS: Final = 7


class SilenceForm(Struct, frozen=True):
    """The fields of the form as text."""

    matchers: str = ""
    reason: str = ""
    duration: str = "4h"
    recurrence: str = ""
    occurrence: str = ""

    @property
    def lines(self) -> list[str]:
        """The matchers, one for each line that is not empty."""
        return [line.strip() for line in self.matchers.splitlines() if line.strip()]


def read(fields: Mapping[str, str]) -> SilenceForm:
    """Read the fields of the form."""
    known = {name: fields.get(name, "").strip() for name in SilenceForm.__struct_fields__}
    return SilenceForm(**{**known, "duration": known["duration"] or "4h"})


def preview_request(form: SilenceForm, *, time_zone: str) -> dict[str, Any]:
    """The body of the request for a preview.

    Raises:
        InvalidForm: a field is missing or wrong.
    """
    return {"matchers": _matchers(form), "days": PREVIEW_DAYS, **_recurrence(form, time_zone)}


def create_request(form: SilenceForm, *, now: dt.datetime, time_zone: str) -> dict[str, Any]:
    """The body of the request that creates the silence.

    Raises:
        InvalidForm: a field is missing or wrong.
    """
    matchers, recurrence = _matchers(form), _recurrence(form, time_zone)
    if not form.reason:
        raise InvalidForm(
            gettext("Enter the reason. Other users see it next to the silenced alerts.")
        )
    if form.duration not in _LENGTHS:
        raise InvalidForm(gettext("Select how long the silence lasts."))
    ends_at = (now + _LENGTHS[form.duration]).replace(microsecond=0)
    body: dict[str, Any] = {"matchers": matchers, "reason": form.reason, **recurrence}
    return body if recurrence else {**body, "ends_at": ends_at.isoformat()}


def matcher(name: str, value: str) -> str:
    """A condition on one label, in the syntax of the routing file."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'{name}="{escaped}"'


def matchers_of_alert(labels: Mapping[str, str]) -> list[str]:
    """The conditions for the rule and the entity of an alert."""
    names = ["rule", *(name for name in labels if name.startswith("entity."))]
    return [matcher(name, labels[name]) for name in names if name in labels]


def _matchers(form: SilenceForm) -> list[str]:
    if not form.lines:
        raise InvalidForm(gettext('Enter at least one condition, for example level="low".'))
    if len(form.lines) > MAX_LINES:
        raise InvalidForm(gettext("A silence has at most %(count)s conditions.", count=MAX_LINES))
    return form.lines


def _recurrence(form: SilenceForm, time_zone: str) -> dict[str, Any]:
    if not form.recurrence and not form.occurrence:
        return {}
    if not form.recurrence or not form.occurrence:
        raise InvalidForm(gettext("Enter both the recurrence and the length of each occurrence."))
    return {"recurrence": form.recurrence, "duration": form.occurrence, "time_zone": time_zone}
