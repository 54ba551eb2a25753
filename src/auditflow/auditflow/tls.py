"""TLS contexts for clients."""

import ssl

from auditflow.settings import TlsSettings


def client_context(settings: TlsSettings) -> ssl.SSLContext:
    """A context that verifies the server's certificate and its name.

    It trusts the certificates in ``tls_ca_file``, or the system's authorities without that setting.
    """
    cafile = str(settings.tls_ca_file) if settings.tls_ca_file else None
    context = ssl.create_default_context(cafile=cafile)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
