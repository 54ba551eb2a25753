"""second factors of local accounts"""

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

_FACTORS = """
CREATE TABLE second_factors (
    name              text        PRIMARY KEY,
    encrypted_secret  text        NOT NULL,
    recovery_hashes   text[]      NOT NULL,
    last_step         bigint      NOT NULL DEFAULT 0,
    created_at        timestamptz NOT NULL DEFAULT now()
);
"""


def upgrade() -> None:
    op.execute(_FACTORS)
