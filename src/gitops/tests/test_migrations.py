"""Which migrations allow a rollback."""

import pytest

from gitops import migrations

from .forge import ROOT


@pytest.mark.parametrize(
    "text",
    [
        "op.execute('DROP TABLE alerts')",
        'SQL = """ALTER TABLE alerts\n    DROP  COLUMN title"""',
        "op.execute('ALTER TABLE alerts RENAME COLUMN title TO name')",
        "op.execute('alter table alerts alter column count type integer')",
        "op.execute('ALTER TABLE alerts ALTER COLUMN count SET NOT NULL')",
        "op.execute('ALTER TABLE alerts ADD COLUMN a text NOT NULL')",
        "op.execute('ALTER TABLE alerts ADD COLUMN a text DEFAULT 1, ADD COLUMN b text NOT NULL')",
        "op.drop_column('alerts', 'title')",
        "def upgrade():\n    op.rename_table('alerts', 'others')",
        "op.alter_column('alerts', 'title', nullable=False)",
        "not python (",
    ],
)
def test_statement_that_an_older_version_can_fail_on_is_found(text: str):
    assert len(migrations.incompatible({"v2.py": text.encode()})) == 1


@pytest.mark.parametrize(
    "text",
    [
        "op.execute('CREATE TABLE a (b text NOT NULL)')",
        "op.execute('ALTER TABLE alerts ADD COLUMN a text, ADD COLUMN b int NOT NULL DEFAULT 2')",
        "op.execute('ALTER TABLE alerts ADD COLUMN a smallint NOT NULL DEFAULT 2')",
        "op.execute('DROP INDEX alerts_actor; DROP TRIGGER alert_changed ON alerts')",
        'op.execute("""CREATE FUNCTION a() AS $$ BEGIN DROP TABLE b; END $$""")',
        "op.execute('-- DROP TABLE alerts')",
        '"""This does not DROP TABLE alerts."""',
        "def downgrade():\n    op.drop_column('alerts', 'title')",
    ],
)
def test_statement_that_only_expands_is_accepted(text: str):
    assert migrations.incompatible({"v2.py": text.encode()}) == ()


def test_migrations_of_this_repository_only_expand():
    folder = ROOT / migrations.FOLDER
    added = {file.name: file.read_bytes() for file in folder.glob("v*.py")}
    assert len(added) >= 10
    assert migrations.incompatible(added) == ()
