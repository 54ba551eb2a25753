"""saved views of the alert list"""

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_VIEWS = """
CREATE TABLE saved_views (
    view_id     uuid        PRIMARY KEY,
    owner       text        NOT NULL,
    name        text        NOT NULL,
    query       text        NOT NULL,
    shared      boolean     NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    UNIQUE (owner, name)
);
CREATE INDEX saved_views_shared ON saved_views (name) WHERE shared;
"""


def upgrade() -> None:
    op.execute(_VIEWS)
