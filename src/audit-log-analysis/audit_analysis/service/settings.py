"""The settings of the analysis, from environment variables."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from auditflow.contract.finding_message import MAX_FINDINGS
from auditflow.settings import Port, RabbitMQSettings, RedisSettings, ServiceSettings

_SHIPPED_RULES = Path(__file__).parent.parent / "rules"


class Settings(ServiceSettings, RabbitMQSettings, RedisSettings):
    """All settings of the analysis."""

    port: Port = 5001
    #: Files and folders of Sigma rules.
    rules_paths: tuple[Path, ...] = (_SHIPPED_RULES,)
    #: Files and folders of foreign rules (a checkout of SigmaHQ, a mounted ConfigMap). Foreign
    #: rules that this engine does not support are skipped and listed at /rules.
    foreign_rules_paths: tuple[Path, ...] = ()
    #: Ids of disabled rules. Correlations that depend on them are disabled too.
    rules_off: frozenset[str] = frozenset()
    #: Maximum time of a rule for one event. Slower rules are counted and listed at /rules.
    slow_rule_milliseconds: Annotated[float, Field(gt=0)] = 10
    #: Number of slow events after which a rule is disabled until it changes or the process
    #: restarts. 0: never, because a client that sends expensive events could disable the rules
    #: that detect it.
    slow_rule_strikes: Annotated[int, Field(ge=0)] = 0
    #: Maximum delay of an event behind the newest event of its entity.
    lateness_seconds: Annotated[int, Field(ge=0, le=7 * 86400)] = 900
    #: Maximum number of open windows of each rule in Redis. Above it the least suspicious ones are
    #: evicted.
    windows_per_rule: Annotated[int, Field(ge=10_000)] = 100_000
    #: Maximum size of the complete events that windows refer to (MiB). Above it the oldest ones are
    #: deleted; findings then have only the ids of these events.
    stored_events_mebibytes: Annotated[int, Field(ge=1)] = 64
    #: Whether all events are published to the queue of the archive. Without a consumer of this
    #: queue, the analysis stops when the queue is full.
    archive: bool = True
    #: Maximum number of unacknowledged messages. Larger batches cost less for each event.
    prefetch: Annotated[int, Field(ge=1, le=10_000)] = 1000
    #: Maximum number of findings in a message. With 1, each message is a finding, which is the only
    #: form that older versions of the notification-service accept.
    findings_per_message: Annotated[int, Field(ge=1, le=MAX_FINDINGS)] = 100
