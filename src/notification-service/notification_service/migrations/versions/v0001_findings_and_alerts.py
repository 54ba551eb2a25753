"""findings, by month, and the alerts that they make"""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# Whole events are `json`, not `jsonb`: evidence keeps the bytes that came. Texts have no bound
# here; what alerts show is cut by the service (alert.py).
_FINDINGS = """
CREATE TABLE findings (
    bucket_start     timestamptz NOT NULL,
    finding_id       uuid        NOT NULL,
    alert_id         uuid        NOT NULL,
    fingerprint      uuid        NOT NULL,
    rule_id          text        NOT NULL,
    rule_title       text        NOT NULL,
    rule_revision    text        NOT NULL,
    rule_level       text        NOT NULL,
    rule_tags        text[]      NOT NULL,
    rule_runbook     text,
    severity         text        NOT NULL CHECK (severity IN ('INFO', 'WARNING', 'CRITICAL')),
    entity           jsonb       NOT NULL,
    first_seen       timestamptz NOT NULL,
    last_seen        timestamptz NOT NULL,
    count            bigint      NOT NULL CHECK (count > 0),
    description      text        NOT NULL,
    evidence         jsonb       NOT NULL,
    first_event      json,
    last_event       json,
    actor            text,
    client_ip        text,
    resource         text,
    server_hostname  text,
    correlation_id   text,
    environment      text        NOT NULL,
    approximate      boolean     NOT NULL,
    received_at      timestamptz NOT NULL DEFAULT now(),
    updated_at       timestamptz NOT NULL,
    PRIMARY KEY (bucket_start, finding_id)
) PARTITION BY RANGE (bucket_start)
"""

_ALERTS = """
CREATE TABLE alerts (
    alert_id           uuid        PRIMARY KEY,
    fingerprint        uuid        NOT NULL,
    sequence           integer     NOT NULL CHECK (sequence > 0),
    previous_alert_id  uuid        REFERENCES alerts,
    status             text        NOT NULL CHECK (status IN ('open', 'acknowledged', 'resolved')),
    verdict            text,
    rule_id            text        NOT NULL,
    rule_title         text        NOT NULL,
    rule_revision      text        NOT NULL,
    rule_level         text        NOT NULL,
    rule_tags          text[]      NOT NULL,
    rule_runbook       text,
    severity           text        NOT NULL CHECK (severity IN ('INFO', 'WARNING', 'CRITICAL')),
    entity             jsonb       NOT NULL,
    title              text        NOT NULL,
    description        text        NOT NULL,
    actor              text,
    client_ip          text,
    resource           text,
    server_hostname    text,
    environment        text        NOT NULL,
    count              bigint      NOT NULL CHECK (count > 0),
    finding_count      bigint      NOT NULL CHECK (finding_count > 0),
    first_seen         timestamptz NOT NULL,
    last_seen          timestamptz NOT NULL,
    newest_finding_id  uuid        NOT NULL,
    approximate        boolean     NOT NULL,
    opened_at          timestamptz NOT NULL,
    updated_at         timestamptz NOT NULL,
    version            integer     NOT NULL,
    UNIQUE (fingerprint, sequence)
)
"""

_INDEXES = """
CREATE INDEX findings_finding_id ON findings (finding_id);
CREATE INDEX findings_of_alert ON findings (alert_id, last_seen DESC, finding_id DESC);
CREATE UNIQUE INDEX alerts_unresolved ON alerts (fingerprint) WHERE status <> 'resolved';
CREATE INDEX alerts_newest_first ON alerts (opened_at DESC, alert_id DESC);
CREATE INDEX alerts_last_seen ON alerts (last_seen);
CREATE INDEX alerts_rule ON alerts (rule_id, opened_at DESC);
CREATE INDEX alerts_actor ON alerts (actor, opened_at DESC) WHERE actor IS NOT NULL;
CREATE INDEX alerts_client_ip ON alerts (client_ip, opened_at DESC) WHERE client_ip IS NOT NULL;
CREATE INDEX alerts_host ON alerts (server_hostname, opened_at DESC)
    WHERE server_hostname IS NOT NULL;
CREATE INDEX alerts_resource ON alerts (resource, opened_at DESC) WHERE resource IS NOT NULL;
"""

# The service may call this, and nothing else that changes the schema: so it looks at what it is
# asked. A month that is too far away is refused, and its rows go to the default partition, so that
# garbage cannot make partitions without end. Rows of the month that are there already move over,
# since PostgreSQL refuses a partition that overlaps with what the default one holds.
_ENSURE_MONTH = """
CREATE FUNCTION findings_ensure_month(wanted date) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '5s'
AS $$
DECLARE
    month date := date_trunc('month', wanted::timestamp)::date;
    name text := 'findings_' || to_char(month, 'YYYY_MM');
    lower_end timestamptz := month::timestamp AT TIME ZONE 'UTC';
    upper_end timestamptz := (month::timestamp + interval '1 month') AT TIME ZONE 'UTC';
BEGIN
    IF upper_end <= now() - interval '400 days' OR lower_end > now() + interval '40 days' THEN
        RETURN false;
    END IF;
    IF to_regclass('public.' || name) IS NULL THEN
        PERFORM pg_advisory_xact_lock(hashtext('public.findings_ensure_month'));
    END IF;
    IF to_regclass('public.' || name) IS NOT NULL THEN
        RETURN EXISTS (
            SELECT FROM pg_inherits
            WHERE inhparent = 'public.findings'::regclass
              AND inhrelid = to_regclass('public.' || name)
        );
    END IF;
    LOCK TABLE public.findings_default IN ACCESS EXCLUSIVE MODE;
    EXECUTE format('CREATE TABLE public.%I (LIKE public.findings INCLUDING ALL)', name);
    EXECUTE format(
        'WITH moved AS (
             DELETE FROM public.findings_default
             WHERE bucket_start >= %L AND bucket_start < %L
             RETURNING *
         ) INSERT INTO public.%I SELECT * FROM moved', lower_end, upper_end, name);
    EXECUTE format(
        'ALTER TABLE public.findings ATTACH PARTITION public.%I FOR VALUES FROM (%L) TO (%L)',
        name, lower_end, upper_end);
    RETURN true;
END
$$
"""


def upgrade() -> None:
    op.execute(_FINDINGS)
    op.execute("CREATE TABLE findings_default PARTITION OF findings DEFAULT")
    op.execute(_ALERTS)
    op.execute(_INDEXES)
    op.execute(_ENSURE_MONTH)
    op.execute("REVOKE ALL ON FUNCTION findings_ensure_month(date) FROM PUBLIC")
