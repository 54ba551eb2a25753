"""Merkle logs: tiles and signed checkpoints"""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

# Every entry of a log is stored in the table of its own kind, for example alert_history. These
# tables contain the hashes of all logs, by the name of the log.
_LOGS = """
CREATE TABLE merkle_tiles (
    log     text     NOT NULL,
    level   smallint NOT NULL,
    tile    bigint   NOT NULL,
    hashes  bytea    NOT NULL,
    PRIMARY KEY (log, level, tile)
);
CREATE TABLE merkle_checkpoints (
    log        text        NOT NULL,
    size       bigint      NOT NULL CHECK (size > 0),
    root       bytea       NOT NULL,
    note       text        NOT NULL,
    signed_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (log, size)
);
"""


def upgrade() -> None:
    op.execute(_LOGS)
