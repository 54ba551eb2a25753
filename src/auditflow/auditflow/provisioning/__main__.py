"""``python -m auditflow.provisioning [monitoring]``: tells what it makes, never what is in it."""

import sys

from auditflow.provisioning.catalogue import CATALOGUES, SECRETS, Catalogue
from auditflow.provisioning.kubernetes import Namespace
from auditflow.provisioning.plan import ProvisioningError, plan


def main() -> None:
    """Complete the Secrets of this pod's namespace. Ends with 1 and a sentence if it cannot."""
    try:
        complete(Namespace.of_this_pod(), _asked(sys.argv[1:]))
    except ProvisioningError as error:
        sys.stderr.write(f"provisioning: {error}\n")
        raise SystemExit(1) from None


def _asked(arguments: list[str]) -> Catalogue:
    name = arguments[0] if arguments else "environment"
    if name not in CATALOGUES or len(arguments) > 1:
        raise ProvisioningError(f"{name}: say one of {', '.join(CATALOGUES)}, or nothing")
    return CATALOGUES[name]


def complete(namespace: Namespace, catalogue: Catalogue = SECRETS) -> None:
    """Make what is absent. What is there stays as it is.

    Raises:
        ProvisioningError: see ``plan`` and ``Namespace``.
    """
    found = {name: namespace.read(name) for name in catalogue}
    existing = {name: contents for name, contents in found.items() if contents is not None}
    for name in existing:
        sys.stdout.write(f"kept    {name}\n")
    for name, contents in plan(existing, catalogue=catalogue).items():
        namespace.create(name, contents)
        sys.stdout.write(f"created {name}: {', '.join(sorted(contents))}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
