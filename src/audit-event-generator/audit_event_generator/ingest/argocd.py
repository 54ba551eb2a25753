"""Actions of people in Argo CD, from the Kubernetes Events that Argo CD creates.

argocd-server creates an Event for each action of a person. The author of the request is
argocd-server; the Event's content names the person. The API server's audit log contains the Event
if the audit policy records the request bodies of these Events.
Shape: https://github.com/argoproj/argo-cd/blob/v3.6.1/util/argo/audit_logger.go
"""

from typing import Final

import msgspec
from msgspec import Struct

from audit_event_generator.ingest import raw_json
from auditflow.errors import ContractError

_COMPONENT: Final = "argocd-server"
#: The service account of argocd-server, with the namespace in which bootstrap/ installs Argo CD. An
#: account of the same name in another namespace must not name a person.
_SERVICE_ACCOUNT: Final = "system:serviceaccount:argocd:argocd-server"


class Metadata(Struct, gc=False):
    """The annotations. Argo CD stores the user there."""

    annotations: dict[str, str] | None = None


class InvolvedObject(Struct, gc=False):
    """An Application, a project or an ApplicationSet."""

    kind: str = ""
    name: str = ""
    namespace: str = ""


class EventSource(Struct, gc=False):
    """The component of Argo CD that created the Event."""

    component: str = ""


class UserAction(Struct, rename="camel", gc=False):
    """An action of a person. ``reason`` is its kind; ``message`` starts with the user's name."""

    source: EventSource
    involved_object: InvolvedObject
    metadata: Metadata
    reason: str = ""
    message: str = ""

    @property
    def user(self) -> str | None:
        """The person. A project's Event has it only in the message, before the last two words."""
        annotated = (self.metadata.annotations or {}).get("user")
        if annotated:
            return annotated
        return self.message.rpartition(" ")[0].rpartition(" ")[0] or None

    @property
    def event_type(self) -> str:
        """The kind of action, such as ``argocd OperationStarted``. There are about ten."""
        return f"argocd {self.reason}"

    @property
    def resource(self) -> str:
        """The object of the action: ``argocd/applications/prod-dashboard``."""
        reference = self.involved_object
        return f"{reference.namespace}/{reference.kind.lower()}s/{reference.name}"


_read = msgspec.json.Decoder(UserAction).decode


def user_action(author: str | None, document: bytes) -> UserAction | None:
    """Return the action that an Event describes; None if Argo CD did not create the Event.

    ``author`` is the user that created the Event; ``document`` is the Event (core/v1) as JSON.
    """
    if author != _SERVICE_ACCOUNT:
        return None
    try:
        action = raw_json.read_record(_read, document)
    except ContractError:
        return None
    return action if action.source.component == _COMPONENT and action.reason else None
