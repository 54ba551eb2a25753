"""the audit trail: what each person and token did"""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

# The entries are leaves of the Merkle log "trail". The other columns repeat parts of the entry, for
# filters.
_TRAIL = """
CREATE TABLE audit_trail (
    number   bigint      PRIMARY KEY CHECK (number > 0),
    at       timestamptz NOT NULL,
    actor    text        NOT NULL,
    action   text        NOT NULL,
    outcome  text        NOT NULL,
    address  text        NOT NULL,
    target   text        NOT NULL,
    entry    text        NOT NULL
);
CREATE INDEX audit_trail_actor ON audit_trail (actor, number DESC);
CREATE INDEX audit_trail_action ON audit_trail (action, number DESC);
CREATE INDEX audit_trail_address ON audit_trail (address, number DESC);
CREATE INDEX audit_trail_target ON audit_trail (target, number DESC);
CREATE INDEX audit_trail_at ON audit_trail USING brin (at);
"""


def upgrade() -> None:
    op.execute(_TRAIL)
