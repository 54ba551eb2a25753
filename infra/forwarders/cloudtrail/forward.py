"""An AWS Lambda function: sends each new CloudTrail file to the ingest of AuditFlow.

Path of a file: CloudTrail -> S3 -> notification in an SQS queue -> this function ->
``/ingest/cloudtrail``. SQS delivers a notification again until the function has confirmed it, so an
outage of AuditFlow loses nothing. A repeated file gives the same events, and AuditFlow stores each
event once.

Settings (environment): ``AUDITFLOW_URL``, and ``AUDITFLOW_TOKEN_SECRET``, the ARN of a secret in
Secrets Manager that contains the token. The function needs only boto3, which the runtime of Lambda
contains, and the standard library.
"""

import json
import os
import re
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

import boto3

#: The path of a file with events. ``CloudTrail-Digest`` and ``-Insight`` are other folders.
_FILE = re.compile(r"(^|/)AWSLogs/.*/CloudTrail/.*\.json\.gz$")
#: Time limit of one request in seconds. The ingest answers within a second, or with 503.
_TIMEOUT = 20
#: AuditFlow would refuse the same file again.
_PERMANENT = (400, 413, 415, 422)


def handler(event: dict[str, Any], context: object) -> dict[str, list[dict[str, str]]]:
    """Forward the files that a batch of SQS messages names.

    Returns:
        The messages that SQS must deliver again (``ReportBatchItemFailures``).
    """
    failures = []
    for message in event["Records"]:
        try:
            for bucket, key in files(json.loads(message["body"])):
                post(read(bucket, key), f"s3://{bucket}/{key}")
        except Exception as error:  # noqa: BLE001  # One message must not fail the others of the batch.
            print(f"failed: {message['messageId']}: {error}")  # noqa: T201  # CloudWatch Logs
            failures.append({"itemIdentifier": message["messageId"]})
    return {"batchItemFailures": failures}


def files(notification: dict[str, Any]) -> list[tuple[str, str]]:
    """The bucket and the key of each CloudTrail file that a notification names.

    S3 sends a test notification without records when the notification is configured.
    """
    found = []
    for record in notification.get("Records", []):
        bucket = record["s3"]["bucket"]["name"]
        key = urllib.parse.unquote_plus(record["s3"]["object"]["key"])
        if _FILE.search(key):
            found.append((bucket, key))
    return found


def read(bucket: str, key: str) -> bytes:
    """The compressed file."""
    content: bytes = boto3.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
    return content


def post(body: bytes, name: str) -> None:
    """Send one file. A file that AuditFlow refuses as a whole is logged and not repeated.

    Raises:
        OSError: AuditFlow is unavailable, or does not accept the token. SQS must repeat it.
    """
    request = urllib.request.Request(  # noqa: S310  # The URL is a setting.
        f"{os.environ['AUDITFLOW_URL']}/ingest/cloudtrail",
        data=body,
        headers={"Authorization": f"Bearer {token()}", "Content-Encoding": "gzip"},
    )
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT) as response:  # noqa: S310
            print(f"sent: {name}: {response.read().decode()}")  # noqa: T201
    except urllib.error.HTTPError as error:
        if error.code not in _PERMANENT:
            raise
        print(f"refused: {name}: {error.code} {error.read(2000).decode(errors='replace')}")  # noqa: T201


def token() -> str:
    """The token, read for each file, so that a rotation needs no new deployment."""
    secret = boto3.client("secretsmanager").get_secret_value(
        SecretId=os.environ["AUDITFLOW_TOKEN_SECRET"]
    )
    return str(secret["SecretString"]).strip()
