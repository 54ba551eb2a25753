"""the outbox records a rise of the level"""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("DROP TRIGGER alert_changed ON alerts")
    op.execute("""
        CREATE TRIGGER alert_changed AFTER UPDATE ON alerts
            FOR EACH ROW
            WHEN (OLD.status IS DISTINCT FROM NEW.status OR OLD.level IS DISTINCT FROM NEW.level
                OR OLD.snoozed_until IS DISTINCT FROM NEW.snoozed_until
                OR OLD.snoozed_until_escalation IS DISTINCT FROM NEW.snoozed_until_escalation)
            EXECUTE FUNCTION alert_outbox_add_changed()
    """)
