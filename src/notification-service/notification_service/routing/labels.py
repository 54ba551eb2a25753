"""The labels of an alert, which matchers, grouping and inhibition use."""

from typing import Final

from notification_service.alert import Alert

#: The labels that every alert has, and what they hold.
NAMES: Final = {
    "rule": "identifier of the rule",
    "title": "title of the rule",
    "level": "Sigma level: informational, low, medium, high, critical",
    "severity": "INFO, WARNING or CRITICAL",
    "environment": "environment that the events come from",
    "actor": "user who acted",
    "client_ip": "address that the actor came from",
    "host": "host on which it happened",
    "resource": "resource that was acted upon",
    "tags": "tags of the rule, separated by commas",
}


def of_alert(alert: Alert) -> dict[str, str]:
    """The labels of an alert. What is not known is left out."""
    found = {
        "rule": alert.rule.id,
        "title": alert.rule.title,
        "level": alert.level.value,
        "severity": alert.severity.value,
        "environment": alert.environment,
        "actor": alert.actor,
        "client_ip": alert.client_ip,
        "host": alert.server_hostname,
        "resource": alert.resource,
        "tags": ",".join(alert.rule.tags),
    }
    labels = {name: value for name, value in found.items() if value}
    labels |= {f"entity.{name}": value for name, value in alert.entity.items()}
    return labels
