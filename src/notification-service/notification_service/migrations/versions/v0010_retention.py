"""functions that delete old findings and alerts, for the retention of the service"""

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

# The service may not delete findings and alerts itself. It may call these functions, which refuse a
# time within the last 30 days. Each call does a limited amount of work. Only one call at a time
# works; others return at once.
_FINDINGS = """
CREATE FUNCTION retention_drop_findings(cutoff timestamptz, batch integer) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '2s'
AS $$
DECLARE
    name text;
    deleted integer;
BEGIN
    IF cutoff > now() - interval '30 days' THEN
        RAISE EXCEPTION 'the time % is within the last 30 days', cutoff;
    END IF;
    IF NOT pg_try_advisory_xact_lock(4713, 3) THEN
        RETURN NULL;
    END IF;
    SELECT relname INTO name FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
        WHERE inhparent = 'public.findings'::regclass
          AND relname ~ '^findings_[0-9]{4}_[0-9]{2}$'
          AND (to_date(right(relname, 7), 'YYYY_MM')::timestamp + interval '1 month')
              AT TIME ZONE 'UTC' <= cutoff
        ORDER BY relname LIMIT 1;
    IF name IS NOT NULL THEN
        EXECUTE format('DROP TABLE public.%I', name);
        RETURN name;
    END IF;
    DELETE FROM public.findings_default WHERE (bucket_start, finding_id) IN (
        SELECT bucket_start, finding_id FROM public.findings_default
        WHERE bucket_start < cutoff ORDER BY bucket_start LIMIT batch);
    GET DIAGNOSTICS deleted = ROW_COUNT;
    RETURN CASE WHEN deleted > 0 THEN 'findings_default' END;
END
$$
"""

# The newest alert of a fingerprint stays, because its sequence number makes the next identifier.
_ALERTS = """
CREATE FUNCTION retention_delete_alerts(cutoff timestamptz, batch integer) RETURNS integer
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
    DELETE FROM public.notification_group_alerts WHERE alert_id = ANY (old);
    DELETE FROM public.notification_alerts WHERE alert_id = ANY (old);
    DELETE FROM public.alerts WHERE alert_id = ANY (old);
    RETURN coalesce(array_length(old, 1), 0);
END
$$
"""

_INDEXES = """
CREATE INDEX alerts_previous ON alerts (previous_alert_id) WHERE previous_alert_id IS NOT NULL;
CREATE INDEX alert_observables_alert ON alert_observables (alert_id);
REVOKE ALL ON FUNCTION retention_drop_findings(timestamptz, integer),
    retention_delete_alerts(timestamptz, integer) FROM PUBLIC;
"""


def upgrade() -> None:
    for step in (_FINDINGS, _ALERTS, _INDEXES):
        op.execute(step)
