"""the outbox, notification groups, notifications and silences"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

# A change of an alert that routing has not read yet.
_OUTBOX = """
CREATE TABLE alert_outbox (
    outbox_id    bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    alert_id     uuid        NOT NULL,
    recorded_at  timestamptz NOT NULL DEFAULT now()
)
"""

# Triggers, so that the row is part of the transaction of every writer: of the fold, of triage, and
# of the previous version of the service while an update is rolled out.
_TRIGGERS = """
CREATE FUNCTION alert_outbox_add_opened() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    INSERT INTO public.alert_outbox (alert_id) SELECT alert_id FROM opened;
    RETURN NULL;
END
$$;
CREATE FUNCTION alert_outbox_add_changed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    INSERT INTO public.alert_outbox (alert_id) VALUES (NEW.alert_id);
    RETURN NULL;
END
$$;
CREATE TRIGGER alert_opened AFTER INSERT ON alerts
    REFERENCING NEW TABLE AS opened
    FOR EACH STATEMENT EXECUTE FUNCTION alert_outbox_add_opened();
CREATE TRIGGER alert_changed AFTER UPDATE ON alerts
    FOR EACH ROW
    WHEN (OLD.status IS DISTINCT FROM NEW.status OR OLD.severity IS DISTINCT FROM NEW.severity)
    EXECUTE FUNCTION alert_outbox_add_changed();
"""

_GROUPS = """
CREATE TABLE notification_groups (
    group_key         uuid        PRIMARY KEY,
    route_key         text        NOT NULL,
    labels            jsonb       NOT NULL,
    created_at        timestamptz NOT NULL,
    pending_since     timestamptz,
    last_notified_at  timestamptz,
    next_flush_at     timestamptz
);
CREATE INDEX notification_groups_due ON notification_groups (next_flush_at)
    WHERE next_flush_at IS NOT NULL;
CREATE INDEX notification_groups_route ON notification_groups (route_key);

CREATE TABLE notification_group_alerts (
    group_key        uuid        NOT NULL REFERENCES notification_groups ON DELETE CASCADE,
    alert_id         uuid        NOT NULL,
    joined_at        timestamptz NOT NULL,
    notified_status  text,
    notified_rank    smallint    NOT NULL DEFAULT -1,
    notified_at      timestamptz,
    escalated        smallint    NOT NULL DEFAULT 0,
    acknowledged_at  timestamptz,
    reminded_at      timestamptz,
    next_due_at      timestamptz,
    hidden_by        text,
    PRIMARY KEY (group_key, alert_id)
);
CREATE INDEX notification_group_alerts_alert ON notification_group_alerts (alert_id);
CREATE INDEX notification_group_alerts_hidden ON notification_group_alerts (hidden_by)
    WHERE hidden_by IS NOT NULL;
CREATE INDEX notification_group_alerts_due ON notification_group_alerts (group_key, next_due_at)
    WHERE next_due_at IS NOT NULL;
"""

_NOTIFICATIONS = """
CREATE TABLE notifications (
    notification_id  uuid        PRIMARY KEY,
    receiver         text        NOT NULL,
    kind             text        NOT NULL
        CHECK (kind IN ('alerts', 'escalation', 'reminder', 'digest', 'test')),
    group_key        uuid,
    content          jsonb       NOT NULL,
    alert_count      integer     NOT NULL,
    oldest_at        timestamptz,
    created_at       timestamptz NOT NULL,
    status           text        NOT NULL DEFAULT 'pending'
        CHECK (status IN ('pending', 'sending', 'sent', 'dead', 'merged')),
    merged_into      uuid        REFERENCES notifications ON DELETE CASCADE,
    attempts         integer     NOT NULL DEFAULT 0,
    attempts_before  integer     NOT NULL DEFAULT 0,
    next_attempt_at  timestamptz NOT NULL,
    claim_id         uuid,
    claimed_until    timestamptz,
    sent_at          timestamptz,
    delivered_to     text,
    last_error       text
);
CREATE INDEX notifications_pending ON notifications (receiver, next_attempt_at)
    WHERE status = 'pending';
CREATE INDEX notifications_sending ON notifications (claimed_until) WHERE status = 'sending';
CREATE INDEX notifications_dead ON notifications (created_at, notification_id)
    WHERE status = 'dead';
CREATE INDEX notifications_newest_first ON notifications (created_at DESC, notification_id DESC);
CREATE INDEX notifications_merged ON notifications (merged_into) WHERE merged_into IS NOT NULL;

CREATE TABLE notification_alerts (
    notification_id  uuid NOT NULL REFERENCES notifications ON DELETE CASCADE,
    alert_id         uuid NOT NULL,
    reason           text NOT NULL,
    PRIMARY KEY (notification_id, alert_id)
);
CREATE INDEX notification_alerts_alert ON notification_alerts (alert_id);
"""

_SILENCES = """
CREATE TABLE silences (
    silence_id       uuid        PRIMARY KEY,
    matchers         text[]      NOT NULL CHECK (cardinality(matchers) > 0),
    author           text        NOT NULL,
    reason           text        NOT NULL,
    starts_at        timestamptz NOT NULL,
    ends_at          timestamptz,
    recurrence       text,
    duration         interval,
    time_zone        text        NOT NULL DEFAULT 'UTC',
    until_resolved   uuid,
    external_id      text        UNIQUE,
    created_at       timestamptz NOT NULL,
    cancelled_at     timestamptz,
    cancelled_by     text,
    CHECK ((recurrence IS NULL) = (duration IS NULL))
);
CREATE INDEX silences_not_cancelled ON silences (starts_at) WHERE cancelled_at IS NULL;
CREATE INDEX silences_newest_first ON silences (created_at DESC, silence_id DESC);
"""


def upgrade() -> None:
    op.execute(_OUTBOX)
    op.execute(_TRIGGERS)
    op.execute(
        "REVOKE ALL ON FUNCTION alert_outbox_add_opened(), alert_outbox_add_changed() FROM PUBLIC"
    )
    op.execute(_GROUPS)
    op.execute(_NOTIFICATIONS)
    op.execute(_SILENCES)
