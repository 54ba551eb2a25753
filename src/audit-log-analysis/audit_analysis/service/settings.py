"""The settings of the analysis, from the environment."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from auditflow.settings import Port, RabbitMQSettings, RedisSettings, ServiceSettings

_PACK = Path(__file__).parent.parent / "rules"


class Settings(ServiceSettings, RabbitMQSettings, RedisSettings):
    """What the analysis needs to run."""

    port: Port = 5001
    #: Files and folders of Sigma rules.
    rules_paths: tuple[Path, ...] = (_PACK,)
    #: The same of others (a checkout of SigmaHQ, a mounted ConfigMap). Those that this engine
    #: cannot use are left out and told at /rules; a fault in one of ours would end the start.
    foreign_rules_paths: tuple[Path, ...] = ()
    #: Ids of rules that are switched off, with the correlations that rest on them.
    rules_off: frozenset[str] = frozenset()
    #: What a rule may cost an event; slower ones are counted and named at /rules.
    slow_rule_milliseconds: Annotated[float, Field(gt=0)] = 10
    #: How often a rule may be slow before it is off until it changes or the process starts again.
    #: 0: never, for whoever sends events could switch off what would notice them.
    slow_rule_strikes: Annotated[int, Field(ge=0)] = 0
    #: How far behind the newest event of an entity another may come and still be counted.
    lateness_seconds: Annotated[int, Field(ge=0, le=7 * 86400)] = 900
    #: Messages in hand at once.
    prefetch: Annotated[int, Field(ge=1, le=10_000)] = 500
