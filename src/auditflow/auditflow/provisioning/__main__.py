"""``python -m auditflow.provisioning``: tells what it makes, never what is in it."""

import sys

from auditflow.provisioning.catalogue import SECRETS
from auditflow.provisioning.kubernetes import Namespace
from auditflow.provisioning.plan import ProvisioningError, plan


def main() -> None:
    """Complete the Secrets of this pod's namespace. Ends with 1 and a sentence if it cannot."""
    try:
        complete(Namespace.of_this_pod())
    except ProvisioningError as error:
        sys.stderr.write(f"provisioning: {error}\n")
        raise SystemExit(1) from None


def complete(namespace: Namespace) -> None:
    """Make what is absent. What is there stays as it is.

    Raises:
        ProvisioningError: see ``plan`` and ``Namespace``.
    """
    found = {name: namespace.read(name) for name in SECRETS}
    existing = {name: contents for name, contents in found.items() if contents is not None}
    for name in existing:
        sys.stdout.write(f"kept    {name}\n")
    for name, contents in plan(existing).items():
        namespace.create(name, contents)
        sys.stdout.write(f"created {name}: {', '.join(sorted(contents))}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
