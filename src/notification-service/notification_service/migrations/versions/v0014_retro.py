"""the mark of findings and alerts that only a hunt in the archive made"""

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Null in old rows: the audit log has the hash of a row without its null columns.
    op.execute("ALTER TABLE findings ADD COLUMN retro boolean")
    op.execute("ALTER TABLE alerts ADD COLUMN retro boolean NOT NULL DEFAULT false")
