"""the targets of a receiver that earlier attempts of a notification reached"""

from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # A constant default: PostgreSQL does not rewrite the table.
    op.execute("ALTER TABLE notifications ADD COLUMN delivered text[] NOT NULL DEFAULT '{}'")
