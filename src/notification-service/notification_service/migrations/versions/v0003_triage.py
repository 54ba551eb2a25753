"""triage: levels, distinct events, observables, actions and their history"""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

# The previous version keeps writing its own columns, so all new columns have a default or are
# filled by the trigger below.
_ALERTS = """
ALTER TABLE alerts
    ADD COLUMN level                    text CHECK (
        level IN ('informational', 'low', 'medium', 'high', 'critical')),
    ADD COLUMN level_rank               smallint NOT NULL DEFAULT 2,
    ADD COLUMN entity_kind              text,
    ADD COLUMN entity_value             text,
    ADD COLUMN count_is_estimate        boolean NOT NULL DEFAULT false,
    ADD COLUMN event_hashes             bytea NOT NULL DEFAULT '',
    ADD COLUMN unlisted_events          bigint NOT NULL DEFAULT 0,
    ADD COLUMN duplicate_of             uuid,
    ADD COLUMN assignee                 text,
    ADD COLUMN acted_at                 timestamptz,
    ADD COLUMN active_again             boolean NOT NULL DEFAULT false,
    ADD COLUMN snoozed_until            timestamptz,
    ADD COLUMN snoozed_until_escalation boolean NOT NULL DEFAULT false,
    ADD COLUMN snoozed_at               timestamptz,
    ADD COLUMN snoozed_count            bigint,
    ADD COLUMN triage_version           integer NOT NULL DEFAULT 1,
    ADD COLUMN change_seq               bigint NOT NULL DEFAULT 0
"""

_FINDINGS = """
ALTER TABLE findings
    ADD COLUMN event_hashes bytea,
    ADD COLUMN observables  jsonb
"""

# Values in lower case. Collation C, so that the primary key also serves prefix searches.
_OBSERVABLES = """
CREATE TABLE alert_observables (
    kind      text NOT NULL CHECK (kind IN ('user', 'host', 'address', 'resource')),
    value     text COLLATE "C" NOT NULL,
    alert_id  uuid NOT NULL,
    PRIMARY KEY (kind, value, alert_id)
)
"""

_HISTORY = """
CREATE TABLE alert_history (
    number    bigint PRIMARY KEY CHECK (number > 0),
    alert_id  uuid   NOT NULL,
    bulk_id   uuid,
    entry     text   NOT NULL,
    hash      bytea  NOT NULL
);
CREATE INDEX alert_history_alert ON alert_history (alert_id, number DESC);
CREATE INDEX alert_history_bulk ON alert_history (bulk_id, number) WHERE bulk_id IS NOT NULL;
"""

# Every change gets a number, so that a client can ask for the changes since a number. Transactions
# do not commit in the order of their numbers. Therefore each one holds a shared advisory lock whose
# key is the newest number before its first change; readers stop below the lowest key.
_CHANGES = """
CREATE SEQUENCE alert_changes AS bigint;

CREATE FUNCTION alerts_before_change() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    newest bigint;
BEGIN
    IF coalesce(current_setting('auditflow.changing', true), '') <> pg_current_xact_id()::text THEN
        SELECT CASE WHEN is_called THEN last_value ELSE 0 END INTO newest FROM public.alert_changes;
        PERFORM pg_advisory_xact_lock_shared(4712, (newest & 2147483647)::integer);
        PERFORM set_config('auditflow.changing', pg_current_xact_id()::text, true);
    END IF;
    NEW.change_seq := nextval('public.alert_changes');
    IF NEW.level IS NULL THEN
        NEW.level := CASE
            WHEN NEW.rule_level IN ('informational', 'low', 'medium', 'high', 'critical')
                THEN NEW.rule_level
            WHEN NEW.severity = 'CRITICAL' THEN 'critical'
            WHEN NEW.severity = 'WARNING' THEN 'medium'
            ELSE 'informational'
        END;
    END IF;
    NEW.level_rank := CASE NEW.level
        WHEN 'critical' THEN 4 WHEN 'high' THEN 3 WHEN 'medium' THEN 2 WHEN 'low' THEN 1 ELSE 0 END;
    RETURN NEW;
END
$$;

CREATE TRIGGER alerts_before_change BEFORE INSERT OR UPDATE ON alerts
    FOR EACH ROW EXECUTE FUNCTION alerts_before_change();

CREATE FUNCTION alerts_after_change() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM pg_notify('auditflow_alerts', '');
    RETURN NULL;
END
$$;

CREATE TRIGGER alerts_after_change AFTER INSERT OR UPDATE ON alerts
    FOR EACH STATEMENT EXECUTE FUNCTION alerts_after_change();

-- The highest number such that all changes up to it are committed and visible.
-- The number is read before the locks: a transaction that locks later gets a higher number.
-- The caller reads the changes in a later statement, whose snapshot is newer.
CREATE FUNCTION alert_changes_horizon() RETURNS bigint
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    newest bigint;
    lowest bigint;
BEGIN
    SELECT CASE WHEN is_called THEN last_value ELSE 0 END INTO newest FROM public.alert_changes;
    SELECT min(newest - ((newest - objid::bigint) & 2147483647)) INTO lowest FROM pg_locks
    WHERE locktype = 'advisory' AND classid = 4712 AND objsubid = 2
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database());
    RETURN coalesce(lowest, newest);
END
$$;
"""

