"""Which release of a service this is."""

from importlib import metadata


def version(service: str) -> str:
    """The version of a service's package; "0" for a program that is none of the services."""
    try:
        return metadata.version(service)
    except metadata.PackageNotFoundError:
        return "0"
