"""Writes a recurrence rule (RRULE) in words, if it is one of the usual forms. Pure."""

from typing import Final

from event_audit_dashboard.localization.translation import N_, Texts, gettext

_DAYS: Final = Texts(
    {
        "MO": N_("Monday"),
        "TU": N_("Tuesday"),
        "WE": N_("Wednesday"),
        "TH": N_("Thursday"),
        "FR": N_("Friday"),
        "SA": N_("Saturday"),
        "SU": N_("Sunday"),
    }
)
_KNOWN: Final = {"FREQ", "BYDAY", "BYMONTHDAY", "BYHOUR", "BYMINUTE", "INTERVAL"}


def words(rule: str) -> str | None:
    """``every week on Sunday at 02:00``. None if the rule has no short form."""
    parts = dict(part.partition("=")[::2] for part in rule.upper().split(";"))
    if not parts.keys() <= _KNOWN or parts.pop("INTERVAL", "1") != "1":
        return None
    clock = _clock(parts.pop("BYHOUR", None), parts.pop("BYMINUTE", None))
    period = _period(parts)
    if clock is None or period is None:
        return None
    return gettext("%(period)s at %(time)s", period=period, time=clock) if clock else period


def _period(parts: dict[str, str]) -> str | None:
    match parts:
        case {"FREQ": "DAILY", **rest} if not rest:
            return gettext("every day")
        case {"FREQ": "WEEKLY", **rest} if not rest:
            return gettext("every week")
        case {"FREQ": "WEEKLY", "BYDAY": days, **rest} if not rest and _are_days(days):
            return gettext(
                "every week on %(days)s", days=", ".join(_DAYS[day] for day in days.split(","))
            )
        case {"FREQ": "MONTHLY", "BYMONTHDAY": day, **rest} if not rest and _is_number(day, 31):
            return gettext("every month on day %(day)s", day=day)
        case _:
            return None


def _are_days(days: str) -> bool:
    return all(day in _DAYS for day in days.split(","))


def _clock(hour: str | None, minute: str | None) -> str | None:
    """``02:00``, an empty text without an hour, or None if it is no single time."""
    if hour is None:
        return "" if minute is None else None
    if not _is_number(hour, 23) or not _is_number(minute or "0", 59):
        return None
    return f"{int(hour):02}:{int(minute or 0):02}"


def _is_number(text: str, highest: int) -> bool:
    return text.isascii() and text.isdigit() and int(text) <= highest
