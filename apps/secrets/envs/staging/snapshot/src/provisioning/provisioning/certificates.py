"""The certificates of an environment: an authority, and one certificate for each server.

``openssl`` creates them, which the public image of Python contains. The Secrets have the keys of
cert-manager's Secrets, so that cert-manager can create them instead (apps/components/cert-manager).
"""

import datetime as dt
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from provisioning.plan import Data, ProvisioningError

#: The Secret of the authority. Clients mount only its key ``ca.crt``.
AUTHORITY: Final = "environment-ca"
#: By Secret: the Services of the server, whose names the certificate contains.
SERVERS: Final[Mapping[str, tuple[str, ...]]] = {
    "audit-event-archive-tls": ("audit-event-archive-service",),
    "audit-event-generator-tls": ("audit-event-generator-service",),
    "audit-log-analysis-tls": ("audit-log-analysis-service",),
    "event-audit-dashboard-tls": ("event-audit-dashboard-service",),
    "notification-service-tls": ("notification-service",),
    "postgres-tls": ("postgres-service",),
    "rabbitmq-tls": ("rabbitmq-service",),
    "redis-tls": ("redis-service",),
}
#: All Secrets with certificates.
SECRETS: Final = (AUTHORITY, *SERVERS)

_DAY: Final = 86_400
_AUTHORITY_DAYS: Final = 5 * 365
_SERVER_DAYS: Final = 365
#: A certificate is renewed if it expires within this number of days. The authority is valid for
#: longer than every certificate that it has signed.
_RENEW_AUTHORITY_DAYS: Final = 2 * 365
_RENEW_SERVER_DAYS: Final = 120


def renew(existing: Mapping[str, Data], namespace: str) -> dict[str, dict[str, str]]:
    """The Secrets to create or replace, by name: those that are missing or expire soon.

    The authority keeps its key when it is renewed. Therefore clients that trust the previous
    certificate of the authority accept new certificates of servers, and the other way round.

    Raises:
        ProvisioningError: openssl is missing, or refuses a key that exists.
    """
    changed: dict[str, dict[str, str]] = {}
    with tempfile.TemporaryDirectory() as folder:
        openssl = _OpenSsl(Path(folder))
        authority = existing.get(AUTHORITY)
        if authority is None or openssl.expires_within(authority, _RENEW_AUTHORITY_DAYS):
            authority = openssl.authority(f"AuditFlow {namespace}", authority)
            changed[AUTHORITY] = dict(authority)
        for secret, services in SERVERS.items():
            server = existing.get(secret)
            if (
                server is None
                or openssl.expires_within(server, _RENEW_SERVER_DAYS)
                or not openssl.is_signed_by(server, authority)
            ):
                changed[secret] = openssl.server(names(services, namespace), authority)
            elif server["ca.crt"] != authority["ca.crt"]:
                changed[secret] = {**server, "ca.crt": authority["ca.crt"]}
    return changed


def issued_at(secret: Data) -> dt.datetime:
    """The time from which the certificate of a server is valid."""
    with tempfile.TemporaryDirectory() as folder:
        return _OpenSsl(Path(folder)).issued_at(secret)


def names(services: tuple[str, ...], namespace: str) -> tuple[str, ...]:
    """The DNS names of Services, from short to fully qualified, and of the pod itself."""
    suffixes = ("", f".{namespace}", f".{namespace}.svc", f".{namespace}.svc.cluster.local")
    return (*(service + suffix for service in services for suffix in suffixes), "localhost")


class _OpenSsl:
    """Runs openssl in a folder that only this process can read."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def authority(self, name: str, previous: Data | None) -> dict[str, str]:
        """A certificate that signs others; with the key of ``previous``, if given."""
        key = previous["tls.key"] if previous else self._run("genpkey", *_KEY)
        certificate = self._run(
            *("req", "-x509", "-new", "-key", self._write("ca.key", key)),
            *("-subj", f"/CN={name[:64]}", "-days", str(_AUTHORITY_DAYS)),
            *("-addext", "basicConstraints=critical,CA:TRUE,pathlen:0"),
            *("-addext", "keyUsage=critical,keyCertSign,cRLSign"),
        )
        return {"ca.crt": certificate, "tls.crt": certificate, "tls.key": key}

    def server(self, dns: tuple[str, ...], authority: Data) -> dict[str, str]:
        """A certificate for the names of a server, with a new key."""
        key = self._run("genpkey", *_KEY)
        certificate = self._run(
            *("req", "-x509", "-new", "-key", self._write("server.key", key)),
            *("-CA", self._write("ca.crt", authority["tls.crt"])),
            *("-CAkey", self._write("ca.key", authority["tls.key"])),
            *("-subj", f"/CN={dns[0]}", "-days", str(_SERVER_DAYS)),
            *("-addext", "basicConstraints=critical,CA:FALSE"),
            *("-addext", "keyUsage=critical,digitalSignature"),
            *("-addext", "extendedKeyUsage=serverAuth"),
            *("-addext", f"subjectAltName=IP:127.0.0.1,{','.join(f'DNS:{name}' for name in dns)}"),
        )
        return {"ca.crt": authority["ca.crt"], "tls.crt": certificate, "tls.key": key}

    def expires_within(self, secret: Data, days: int) -> bool:
        file = self._write("tls.crt", secret["tls.crt"])
        return not self._succeeds("x509", "-in", file, "-noout", "-checkend", str(days * _DAY))

    def issued_at(self, secret: Data) -> dt.datetime:
        file = self._write("tls.crt", secret["tls.crt"])
        line = self._run("x509", "-in", file, "-noout", "-startdate")
        start = dt.datetime.strptime(line.strip(), "notBefore=%b %d %H:%M:%S %Y GMT")
        return start.replace(tzinfo=dt.UTC)

    def is_signed_by(self, secret: Data, authority: Data) -> bool:
        trusted = self._write("ca.crt", authority["ca.crt"])
        file = self._write("tls.crt", secret["tls.crt"])
        return self._succeeds("verify", "-CAfile", trusted, file)

    def _write(self, name: str, content: str) -> str:
        file = self._folder / name
        file.touch(mode=0o600)
        file.write_text(content)
        return str(file)

    def _run(self, *words: str) -> str:
        done = self._execute(*words)
        if done.returncode:
            raise ProvisioningError(f"openssl {words[0]} failed: {done.stderr.strip()}")
        return done.stdout

    def _succeeds(self, *words: str) -> bool:
        return self._execute(*words).returncode == 0

    def _execute(self, *words: str) -> "subprocess.CompletedProcess[str]":
        program = shutil.which("openssl")
        if program is None:
            raise ProvisioningError("openssl is not on PATH; the image of Python contains it")
        return subprocess.run(  # noqa: S603
            (program, *words),
            capture_output=True,
            text=True,
            check=False,
            env={"HOME": str(self._folder)},
        )


_KEY: Final = ("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256")
