"""indexes for alerts that were active in a range, for samples, and for filters of few alerts"""

from typing import Final

from notification_service.migrations import indexes

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

# first_seen is a key, so that PostgreSQL compares it in the index. The other columns are those of
# alert_counts: facets of a range of time need no row of the table.
_ACTIVITY: Final = """
    (status, last_seen DESC, alert_id DESC, first_seen)
    INCLUDE (level, rule_id, environment, assignee, verdict)
"""
_CREATED: Final = {
    # Alerts that were active before a time either ended soon after it, or lasted long. This index
    # has the latter only (alert_filters.LONG).
    "alerts_long": f"{_ACTIVITY} WHERE last_seen - first_seen > interval '6 hours'",
    # An eighth of all alerts (sampling.LARGEST_PART).
    "alerts_sample": """(alert_id)
        INCLUDE (status, level, level_rank, rule_id, environment, assignee, verdict, first_seen,
                 last_seen)
        WHERE alert_id < '20000000-0000-0000-0000-000000000000'""",
    # Few alerts are marked, snoozed or assigned, so these indexes are small.
    "alerts_active_again": "(status, last_seen DESC, alert_id DESC) WHERE active_again",
    "alerts_snoozed": """(status, last_seen DESC, alert_id DESC)
        WHERE snoozed_until_escalation OR snoozed_until IS NOT NULL""",
    "alerts_assigned": """(assignee, status, last_seen DESC, alert_id DESC)
        WHERE assignee IS NOT NULL""",
}


def upgrade() -> None:
    indexes.replace("alerts_by_activity", _ACTIVITY, on="alerts", contains="INCLUDE")
    for name, definition in _CREATED.items():
        indexes.create(name, definition, on="alerts")
