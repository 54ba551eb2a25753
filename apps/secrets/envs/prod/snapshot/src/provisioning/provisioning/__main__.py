"""``python -m provisioning [environment|monitoring|certificates]``: create the missing Secrets.

``environment`` also creates the certificates. ``certificates`` renews those that expire soon and
restarts the servers that do not read a renewed certificate. The program prints the names of Secrets
and keys, never their values.
"""

import os
import sys

from provisioning import certificates
from provisioning.catalogue import CATALOGUES, SECRETS, Catalogue
from provisioning.kubernetes import Namespace
from provisioning.plan import ProvisioningError, plan

#: The environment variable that is "cert-manager" if cert-manager creates the certificates.
ISSUER = "CERTIFICATES_FROM"
#: By Secret: the pod of a server that reads its certificate only when it starts. RabbitMQ and the
#: services read a renewed certificate by themselves.
_RESTARTED = {"postgres-tls": ("postgres-0", "postgres"), "redis-tls": ("redis-0", "redis")}


def main() -> None:
    """Create the missing Secrets of this pod's namespace. Exits with 1 and a reason on failure."""
    try:
        _run(Namespace.of_this_pod(), sys.argv[1:])
    except ProvisioningError as error:
        sys.stderr.write(f"provisioning: {error}\n")
        raise SystemExit(1) from None


def _run(namespace: Namespace, arguments: list[str]) -> None:
    task = arguments[0] if arguments else "environment"
    if (task not in CATALOGUES and task != "certificates") or len(arguments) > 1:
        tasks = ", ".join((*CATALOGUES, "certificates"))
        raise ProvisioningError(f"{task}: the argument must be one of {tasks}")
    external = os.environ.get(ISSUER, "") == "cert-manager"
    if task == "certificates":
        if not external:
            renew_certificates(namespace)
        restart_servers(namespace)
        return
    create_missing(namespace, CATALOGUES[task])
    if task == "environment" and not external:
        create_certificates(namespace)


def create_missing(namespace: Namespace, catalogue: Catalogue = SECRETS) -> None:
    """Create the missing Secrets. Existing Secrets are never changed.

    Raises:
        ProvisioningError: see ``plan`` and ``Namespace``.
    """
    contents = {name: namespace.read(name) for name in catalogue}
    existing = {name: data for name, data in contents.items() if data is not None}
    for name in existing:
        _report("kept", name)
    for name, data in plan(existing, catalogue=catalogue).items():
        namespace.create(name, data)
        _report("created", f"{name}: {', '.join(sorted(data))}")


def create_certificates(namespace: Namespace) -> None:
    """Create the missing certificates. Existing Secrets are not changed.

    Raises:
        ProvisioningError: see ``certificates.renew`` and ``Namespace``.
    """
    existing = _certificates(namespace)
    for name, data in certificates.renew(existing, namespace.name).items():
        if name not in existing:
            namespace.create(name, data)
            _report("created", name)


def renew_certificates(namespace: Namespace) -> None:
    """Replace the certificates that expire soon, and create the missing ones.

    Raises:
        ProvisioningError: see ``certificates.renew`` and ``Namespace``.
    """
    existing = _certificates(namespace)
    for name, data in certificates.renew(existing, namespace.name).items():
        if name in existing:
            namespace.replace(name, data)
            _report("renewed", name)
        else:
            namespace.create(name, data)
            _report("created", name)


def restart_servers(namespace: Namespace) -> None:
    """Delete the pods of servers that started before their certificate was issued.

    Raises:
        ProvisioningError: see ``Namespace``.
    """
    for secret, (pod, container) in _RESTARTED.items():
        data = namespace.read(secret)
        started = namespace.started_at(pod, container)
        if data and started and started < certificates.issued_at(data):
            namespace.delete_pod(pod)
            _report("restarted", pod)


def _certificates(namespace: Namespace) -> dict[str, dict[str, str]]:
    contents = {name: namespace.read(name) for name in certificates.SECRETS}
    return {name: data for name, data in contents.items() if data is not None}


def _report(action: str, subject: str) -> None:
    sys.stdout.write(f"{action:<7} {subject}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
