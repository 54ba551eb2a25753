"""AWS CloudTrail, as its files in S3 hold it: ``{"Records": [...]}``.

The fields: https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-record-contents.html
Who acted: https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-user-identity.html
Insights events are made differently: https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-insights-fields-trails.html
"""

import datetime as dt
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Raw, Struct

from audit_event_generator.ingest import envelope
from auditflow.contract import bounds
from auditflow.contract.event import Event, LogSource, Timestamp
from auditflow.errors import ContractError

#: As in SigmaHQ's rules under rules/cloud/aws/cloudtrail.
LOG_SOURCE: Final = LogSource(product="aws", service="cloudtrail")
#: What stands for a name that somebody mistyped at the sign-in page: it might be a password.
_HIDDEN: Final = "HIDDEN_DUE_TO_SECURITY_REASONS"
#: Request parameters that name what a call was about, where ``resources`` does not. First wins.
_NAMING: Final = (
    "trailName", "roleArn", "roleName", "userName", "groupName", "policyArn", "policyName",
    "instanceId", "functionName", "secretId", "keyId", "dBInstanceIdentifier", "groupId",
    "tableName", "topicArn", "queueUrl", "resourceArn", "snapshotId", "volumeId", "vpcId",
    "stackName", "clusterName", "detectorId",
    "configurationRecorderName", "name",
)  # fmt: skip
_NonEmpty = Annotated[str, Meta(min_length=1)]


class Behalf(Struct, rename="camel", gc=False):
    """The person behind credentials of IAM Identity Center."""

    user_id: str | None = None


class Identity(Struct, rename="camel", gc=False):
    """userIdentity: which of its fields are there depends on ``type``."""

    type: str | None = None
    principal_id: str | None = None
    arn: str | None = None
    account_id: str | None = None
    user_name: str | None = None
    invoked_by: str | None = None
    on_behalf_of: Behalf | None = None

    @property
    def name(self) -> str | None:
        """The clearest name that it has. None where AWS hides it: nobody is not somebody."""
        user_name = None if self.user_name == _HIDDEN else self.user_name
        behalf = self.on_behalf_of.user_id if self.on_behalf_of else None
        account = self.account_id if self.type == "AWSAccount" else None
        names = (user_name, self.arn, behalf, self.principal_id, self.invoked_by, account)
        return next((name for name in names if name), None)


class Insight(Struct, rename="camel", gc=False):
    """insightDetails: unusual activity that began or ended."""

    state: str | None = None
    event_source: str | None = None
    event_name: str | None = None
    insight_type: str | None = None


class Record(Struct, rename="camel", gc=False):
    """The fields that are read here; the others stay in ``Event.record``."""

    event_id: _NonEmpty = msgspec.field(name="eventID")
    event_time: Timestamp
    event_name: str | None = None
    event_source: str | None = None
    event_type: str | None = None
    event_category: str | None = None
    aws_region: str | None = None
    source_ip_address: str | None = msgspec.field(name="sourceIPAddress", default=None)
    user_agent: str | None = None
    user_identity: Identity | None = None
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


def records(body: bytes) -> Iterator[tuple[str, bytes]]:
    """The records of a CloudTrail file.

    Raises:
        ContractError: the body is no such file (``envelope.Malformed``: not JSON at all).
    """
    envelope.check_text(body)
    document = envelope.fields(body)
    if "Records" not in document:
        raise ContractError("Object missing required field `Records`")
    found = envelope.elements(bytes(document["Records"]), name="Records")
    yield from ((f"Records[{index}]", record) for index, record in enumerate(found))


def event_of(item: bytes) -> Event:
    """The event of one record. ``event_type`` is the API call's name, such as "ConsoleLogin".

    ``client_ip`` may be the name of an AWS service that acted for somebody.

    Raises:
        ContractError: what does not fit, and where.
    """
    try:
        record = _read(item)
    except RecursionError:
        raise ContractError(f"nested deeper than {bounds.MAX_DEPTH} levels") from None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ContractError(str(error)) from None
    insight = record.insight_details
    event_type = record.event_name or record.event_type
    if not event_type:
        raise ContractError("Object missing required field `eventName`")
    return Event(
        event_id=record.event_id,
        timestamp=record.event_time.astimezone(dt.UTC),
        event_type=event_type,
        source_service=record.event_source or (insight.event_source if insight else None),
        user_id=record.user_identity.name if record.user_identity else None,
        action_result=None if insight else _result(record),
        client_ip=record.source_ip_address,
        resource=_resource(record),
        details=_details(record),
        logsource=LOG_SOURCE,
        record=Raw(item),
    )


def _result(record: Record) -> str:
    # Sign-ins say it under the event's own name: {"ConsoleLogin": "Failure"}.
    answers = (record.response_elements, record.service_event_details)
    said = [answer.get(record.event_name) for answer in answers if isinstance(answer, dict)]
    return "FAILURE" if record.error_code or "Failure" in said else "SUCCESS"


def _resource(record: Record) -> str | None:
    for resource in record.resources if isinstance(record.resources, list) else ():
        if isinstance(resource, dict):
            arn = resource.get("ARN") or resource.get("ARNPrefix")
            if isinstance(arn, str):
                return arn
    parameters = record.request_parameters
    return _named(parameters) if isinstance(parameters, dict) else None


def _named(parameters: Mapping[str, Any]) -> str | None:
    bucket, key = parameters.get("bucketName"), parameters.get("key")
    if isinstance(bucket, str):
        return f"{bucket}/{key}" if isinstance(key, str) else bucket
    found = (parameters.get(name) for name in _NAMING)
    return next((value for value in found if isinstance(value, str) and value), None)


def _details(record: Record) -> dict[str, Any]:
    identity, insight = record.user_identity, record.insight_details
    extra = record.additional_event_data
    mfa = extra.get("MFAUsed") if isinstance(extra, dict) else None
    found = {
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
    return {name: value for name, value in found.items() if value is not None and value != ""}
