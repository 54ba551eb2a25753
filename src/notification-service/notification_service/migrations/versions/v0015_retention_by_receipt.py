"""retention keeps findings that were received recently, whatever the times of their events"""

from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

# A source sets the times of its events. With a time long ago, an attacker could let the events of a
# finding be deleted at once. So a finding is deleted if both times are before the cutoff.
_FINDINGS = """
CREATE OR REPLACE FUNCTION retention_drop_findings(cutoff timestamptz, batch integer) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '2s'
AS $$
DECLARE
    name text;
    is_kept boolean;
    deleted integer;
BEGIN
    IF cutoff > now() - interval '30 days' THEN
        RAISE EXCEPTION 'the time % is within the last 30 days', cutoff;
    END IF;
    IF NOT pg_try_advisory_xact_lock(4713, 3) THEN
        RETURN NULL;
    END IF;
    FOR name IN
        SELECT relname FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
        WHERE inhparent = 'public.findings'::regclass
          AND relname ~ '^findings_[0-9]{4}_[0-9]{2}$'
          AND (to_date(right(relname, 7), 'YYYY_MM')::timestamp + interval '1 month')
              AT TIME ZONE 'UTC' <= cutoff
        ORDER BY relname
    LOOP
        EXECUTE format('SELECT EXISTS (SELECT FROM public.%I WHERE received_at >= $1)', name)
            INTO is_kept USING cutoff;
        IF NOT is_kept THEN
            EXECUTE format('DROP TABLE public.%I', name);
            RETURN name;
        END IF;
    END LOOP;
    DELETE FROM public.findings WHERE (bucket_start, finding_id) IN (
        SELECT bucket_start, finding_id FROM public.findings
        WHERE bucket_start < cutoff AND received_at < cutoff
        ORDER BY bucket_start LIMIT batch);
    GET DIAGNOSTICS deleted = ROW_COUNT;
    RETURN CASE WHEN deleted > 0 THEN 'findings_default' END;
END
$$
"""


def upgrade() -> None:
    op.execute(_FINDINGS)
