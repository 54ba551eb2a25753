"""What a person did in Argo CD, read from the record of the Event that Argo CD wrote about it."""

from typing import Any

import msgspec
import pytest

from audit_event_generator.ingest import kubernetes
from auditflow.contract.event import Event

SERVER = "system:serviceaccount:argocd:argocd-server"


def told(author: str = SERVER, **event: Any) -> Event:
    """The record of an Event as argocd-server 3.6 writes it, with what is said otherwise."""
    document = {
        "kind": "Event",
        "apiVersion": "v1",
        "metadata": {
            "name": "prod-event-audit-dashboard.18a2b3c4",
            "namespace": "argocd",
            "annotations": {"user": "alice@example.com", "dest-namespace": "auditflow-prod"},
        },
        "involvedObject": {
            "kind": "Application",
            "namespace": "argocd",
            "name": "prod-event-audit-dashboard",
        },
        "reason": "OperationStarted",
        "message": "alice@example.com initiated sync to HEAD",
        "source": {"component": "argocd-server"},
        "type": "Normal",
        **event,
    }
    record = {
        "level": "Request",
        "auditID": "6698aaef-14f2-4c25-8a00-1470a3a35d00",
        "stage": "ResponseComplete",
        "stageTimestamp": "2026-03-14T09:12:04.608047Z",
        "verb": "create",
        "user": {"username": author},
        "sourceIPs": ["10.42.0.9"],
        "objectRef": {"resource": "events", "namespace": "argocd", "apiVersion": "v1"},
        "responseStatus": {"code": 201},
        "requestObject": document,
    }
    return kubernetes.event_of(msgspec.json.encode(record))


def test_the_person_is_the_user_and_the_application_the_object() -> None:
    event = told()

    assert event.user_id == "alice@example.com"
    assert event.event_type == "argocd OperationStarted"
    assert event.resource == "argocd/applications/prod-event-audit-dashboard"
    assert event.action_result == "SUCCESS"
    assert event.source_service == "argocd"
    assert event.client_ip is None, "it would be Argo CD's own"
    assert event.details is not None
    assert event.details["message"] == "alice@example.com initiated sync to HEAD"
    assert event.logsource == kubernetes.LOG_SOURCE


def test_a_project_names_the_user_only_in_its_message() -> None:
    event = told(
        metadata={"name": "prod.1", "namespace": "argocd"},
        involvedObject={"kind": "AppProject", "namespace": "argocd", "name": "prod"},
        reason="ResourceUpdated",
        message="Unknown user updated project",
    )

    assert event.user_id == "Unknown user"
    assert event.resource == "argocd/appprojects/prod"


@pytest.mark.parametrize(
    "author",
    ["mallory@example.com", "argocd-server", "system:serviceaccount:shop:web", "x:argocd-server"],
)
def test_nobody_else_speaks_for_a_person(author: str) -> None:
    event = told(author)

    assert event.user_id == author
    assert event.event_type == "create events"


@pytest.mark.parametrize(
    "event",
    [
        {"source": {"component": "kubelet"}},
        {"source": None},
        {"reason": ""},
        {"metadata": []},
        {"message": 5},
    ],
)
def test_another_event_stays_what_it_is(event: dict[str, Any]) -> None:
    assert told(**event).event_type == "create events"
