"""the number of alerts by the day of their last event, for facets of ranges of time"""

from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

_DIMENSIONS = "status, level, rule_id, environment, assignee, verdict"
_DAY = "(last_seen AT TIME ZONE 'UTC')::date"
# As alert_counts, with the day in UTC. Every statement that changes alerts appends its differences.
# The service merges them regularly and marks the rows that it has merged.
_TABLE = """
CREATE TABLE alert_days (
    day          date    NOT NULL,
    status       text    NOT NULL,
    level        text    NOT NULL,
    rule_id      text    NOT NULL,
    environment  text    NOT NULL,
    assignee     text,
    verdict      text,
    number       bigint  NOT NULL,
    merged       boolean NOT NULL DEFAULT false
);
CREATE INDEX alert_days_day ON alert_days (day);
CREATE INDEX alert_days_not_merged ON alert_days (day) WHERE NOT merged;
"""
_FUNCTION = """
CREATE OR REPLACE FUNCTION alert_counts_add_{name}() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    WITH differences AS (
        SELECT day, {dimensions}, sum(number)::bigint AS number FROM ({rows}) AS changed
        GROUP BY day, {dimensions} HAVING sum(number) <> 0
    ), by_day AS (
        INSERT INTO public.alert_days SELECT day, {dimensions}, number FROM differences
    )
    INSERT INTO public.alert_counts SELECT {dimensions}, sum(number) FROM differences
    GROUP BY {dimensions} HAVING sum(number) <> 0;
    RETURN NULL;
END
$$;
"""
_ROWS = {
    "inserted": "SELECT {day} AS day, {dimensions}, 1 AS number FROM inserted",
    "updated": """
        SELECT {day} AS day, {dimensions}, 1 AS number FROM after
        UNION ALL SELECT {day}, {dimensions}, -1 FROM before
    """,
    "deleted": "SELECT {day} AS day, {dimensions}, -1 AS number FROM deleted",
}
_FILL = """
    INSERT INTO alert_days
    SELECT {day}, {dimensions}, count(*), true FROM alerts GROUP BY {day}, {dimensions}
"""


def upgrade() -> None:
    names = {"day": _DAY, "dimensions": _DIMENSIONS}
    op.execute(_TABLE)
    # Writes wait while the alerts are counted, for about a second per million alerts.
    op.execute("LOCK TABLE alerts IN SHARE ROW EXCLUSIVE MODE")
    for name, rows in _ROWS.items():
        op.execute(_FUNCTION.format(name=name, rows=rows.format(**names), **names))
    op.execute(_FILL.format(**names))
