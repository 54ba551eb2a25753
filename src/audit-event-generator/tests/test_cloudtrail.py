"""What an analyst reads of a CloudTrail record."""

from typing import Any

import msgspec
import pytest

from audit_event_generator.ingest import cloudtrail
from auditflow.contract.event import Event

from .conftest import sample

RECORDS: list[dict[str, Any]] = sorted(
    sample("cloudtrail.json")["Records"], key=lambda one: str(one["eventTime"])
)
ACCOUNT = "111122223333"


def read(record: dict[str, Any]) -> Event:
    return cloudtrail.event_of(msgspec.json.encode(record))


def named(name: str) -> list[Event]:
    return [read(one) for one in RECORDS if one.get("eventName") == name]


def test_the_sample_has_records_of_all_kinds() -> None:
    identities = {one["userIdentity"].get("type") for one in RECORDS if "userIdentity" in one}
    assert identities >= {
        "Root", "IAMUser", "AssumedRole", "FederatedUser", "AWSService", "AWSAccount",
        "IdentityCenterUser", "WebIdentityUser", "SAMLUser",
    }  # fmt: skip
    assert {one["eventType"] for one in RECORDS} == {
        "AwsApiCall", "AwsServiceEvent", "AwsConsoleSignIn", "AwsVpceEvent", "AwsCloudTrailInsight",
    }  # fmt: skip
    assert {one["eventCategory"] for one in RECORDS} == {
        "Management", "Data", "NetworkActivity", "Insight",
    }  # fmt: skip


def test_sign_ins_say_whether_they_worked() -> None:
    logins = named("ConsoleLogin")

    failed = [one for one in logins if one.action_result == "FAILURE"]
    assert len(failed) == 6
    assert [one.user_id for one in failed].count("pavel") == 4
    assert {one.client_ip for one in failed} == {"203.0.113.66", "198.51.100.23"}
    assert {one.details["mfaUsed"] for one in logins if one.details} == {"Yes", "No"}


def test_a_name_that_aws_hides_is_nobody() -> None:
    hidden = [one for one in named("ConsoleLogin") if one.user_id is None]

    assert len(hidden) == 1, "or all mistyped names would be one user"


def test_an_event_has_the_calls_name_and_place() -> None:
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
def test_every_kind_of_identity_has_a_name(name: str, user: str) -> None:
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
def test_the_resource_is_the_clearest_there_is(name: str, resource: str | None) -> None:
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
def test_errors_and_refusals_are_failures(name: str, result: str) -> None:
    assert [event.action_result for event in named(name)] == [result]


def test_a_service_may_stand_for_an_address() -> None:
    assert named("DescribeInstances")[0].client_ip == "autoscaling.amazonaws.com"


def test_an_insight_is_no_call() -> None:
    insights = [read(one) for one in RECORDS if one["eventType"] == "AwsCloudTrailInsight"]

    assert [one.event_type for one in insights] == ["AwsCloudTrailInsight"] * 2
    assert [one.action_result for one in insights] == [None, None]
    assert [one.details["insightState"] for one in insights if one.details] == ["Start", "End"]
    assert len({one.event_id for one in insights}) == 2
