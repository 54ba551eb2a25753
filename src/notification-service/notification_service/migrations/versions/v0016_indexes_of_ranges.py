"""indexes for alerts that were active in a range, for samples, and for filters of few alerts"""

from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

# first_seen is a key, so that PostgreSQL compares it in the index. The other columns are those of
# alert_counts: facets of a range of time need no row of the table.
_COLUMNS = """
    (status, last_seen DESC, alert_id DESC, first_seen)
    INCLUDE (level, rule_id, environment, assignee, verdict)
"""
# Alerts that were active before a time either ended soon after it, or lasted long. The second index
# has the latter only (alert_filters.LONG).
_ACTIVITY = f"""
DROP INDEX alerts_by_activity;
CREATE INDEX alerts_by_activity ON alerts {_COLUMNS};
CREATE INDEX alerts_long ON alerts {_COLUMNS} WHERE last_seen - first_seen > interval '6 hours';
"""
# An eighth of all alerts (sampling.LARGEST_PART).
_SAMPLE = """
CREATE INDEX alerts_sample ON alerts (alert_id)
    INCLUDE (status, level, level_rank, rule_id, environment, assignee, verdict, first_seen,
             last_seen)
    WHERE alert_id < '20000000-0000-0000-0000-000000000000';
"""
# Few alerts are marked, snoozed or assigned, so these indexes are small.
_FEW = """
CREATE INDEX alerts_active_again ON alerts (status, last_seen DESC, alert_id DESC)
    WHERE active_again;
CREATE INDEX alerts_snoozed ON alerts (status, last_seen DESC, alert_id DESC)
    WHERE snoozed_until_escalation OR snoozed_until IS NOT NULL;
CREATE INDEX alerts_assigned ON alerts (assignee, status, last_seen DESC, alert_id DESC)
    WHERE assignee IS NOT NULL;
"""


def upgrade() -> None:
    op.execute(_ACTIVITY)
    op.execute(_SAMPLE)
    op.execute(_FEW)
