"""the mark of findings and alerts with a timestamp that was clamped"""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for table in ("findings", "alerts"):
        op.execute(f"ALTER TABLE {table} ADD COLUMN clamped boolean NOT NULL DEFAULT false")
