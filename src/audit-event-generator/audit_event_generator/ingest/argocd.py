"""What a person did in Argo CD, as Argo CD tells Kubernetes.

argocd-server writes an Event for each act of a person, under its own name; who it was stands
inside. So the API server's audit log brings it, when its policy records the bodies of these Events.
The shape: https://github.com/argoproj/argo-cd/blob/v3.6.1/util/argo/audit_logger.go
"""

from typing import Any, Final

import msgspec
from msgspec import Struct

_COMPONENT: Final = "argocd-server"
_SERVICE_ACCOUNT: Final = "system:serviceaccount:"


class Metadata(Struct, gc=False):
    """The annotations in which Argo CD keeps the user."""

    annotations: dict[str, str] | None = None


class Involved(Struct, gc=False):
    """An Application, a project or an ApplicationSet."""

    kind: str = ""
    name: str = ""
    namespace: str = ""


class Source(Struct, gc=False):
    """Which part of Argo CD wrote it."""

    component: str = ""


class Act(Struct, rename="camel", gc=False):
    """An act of a person in Argo CD. ``reason`` is its kind, ``message`` begins with the user."""

    source: Source
    involved_object: Involved
    metadata: Metadata
    reason: str = ""
    message: str = ""

    @property
    def user(self) -> str | None:
        """Who it was. A project's Event has it only in its message, before the last two words."""
        named = (self.metadata.annotations or {}).get("user")
        if named:
            return named
        return self.message.rpartition(" ")[0].rpartition(" ")[0] or None

    @property
    def event_type(self) -> str:
        """The kind of act, e.g. ``argocd OperationStarted``: one of a few."""
        return f"argocd {self.reason}"

    @property
    def resource(self) -> str:
        """Where: ``argocd/applications/prod-dashboard``."""
        involved = self.involved_object
        return f"{involved.namespace}/{involved.kind.lower()}s/{involved.name}"


def act(author: str | None, document: Any) -> Act | None:
    """The act that an Event tells of; None when it is another Event, or somebody pretends.

    ``author`` is who created the Event, ``document`` the Event (core/v1) as decoded JSON.
    """
    if not (author or "").startswith(_SERVICE_ACCOUNT) or not (author or "").endswith(
        f":{_COMPONENT}"
    ):
        return None
    try:
        found = msgspec.convert(document, Act)
    except msgspec.ValidationError:
        return None
    return found if found.source.component == _COMPONENT and found.reason else None
