"""``python -m provisioning [environment|monitoring]``: create the missing Secrets.

It prints the names of Secrets and keys, never their values.
"""

import sys

from provisioning.catalogue import CATALOGUES, SECRETS, Catalogue
from provisioning.kubernetes import Namespace
from provisioning.plan import ProvisioningError, plan


def main() -> None:
    """Create the missing Secrets of this pod's namespace. Exits with 1 and a reason on failure."""
    try:
        create_missing(Namespace.of_this_pod(), _catalogue(sys.argv[1:]))
    except ProvisioningError as error:
        sys.stderr.write(f"provisioning: {error}\n")
        raise SystemExit(1) from None


def _catalogue(arguments: list[str]) -> Catalogue:
    name = arguments[0] if arguments else "environment"
    if name not in CATALOGUES or len(arguments) > 1:
        raise ProvisioningError(f"{name}: the argument must be one of {', '.join(CATALOGUES)}")
    return CATALOGUES[name]


def create_missing(namespace: Namespace, catalogue: Catalogue = SECRETS) -> None:
    """Create the missing Secrets. Existing Secrets are never changed.

    Raises:
        ProvisioningError: see ``plan`` and ``Namespace``.
    """
    contents = {name: namespace.read(name) for name in catalogue}
    existing = {name: data for name, data in contents.items() if data is not None}
    for name in existing:
        sys.stdout.write(f"kept    {name}\n")
    for name, data in plan(existing, catalogue=catalogue).items():
        namespace.create(name, data)
        sys.stdout.write(f"created {name}: {', '.join(sorted(data))}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
