"""Conversion of actions of people in Argo CD."""

from typing import Any

import msgspec
import pytest

from audit_event_generator.ingest import kubernetes
from auditflow.contract.event import Event

SERVER = "system:serviceaccount:argocd:argocd-server"


def convert(author: str = SERVER, **event: Any) -> Event:
    """Convert the record of an Event of argocd-server 3.6, with other values if given."""
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
    return kubernetes.to_event(msgspec.json.encode(record))


def test_user_and_resource_of_an_argocd_action() -> None:
    event = convert()

    assert event.user_id == "alice@example.com"
    assert event.event_type == "argocd OperationStarted"
    assert event.resource == "argocd/applications/prod-event-audit-dashboard"
    assert event.action_result == "SUCCESS"
    assert event.source_service == "argocd"
    assert event.client_ip is None, "the record has only the address of Argo CD"
    assert event.details is not None
    assert event.details["message"] == "alice@example.com initiated sync to HEAD"
    assert event.logsource == kubernetes.LOG_SOURCE


def test_project_event_has_the_user_in_the_message() -> None:
    event = convert(
        metadata={"name": "prod.1", "namespace": "argocd"},
        involvedObject={"kind": "AppProject", "namespace": "argocd", "name": "prod"},
        reason="ResourceUpdated",
        message="Unknown user updated project",
    )

    assert event.user_id == "Unknown user"
    assert event.resource == "argocd/appprojects/prod"


@pytest.mark.parametrize(
    "author",
    [
        "mallory@example.com",
        "argocd-server",
        "system:serviceaccount:shop:web",
        "system:serviceaccount:shop:argocd-server",
        "system:serviceaccount:argocd:argocd-server:x",
        "x:argocd-server",
    ],
)
def test_only_argocd_server_can_name_a_person(author: str) -> None:
    event = convert(author)

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
def test_other_events_are_not_argocd_actions(event: dict[str, Any]) -> None:
    assert convert(**event).event_type == "create events"
