"""texts of alerts in lower case with an index of their trigrams"""

from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

# The service fills the table after each change of an alert (database/texts.py), not in the
# transaction that stores findings: an index of trigrams is expensive to write. Searches also read
# the alerts that changed since. A trusted extension: the owner of the database may create it.
# The index collects 1 MiB of new entries before it sorts them in: a text costs 25 us, not 120.
_TEXTS = """
CREATE EXTENSION IF NOT EXISTS pg_trgm;
CREATE TABLE alert_texts (
    alert_id  uuid PRIMARY KEY,
    text      text NOT NULL
);
CREATE INDEX alert_texts_trigrams ON alert_texts USING gin (text gin_trgm_ops)
    WITH (gin_pending_list_limit = 1024);
INSERT INTO maintenance_progress VALUES ('texts', 0);
"""
# As in 0010, and it deletes the texts.
_RETENTION = """
CREATE OR REPLACE FUNCTION retention_delete_alerts(cutoff timestamptz, batch integer)
RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '2s'
AS $$
DECLARE
    old uuid[];
BEGIN
    IF cutoff > now() - interval '30 days' THEN
        RAISE EXCEPTION 'the time % is within the last 30 days', cutoff;
    END IF;
    IF NOT pg_try_advisory_xact_lock(4713, 4) THEN
        RETURN 0;
    END IF;
    old := ARRAY(
        SELECT alert_id FROM public.alerts AS old_alerts
        WHERE status = 'resolved' AND last_seen < cutoff AND updated_at < cutoff
          AND EXISTS (
              SELECT FROM public.alerts AS newer
              WHERE newer.fingerprint = old_alerts.fingerprint
                AND newer.sequence = old_alerts.sequence + 1)
          AND NOT EXISTS (
              SELECT FROM public.findings WHERE findings.alert_id = old_alerts.alert_id)
        ORDER BY last_seen, alert_id LIMIT batch FOR UPDATE SKIP LOCKED);
    UPDATE public.alerts SET previous_alert_id = NULL WHERE previous_alert_id = ANY (old);
    DELETE FROM public.alert_observables WHERE alert_id = ANY (old);
    DELETE FROM public.alert_texts WHERE alert_id = ANY (old);
    DELETE FROM public.notification_group_alerts WHERE alert_id = ANY (old);
    DELETE FROM public.notification_alerts WHERE alert_id = ANY (old);
    DELETE FROM public.alerts WHERE alert_id = ANY (old);
    RETURN coalesce(array_length(old, 1), 0);
END
$$
"""


def upgrade() -> None:
    op.execute(_TEXTS)
    op.execute(_RETENTION)
