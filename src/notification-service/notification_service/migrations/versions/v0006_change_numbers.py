"""numbers of changes by one trigger for each statement"""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

# The lock that changes need is taken once for each statement, before the first number: statement
# triggers run before default values are computed. A row trigger remains for updates, and for
# inserts of versions that do not know levels.
_TRIGGERS = """
CREATE FUNCTION alerts_lock_changes() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    newest bigint;
BEGIN
    SELECT CASE WHEN is_called THEN last_value ELSE 0 END INTO newest FROM public.alert_changes;
    PERFORM pg_advisory_xact_lock_shared(4712, (newest & 2147483647)::integer);
    RETURN NULL;
END
$$;
CREATE TRIGGER alerts_lock_changes BEFORE INSERT OR UPDATE ON alerts
    FOR EACH STATEMENT EXECUTE FUNCTION alerts_lock_changes();
ALTER TABLE alerts ALTER COLUMN change_seq SET DEFAULT nextval('alert_changes');
DROP TRIGGER alerts_before_change ON alerts;
CREATE TRIGGER alerts_before_insert BEFORE INSERT ON alerts
    FOR EACH ROW WHEN (NEW.level IS NULL) EXECUTE FUNCTION alerts_before_change();
CREATE TRIGGER alerts_before_update BEFORE UPDATE ON alerts
    FOR EACH ROW WHEN (NEW.change_seq = OLD.change_seq OR NEW.level IS NULL)
    EXECUTE FUNCTION alerts_before_change();
"""


def upgrade() -> None:
    op.execute(_TRIGGERS)
