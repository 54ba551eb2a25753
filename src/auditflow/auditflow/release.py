"""The version of a service."""

from importlib import metadata


def version(service: str) -> str:
    """The version of a service's package; "0" for any other program."""
    try:
        return metadata.version(service)
    except metadata.PackageNotFoundError:
        return "0"
