"""AWS CloudTrail files: ``{"Records": [...]}``.

Fields: https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-record-contents.html
Identities: https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-user-identity.html
Insights events have another shape: https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-insights-fields-trails.html
"""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Raw, Struct

from audit_event_generator.ingest import json_records, raw_json
from audit_event_generator.ingest.timestamps import to_utc
from auditflow.contract.event import Event, LogSource, Timestamp
from auditflow.errors import ContractError

#: As in SigmaHQ's rules under rules/cloud/aws/cloudtrail.
LOG_SOURCE: Final = LogSource(product="aws", service="cloudtrail")
#: CloudTrail's replacement for a wrong user name at sign-in, which could be a password.
_HIDDEN: Final = "HIDDEN_DUE_TO_SECURITY_REASONS"
#: Request parameters that name the resource if ``resources`` does not, by priority.
_RESOURCE_PARAMETERS: Final = (
    "trailName", "roleArn", "roleName", "userName", "groupName", "policyArn", "policyName",
    "instanceId", "functionName", "secretId", "keyId", "dBInstanceIdentifier", "groupId",
    "tableName", "topicArn", "queueUrl", "resourceArn", "snapshotId", "volumeId", "vpcId",
    "stackName", "clusterName", "detectorId",
    "configurationRecorderName", "name",
)  # fmt: skip
_NonEmpty = Annotated[str, Meta(min_length=1)]


class OnBehalfOf(Struct, rename="camel", gc=False):
    """The person who uses credentials of IAM Identity Center."""

    user_id: str | None = None


class UserIdentity(Struct, rename="camel", gc=False):
    """userIdentity. ``type`` determines which fields are present."""

    type: str | None = None
    principal_id: str | None = None
    arn: str | None = None
    account_id: str | None = None
    user_name: str | None = None
    invoked_by: str | None = None
    on_behalf_of: OnBehalfOf | None = None

    @property
    def name(self) -> str | None:
        """The most readable name; None if AWS hides it."""
        user_name = None if self.user_name == _HIDDEN else self.user_name
        person = self.on_behalf_of.user_id if self.on_behalf_of else None
        account = self.account_id if self.type == "AWSAccount" else None
        names = (user_name, self.arn, person, self.principal_id, self.invoked_by, account)
        return next((name for name in names if name), None)


class Insight(Struct, rename="camel", gc=False):
    """insightDetails: start or end of unusual activity."""

    state: str | None = None
    event_source: str | None = None
    event_name: str | None = None
    insight_type: str | None = None


class Record(Struct, rename="camel", gc=False):
    """The fields that are used here. ``Event.record`` keeps the complete record."""

    event_id: _NonEmpty = msgspec.field(name="eventID")
    event_time: Timestamp
    event_name: str | None = None
    event_source: str | None = None
    event_type: str | None = None
    event_category: str | None = None
    aws_region: str | None = None
    source_ip_address: str | None = msgspec.field(name="sourceIPAddress", default=None)
    user_agent: str | None = None
    user_identity: UserIdentity | None = None
    error_code: str | None = None
    error_message: str | None = None
    read_only: bool | None = None
    request_parameters: Any = None
    response_elements: Any = None
    additional_event_data: Any = None
    service_event_details: Any = None
    resources: Any = None
    recipient_account_id: str | None = None
    insight_details: Insight | None = None


_read = msgspec.json.Decoder(Record).decode


def split(body: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield the records of a CloudTrail file.

    Raises:
        ContractError: the body is not a CloudTrail file.
        raw_json.MalformedJSON: the body is not JSON.
    """
    document = raw_json.read_object(body)
    if "Records" not in document:
        raise ContractError("Object missing required field `Records`")
    yield from json_records.member_records(bytes(document["Records"]), name="Records")


def to_event(record: bytes) -> Event:
    """Convert one record. ``event_type`` is the name of the API call, such as "ConsoleLogin".

    ``client_ip`` is the name of an AWS service if the service made the call.

    Raises:
        ContractError: the record lacks a required field or a field has a wrong type.
    """
    entry = raw_json.read_record(_read, record)
    insight = entry.insight_details
    event_type = entry.event_name or entry.event_type
    if not event_type:
        raise ContractError("Object missing required field `eventName`")
    return Event(
        event_id=entry.event_id,
        timestamp=to_utc(entry.event_time),
        event_type=event_type,
        source_service=entry.event_source or (insight.event_source if insight else None),
        user_id=entry.user_identity.name if entry.user_identity else None,
        action_result=None if insight else _result(entry),
        client_ip=entry.source_ip_address,
        resource=_resource(entry),
        details=_details(entry),
        logsource=LOG_SOURCE,
        record=Raw(record),
    )


def _result(record: Record) -> str:
    # A sign-in has its result under the name of the event: {"ConsoleLogin": "Failure"}.
    responses = (record.response_elements, record.service_event_details)
    results = [item.get(record.event_name) for item in responses if isinstance(item, dict)]
    return "FAILURE" if record.error_code or "Failure" in results else "SUCCESS"


def _resource(record: Record) -> str | None:
    for resource in record.resources if isinstance(record.resources, list) else ():
        if isinstance(resource, dict):
            arn = resource.get("ARN") or resource.get("ARNPrefix")
            if isinstance(arn, str):
                return arn
    parameters = record.request_parameters
    return _resource_of(parameters) if isinstance(parameters, dict) else None


def _resource_of(parameters: Mapping[str, Any]) -> str | None:
    bucket, key = parameters.get("bucketName"), parameters.get("key")
    if isinstance(bucket, str):
        return f"{bucket}/{key}" if isinstance(key, str) else bucket
    values = (parameters.get(name) for name in _RESOURCE_PARAMETERS)
    return next((value for value in values if isinstance(value, str) and value), None)


def _details(record: Record) -> dict[str, Any]:
    identity, insight = record.user_identity, record.insight_details
    extra = record.additional_event_data
    mfa = extra.get("MFAUsed") if isinstance(extra, dict) else None
    values = {
        "awsRegion": record.aws_region,
        "accountId": (identity.account_id if identity else None) or record.recipient_account_id,
        "userAgent": record.user_agent,
        "userType": identity.type if identity else None,
        "eventType": record.event_type,
        "eventCategory": record.event_category,
        "readOnly": record.read_only,
        "errorCode": record.error_code,
        "errorMessage": record.error_message,
        "mfaUsed": mfa if isinstance(mfa, str) else None,
        "insightEventName": insight.event_name if insight else None,
        "insightType": insight.insight_type if insight else None,
        "insightState": insight.state if insight else None,
    }
    return {name: value for name, value in values.items() if value is not None and value != ""}
