"""Conversion of CloudTrail records."""

from typing import Any

import msgspec
import pytest

from audit_event_generator.ingest import cloudtrail
from auditflow.contract.event import Event

from .conftest import sample

RECORDS: list[dict[str, Any]] = sorted(
    sample("cloudtrail.json")["Records"], key=lambda record: str(record["eventTime"])
)
ACCOUNT = "111122223333"


def read(record: dict[str, Any]) -> Event:
    return cloudtrail.to_event(msgspec.json.encode(record))


def named(name: str) -> list[Event]:
    return [read(record) for record in RECORDS if record.get("eventName") == name]


def test_the_sample_has_records_of_all_kinds() -> None:
    identities = {
        record["userIdentity"].get("type") for record in RECORDS if "userIdentity" in record
    }
    assert identities >= {
        "Root", "IAMUser", "AssumedRole", "FederatedUser", "AWSService", "AWSAccount",
        "IdentityCenterUser", "WebIdentityUser", "SAMLUser",
    }  # fmt: skip
    assert {record["eventType"] for record in RECORDS} == {
        "AwsApiCall", "AwsServiceEvent", "AwsConsoleSignIn", "AwsVpceEvent", "AwsCloudTrailInsight",
    }  # fmt: skip
    assert {record["eventCategory"] for record in RECORDS} == {
        "Management", "Data", "NetworkActivity", "Insight",
    }  # fmt: skip


def test_sign_in_has_a_result() -> None:
    logins = named("ConsoleLogin")

    failed = [event for event in logins if event.action_result == "FAILURE"]
    assert len(failed) == 6
    assert [event.user_id for event in failed].count("pavel") == 4
    assert {event.client_ip for event in failed} == {"203.0.113.66", "198.51.100.23"}
    assert {event.details["mfaUsed"] for event in logins if event.details} == {"Yes", "No"}


def test_hidden_user_name_is_absent() -> None:
    hidden = [event for event in named("ConsoleLogin") if event.user_id is None]

    assert len(hidden) == 1, "otherwise all mistyped names would be the same user"


def test_api_call_fields() -> None:
    [event] = named("StopLogging")

    assert event.event_type == "StopLogging"
    assert event.source_service == "cloudtrail.amazonaws.com"
    assert event.resource == f"arn:aws:cloudtrail:eu-central-1:{ACCOUNT}:trail/organization"
    assert (event.user_id, event.client_ip) == ("backup-svc", "203.0.113.66")
    assert event.server_hostname is None
    assert event.logsource is not None
    assert (event.logsource.product, event.logsource.service) == ("aws", "cloudtrail")
    assert event.details is not None
    assert event.details["awsRegion"] == "eu-central-1"
    assert event.details["accountId"] == ACCOUNT


@pytest.mark.parametrize(
    ("name", "user"),
    [
        ("DeactivateMFADevice", f"arn:aws:iam::{ACCOUNT}:root"),
        ("CreateUser", "pavel"),
        ("PutBucketPolicy", f"arn:aws:sts::{ACCOUNT}:assumed-role/Admin/nadia"),
        ("GetSecretValue", f"arn:aws:sts::{ACCOUNT}:federated-user/contractor-7"),
        ("GetBucketAcl", "cloudtrail.amazonaws.com"),
        ("UserAuthentication", "90679e7a-1021-7011-2233-example00001"),
        ("AssumeRoleWithSAML", "ingrid@example.com"),
        ("RotateKey", "AWS Internal"),
    ],
)
def test_user_of_each_identity_type(name: str, user: str) -> None:
    assert [event.user_id for event in named(name)] == [user]


@pytest.mark.parametrize(
    ("name", "resource"),
    [
        ("PutObject", "arn:aws:s3:::customer-exports-example/reports/daily report.csv"),
        ("DeleteObjects", "arn:aws:s3:::customer-exports-example"),
        ("AttachUserPolicy", "backup-svc"),
        ("ModifyDBInstance", "billing-prod"),
        ("AuthorizeSecurityGroupIngress", "sg-0badc0ffee0000001"),
        ("GetCallerIdentity", None),
    ],
)
def test_resource_by_priority(name: str, resource: str | None) -> None:
    assert [event.resource for event in named(name)] == [resource]


@pytest.mark.parametrize(
    ("name", "result"),
    [
        ("DeleteTrail", "FAILURE"),
        ("ListKeys", "FAILURE"),
        ("CredentialVerification", "FAILURE"),
        ("UserAuthentication", "SUCCESS"),
        ("SwitchRole", "SUCCESS"),
    ],
)
def test_error_code_means_failure(name: str, result: str) -> None:
    assert [event.action_result for event in named(name)] == [result]


def test_client_ip_can_be_a_service() -> None:
    assert named("DescribeInstances")[0].client_ip == "autoscaling.amazonaws.com"


def test_insight_has_no_result() -> None:
    insights = [read(record) for record in RECORDS if record["eventType"] == "AwsCloudTrailInsight"]

    assert [event.event_type for event in insights] == ["AwsCloudTrailInsight"] * 2
    assert [event.action_result for event in insights] == [None, None]
    assert [event.details["insightState"] for event in insights if event.details] == [
        "Start",
        "End",
    ]
    assert len({event.event_id for event in insights}) == 2
