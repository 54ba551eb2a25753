"""The sandbox of templates, and the values that they print."""

from pathlib import Path
from typing import Any, Final, Literal

from jinja2 import BaseLoader, ChoiceLoader, FileSystemLoader, PackageLoader, StrictUndefined
from jinja2.exceptions import TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from notification_service.receivers import escaping

Format = Literal["text", "html", "chat"]
#: The errors of a template.
TEMPLATE_ERRORS: Final = (
    TemplateError, ArithmeticError, LookupError, RecursionError, TypeError, ValueError,
)  # fmt: skip


class Trusted(str):
    """A text of our own: a link that must stay a link."""

    __slots__ = ()

    @classmethod
    def of(cls, value: str | None) -> "Trusted | None":
        return None if value is None else cls(value)


def environment_of(form: Format, folder: Path | None) -> ImmutableSandboxedEnvironment:
    """The environment of a format. Templates in ``folder`` replace those of the package."""
    loaders: list[BaseLoader] = [FileSystemLoader(folder)] if folder else []
    loader = ChoiceLoader([*loaders, PackageLoader("notification_service.receivers")])
    finalize = escaping.chat if form == "chat" else escaping.clean
    return _environment(loader, finalize, autoescape=form == "html")


def with_links(values: dict[str, Any]) -> dict[str, Any]:
    """Mark the links of a message, which stay links."""
    alerts = [{**alert, "url": Trusted.of(alert["url"])} for alert in values["alerts"]]
    return {**values, "alerts": alerts, "url": Trusted.of(values["url"])}


def first_line(error: BaseException) -> str:
    """The name and the first line of an error."""
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"[:200]


def _environment(
    loader: BaseLoader, finalize: Any, *, autoescape: bool
) -> ImmutableSandboxedEnvironment:
    def safe(value: Any) -> Any:
        ours = isinstance(value, Trusted) or hasattr(value, "__html__")
        return finalize(value) if isinstance(value, str) and not ours else value

    environment = ImmutableSandboxedEnvironment(
        loader=loader,
        autoescape=autoescape,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        # Every value that a template prints is made harmless; texts of the template are not values.
        finalize=safe,
    )
    environment.filters["clean"] = escaping.clean
    return environment
