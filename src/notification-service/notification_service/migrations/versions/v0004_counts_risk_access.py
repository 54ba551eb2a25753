"""counts of alerts, risk of entities, users and API tokens"""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

# The number of alerts for each combination of the fields that facets show. Every statement that
# changes alerts appends its differences, so that no two transactions update the same row. The
# service merges the rows regularly.
_COUNTS = """
CREATE TABLE alert_counts (
    status       text   NOT NULL,
    level        text   NOT NULL,
    rule_id      text   NOT NULL,
    environment  text   NOT NULL,
    assignee     text,
    verdict      text,
    number       bigint NOT NULL
);
CREATE FUNCTION alert_counts_add_inserted() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    INSERT INTO public.alert_counts
    SELECT status, level, rule_id, environment, assignee, verdict, count(*) FROM inserted
    GROUP BY status, level, rule_id, environment, assignee, verdict;
    RETURN NULL;
END
$$;
CREATE FUNCTION alert_counts_add_updated() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    INSERT INTO public.alert_counts
    SELECT status, level, rule_id, environment, assignee, verdict, sum(number) FROM (
        SELECT status, level, rule_id, environment, assignee, verdict, 1 AS number FROM after
        UNION ALL
        SELECT status, level, rule_id, environment, assignee, verdict, -1 FROM before
    ) AS differences
    GROUP BY status, level, rule_id, environment, assignee, verdict HAVING sum(number) <> 0;
    RETURN NULL;
END
$$;
CREATE FUNCTION alert_counts_add_deleted() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    INSERT INTO public.alert_counts
    SELECT status, level, rule_id, environment, assignee, verdict, -count(*) FROM deleted
    GROUP BY status, level, rule_id, environment, assignee, verdict;
    RETURN NULL;
END
$$;
LOCK TABLE alerts IN SHARE ROW EXCLUSIVE MODE;
INSERT INTO alert_counts
    SELECT status, level, rule_id, environment, assignee, verdict, count(*) FROM alerts
    GROUP BY status, level, rule_id, environment, assignee, verdict;
CREATE TRIGGER alert_counts_inserted AFTER INSERT ON alerts REFERENCING NEW TABLE AS inserted
    FOR EACH STATEMENT EXECUTE FUNCTION alert_counts_add_inserted();
CREATE TRIGGER alert_counts_updated AFTER UPDATE ON alerts
    REFERENCING OLD TABLE AS before NEW TABLE AS after
    FOR EACH STATEMENT EXECUTE FUNCTION alert_counts_add_updated();
CREATE TRIGGER alert_counts_deleted AFTER DELETE ON alerts REFERENCING OLD TABLE AS deleted
    FOR EACH STATEMENT EXECUTE FUNCTION alert_counts_add_deleted();
REVOKE ALL ON FUNCTION alert_counts_add_inserted(), alert_counts_add_updated(),
    alert_counts_add_deleted() FROM PUBLIC;
"""

# The risk of the main entity of alerts, for lists. The service updates it after changes of alerts,
# and when an alert becomes older than 7 days (expires_at).
_RISK = """
CREATE TABLE entity_risk (
    entity_kind   text        NOT NULL,
    entity_value  text        NOT NULL,
    risk          integer     NOT NULL CHECK (risk > 0),
    expires_at    timestamptz NOT NULL,
    PRIMARY KEY (entity_kind, entity_value)
);
CREATE INDEX entity_risk_highest ON entity_risk (risk DESC, entity_kind DESC, entity_value DESC);
CREATE INDEX entity_risk_expiry ON entity_risk (expires_at);
CREATE TABLE maintenance_progress (
    task        text   PRIMARY KEY,
    change_seq  bigint NOT NULL
);
INSERT INTO maintenance_progress VALUES ('risk', 0);
DROP INDEX alerts_of_entity;
CREATE INDEX alerts_of_entity ON alerts
    (entity_kind, entity_value, last_seen DESC, alert_id DESC) WHERE entity_kind IS NOT NULL;
"""

_ACCESS = """
CREATE TABLE users (
    name          text        PRIMARY KEY,
    role          text        NOT NULL CHECK (role IN ('viewer', 'analyst', 'lead', 'admin')),
    disabled      boolean     NOT NULL DEFAULT false,
    created_at    timestamptz NOT NULL DEFAULT now(),
    last_seen_at  timestamptz
);
CREATE TABLE api_tokens (
    token_id      uuid        PRIMARY KEY,
    name          text        NOT NULL,
    secret_hash   bytea       NOT NULL UNIQUE,
    scopes        text[]      NOT NULL CHECK (cardinality(scopes) > 0),
    created_by    text        NOT NULL,
    created_at    timestamptz NOT NULL DEFAULT now(),
    expires_at    timestamptz NOT NULL,
    revoked_at    timestamptz,
    last_used_at  timestamptz
);
"""


def upgrade() -> None:
    for step in (_COUNTS, _RISK, _ACCESS):
        op.execute(step)