# The existing alerts: their level, the hashes of the events that their findings name, and their
# observables. The trigger gives them a level and a number.
_BACKFILL = """
UPDATE alerts SET
    (event_hashes, unlisted_events) = (
        SELECT coalesce((
                   SELECT string_agg(hash, '' ORDER BY hash) FROM (
                       SELECT DISTINCT
                           substr(sha256(convert_to(event ->> 'event_id', 'UTF8')), 1, 8) AS hash
                       FROM findings, jsonb_array_elements(evidence) AS event
                       WHERE findings.alert_id = alerts.alert_id
                       ORDER BY hash LIMIT 10001
                   ) AS hashes), ''),
               coalesce((SELECT sum(greatest(0, count - jsonb_array_length(evidence)))
                         FROM findings WHERE findings.alert_id = alerts.alert_id), 0)
    ),
    (entity_kind, entity_value) = (
        SELECT kind, left(lower(value), 500) FROM (VALUES
            (1, 'user', entity ->> 'user_id'), (2, 'address', entity ->> 'client_ip'),
            (3, 'host', entity ->> 'server_hostname'), (4, 'resource', entity ->> 'resource'),
            (5, 'user', actor), (6, 'address', client_ip),
            (7, 'host', server_hostname), (8, 'resource', resource)
        ) AS candidates (position, kind, value)
        WHERE value <> '' ORDER BY position LIMIT 1
    );
UPDATE alerts SET
    count = octet_length(event_hashes) / 8 + unlisted_events,
    count_is_estimate = unlisted_events > 0 OR octet_length(event_hashes) >= 80008,
    severity = CASE level WHEN 'critical' THEN 'CRITICAL' WHEN 'high' THEN 'WARNING'
                          WHEN 'medium' THEN 'WARNING' ELSE 'INFO' END
WHERE event_hashes <> '';
INSERT INTO alert_observables
    SELECT kind, left(lower(value), 500), alert_id FROM findings
    CROSS JOIN LATERAL (VALUES
        ('user', actor), ('host', server_hostname), ('address', client_ip), ('resource', resource),
        ('user', entity ->> 'user_id'), ('host', entity ->> 'server_hostname'),
        ('address', entity ->> 'client_ip'), ('resource', entity ->> 'resource')
    ) AS found (kind, value)
    WHERE value <> ''
    ON CONFLICT DO NOTHING;
"""

# The list reads one branch for each status, so the status comes first. The columns of the previous
# indexes on single observables are now searched through alert_observables.
_INDEXES = """
CREATE INDEX alerts_by_activity ON alerts (status, last_seen DESC, alert_id DESC);
CREATE INDEX alerts_by_opening ON alerts (status, opened_at DESC, alert_id DESC);
CREATE INDEX alerts_by_level ON alerts (status, level_rank DESC, last_seen DESC, alert_id DESC);
CREATE INDEX alerts_by_count ON alerts (status, count DESC, alert_id DESC);
CREATE INDEX alerts_by_change ON alerts (change_seq);
CREATE INDEX alerts_of_entity ON alerts (entity_kind, entity_value, last_seen DESC)
    WHERE entity_kind IS NOT NULL;
DROP INDEX alerts_newest_first, alerts_last_seen, alerts_actor, alerts_client_ip, alerts_host,
    alerts_resource, alerts_rule;
CREATE INDEX alerts_of_rule ON alerts (rule_id, last_seen DESC, alert_id DESC);
"""


def upgrade() -> None:
    for step in (_ALERTS, _FINDINGS, _OBSERVABLES, _HISTORY, _CHANGES, _BACKFILL, _INDEXES):
        op.execute(step)
