"""The servers: they start, keep their data, survive a crash, and stand side by side."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pika
import psycopg2
import psycopg2.errors
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from auditflow_local import ports
from auditflow_local.errors import StartError
from auditflow_local.servers.postgres import Database, Postgres
from auditflow_local.servers.postgres_roles import APP, OWNER, SUPERUSER
from auditflow_local.servers.rabbitmq import RabbitMQ
from auditflow_local.servers.redis import Redis


def publish(broker: RabbitMQ, body: bytes) -> None:
    url = pika.URLParameters(broker.url("audit-event-generator"))
    with closing(pika.BlockingConnection(url)) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        channel.basic_publish(
            "audit", "event.login", body, pika.BasicProperties(delivery_mode=2), mandatory=True
        )


def take(broker: RabbitMQ) -> bytes | None:
    url = pika.URLParameters(broker.url("audit-log-analysis"))
    with closing(pika.BlockingConnection(url)) as connection:
        _, _, body = connection.channel().basic_get("audit_events", auto_ack=True)
        return body


def run(dsn: str, statement: str) -> list[tuple[object, ...]]:
    with closing(psycopg2.connect(dsn)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []


def test_a_broker_of_our_own_keeps_messages_over_a_crash(
    rabbitmq: RabbitMQ, make_rabbitmq: Callable[[Path], RabbitMQ], tmp_path: Path
) -> None:
    # given a message on a second broker, in a folder with a space in its name
    rabbitmq.empty("audit_events")
    broker = make_rabbitmq(tmp_path / "a folder")
    publish(broker, b"first")

    # when it is killed and started again
    broker.kill()
    assert not broker.ready()
    broker.start()
    publish(broker, b"second")

    # then both messages are there, and the broker beside it saw nothing of all this
    assert [take(broker), take(broker), take(broker)] == [b"first", b"second", None]
    assert take(rabbitmq) is None
    assert rabbitmq.password_of("auditflow-admin") != broker.password_of("auditflow-admin")

    # and it ends in order when it is asked to
    broker.stop()
    assert broker.exit_code == 0


def test_only_named_users_with_their_rights_get_in(rabbitmq: RabbitMQ) -> None:
    # given the broker with its definitions
    # then there is no guest
    users = {line.split("\t")[0] for line in rabbitmq.ctl("list_users").splitlines()[1:]}
    assert "guest" not in users
    assert "audit-log-analysis" in users

    # and the generator cannot read what it wrote
    url = pika.URLParameters(rabbitmq.url("audit-event-generator"))
    with (
        closing(pika.BlockingConnection(url)) as connection,
        pytest.raises(pika.exceptions.ChannelClosedByBroker, match="ACCESS_REFUSED"),
    ):
        connection.channel().basic_get("audit_events")


def test_redis_keeps_data_and_lets_nobody_in_without_a_password(
    make_redis: Callable[[Path], Redis], tmp_path: Path
) -> None:
    # given a value in a Redis of our own
    server = make_redis(tmp_path / "a folder")
    with redis.Redis.from_url(server.url) as client:
        client.set("key", "value")

    # when it is killed, and then restarted in order
    server.kill()
    server.start()
    server.restart()

    # then the value is there, for the service's user only, who may not do everything
    with redis.Redis.from_url(server.url) as client:
        assert client.get("key") == b"value"
        with pytest.raises(redis.exceptions.NoPermissionError):
            client.flushall()
    with (
        redis.Redis(host=server.host, port=server.port, retry=Retry(NoBackoff(), 0)) as stranger,
        pytest.raises(redis.exceptions.AuthenticationError),
    ):
        stranger.get("key")
    server.flush()
    with redis.Redis.from_url(server.url) as client:
        assert client.get("key") is None


@pytest.mark.parametrize("namespaces", [True, False], ids=["namespace", "other user"])
def test_postgres_keeps_data_also_where_its_user_may_not_walk(
    namespaces: bool, tmp_path: Path
) -> None:
    # given a PostgreSQL below a folder that only we can enter
    closed = tmp_path / "closed folder"
    closed.mkdir(mode=0o700)
    server = Postgres(
        closed / "server",
        port=ports.pick(),
        passwords={SUPERUSER: "one", OWNER: "two", APP: "three"},
        durable=False,
        namespaces=namespaces,
    )
    try:
        server.start()
        run(server.dsn(OWNER), "CREATE TABLE kept (i bigserial PRIMARY KEY)")
        run(server.dsn(OWNER), "INSERT INTO kept DEFAULT VALUES")

        # when it is killed and started again
        server.kill()
        assert not server.ready()
        server.start()
        server.restart()

        # then the row is there
        assert run(server.dsn(OWNER), "SELECT i FROM kept") == [(1,)]
        data = (server.folder / "cluster").resolve()
    finally:
        server.destroy()

    # and nothing stays when it is destroyed, wherever it was
    assert not server.folder.exists()
    assert not data.exists()


def test_the_service_changes_rows_and_not_tables(postgres: Postgres) -> None:
    # given a table that the owner made and lets the service work with
    database = postgres.fresh_database()
    run(database.dsn(OWNER), "CREATE TABLE things (name text)")
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        run(database.dsn(), "INSERT INTO things VALUES ('one')")
    run(database.dsn(OWNER), f"GRANT INSERT, SELECT, UPDATE ON things TO {APP}")

    # when the service works with it
    run(database.dsn(), "INSERT INTO things VALUES ('one')")

    # then rows are its own to change, the schema is not
    assert run(database.dsn(), "UPDATE things SET name = 'two' RETURNING name") == [("two",)]
    for forbidden in ("CREATE TABLE other (i int)", "DROP TABLE things", "TRUNCATE things"):
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            run(database.dsn(), forbidden)


def test_databases_are_copies_of_a_template(postgres: Postgres) -> None:
    # given a template that is filled once
    filled: list[str] = []

    def fill(database: Database) -> None:
        filled.append(database.name)
        run(database.dsn(OWNER), "CREATE TABLE things (name text)")

    # when two databases are made of it and one is written to
    one, two = (
        postgres.fresh_database(template=postgres.template("things", fill)) for _ in range(2)
    )
    run(one.dsn(OWNER), "INSERT INTO things VALUES ('one')")

    # then the other does not see it
    assert len(filled) == 1
    assert run(two.dsn(OWNER), "SELECT count(*) FROM things") == [(0,)]


def test_text_sorts_by_code_point_and_is_utf8(postgres: Postgres) -> None:
    rows = run(postgres.dsn(SUPERUSER), "SHOW server_encoding")
    assert rows == [("UTF8",)]
    ordered = run(
        postgres.dsn(), "SELECT string_agg(x, '' ORDER BY x) FROM unnest('{b,A,a,B}'::text[]) x"
    )
    assert ordered == [("ABab",)]


def test_a_stale_lock_of_another_program_does_not_stop_postgres(
    make_postgres: Callable[[Path], Postgres], tmp_path: Path
) -> None:
    # given a server that was killed, and whose number now belongs to process 1
    server = make_postgres(tmp_path)
    server.kill()
    lock = next(server.folder.glob("cluster/data")) / "postmaster.pid"
    lock.write_text("1\n", encoding="utf-8")

    # when it is started, then it starts
    server.start()
    assert server.ready()


def test_a_server_that_dies_at_its_start_says_why(redis_server: Redis, tmp_path: Path) -> None:
    # given a second server for a port that is taken
    second = Redis(tmp_path / "second", port=redis_server.port, password="a", admin_password="b")

    # when it starts, then the error has what it said
    with pytest.raises(StartError, match="Address already in use"):
        second.start()
    assert not second.running
