"""the log of findings: one entry for each transaction that stores findings"""

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

# Transactions that store findings add their entry to the outbox and never wait for each other. The
# function numbers the entries later. The service may not change or delete an entry of either table.
_TABLES = """
CREATE TABLE finding_log_outbox (
    outbox_id  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    entry      text   NOT NULL
);
CREATE TABLE finding_log (
    number  bigint PRIMARY KEY CHECK (number > 0),
    entry   text   NOT NULL
);
"""
_APPEND = """
CREATE FUNCTION finding_log_append(batch integer) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    appended integer;
BEGIN
    IF NOT pg_try_advisory_xact_lock(4713, 6) THEN
        RETURN 0;
    END IF;
    WITH moved AS (
        DELETE FROM public.finding_log_outbox WHERE outbox_id IN (
            SELECT outbox_id FROM public.finding_log_outbox ORDER BY outbox_id LIMIT batch)
        RETURNING outbox_id, entry
    )
    INSERT INTO public.finding_log (number, entry)
    SELECT (SELECT coalesce(max(number), 0) FROM public.finding_log)
        + row_number() OVER (ORDER BY outbox_id), entry
    FROM moved;
    GET DIAGNOSTICS appended = ROW_COUNT;
    RETURN appended;
END
$$
"""


def upgrade() -> None:
    op.execute(_TABLES)
    op.execute(_APPEND)
    op.execute("REVOKE ALL ON FUNCTION finding_log_append(integer) FROM PUBLIC")
