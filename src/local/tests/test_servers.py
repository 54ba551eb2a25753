"""The servers: start, durability, crash recovery, users and isolation."""

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
from auditflow_local.servers.postgres_roles import APP, ARCHIVE, OWNER, SUPERUSER
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


def test_a_broker_keeps_messages_after_a_crash(
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

    # then it has both messages, and the shared broker has none
    assert [take(broker), take(broker), take(broker)] == [b"first", b"second", None]
    assert take(rabbitmq) is None
    assert rabbitmq.password_of("auditflow-admin") != broker.password_of("auditflow-admin")

    # and it stops with exit code 0
    broker.stop()
    assert broker.exit_code == 0


def test_only_named_users_can_connect_and_have_limited_permissions(rabbitmq: RabbitMQ) -> None:
    # given the broker with its definitions
    # then the user guest does not exist
    users = {line.split("\t")[0] for line in rabbitmq.ctl("list_users").splitlines()[1:]}
    assert "guest" not in users
    assert "audit-log-analysis" in users

    # and the generator cannot read from the queue
    url = pika.URLParameters(rabbitmq.url("audit-event-generator"))
    with (
        closing(pika.BlockingConnection(url)) as connection,
        pytest.raises(pika.exceptions.ChannelClosedByBroker, match="ACCESS_REFUSED"),
    ):
        connection.channel().basic_get("audit_events")


def test_redis_keeps_data_and_refuses_clients_without_a_password(
    make_redis: Callable[[Path], Redis], tmp_path: Path
) -> None:
    # given a value in a separate Redis
    server = make_redis(tmp_path / "a folder")
    with redis.Redis.from_url(server.url) as client:
        client.set("key", "value")

    # when it is killed and then restarted
    server.kill()
    server.start()
    server.restart()

    # then the service's user reads the value but cannot run administrative commands
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
def test_postgres_keeps_data_in_a_folder_that_its_user_cannot_enter(
    namespaces: bool, tmp_path: Path
) -> None:
    # given a PostgreSQL below a folder with mode 0700
    closed = tmp_path / "closed folder"
    closed.mkdir(mode=0o700)
    server = Postgres(
        closed / "server",
        port=ports.pick(),
        passwords={SUPERUSER: "one", OWNER: "two", APP: "three", ARCHIVE: "four"},
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

        # then it has the row
        assert run(server.dsn(OWNER), "SELECT i FROM kept") == [(1,)]
        data = (server.folder / "cluster").resolve()
    finally:
        server.destroy()

    # and all data are removed after destroy
    assert not server.folder.exists()
    assert not data.exists()


def test_the_service_can_change_rows_but_not_tables(postgres: Postgres) -> None:
    # given a table of the owner with rights for the service
    database = postgres.fresh_database()
    run(database.dsn(OWNER), "CREATE TABLE things (name text)")
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        run(database.dsn(), "INSERT INTO things VALUES ('one')")
    run(database.dsn(OWNER), f"GRANT INSERT, SELECT, UPDATE ON things TO {APP}")

    # when the service inserts a row
    run(database.dsn(), "INSERT INTO things VALUES ('one')")

    # then it can change rows, but not the schema
    assert run(database.dsn(), "UPDATE things SET name = 'two' RETURNING name") == [("two",)]
    for forbidden in ("CREATE TABLE other (i int)", "DROP TABLE things", "TRUNCATE things"):
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            run(database.dsn(), forbidden)


def test_databases_are_copies_of_a_template(postgres: Postgres) -> None:
    # given a template
    filled: list[str] = []

    def fill(database: Database) -> None:
        filled.append(database.name)
        run(database.dsn(OWNER), "CREATE TABLE things (name text)")

    # when two databases are created from it and a row is written to the first
    first, second = (
        postgres.fresh_database(template=postgres.template("things", fill)) for _ in range(2)
    )
    run(first.dsn(OWNER), "INSERT INTO things VALUES ('one')")

    # then the second database does not contain the row
    assert len(filled) == 1
    assert run(second.dsn(OWNER), "SELECT count(*) FROM things") == [(0,)]


def test_text_sorts_by_code_point_and_is_utf8(postgres: Postgres) -> None:
    rows = run(postgres.dsn(SUPERUSER), "SHOW server_encoding")
    assert rows == [("UTF8",)]
    ordered = run(
        postgres.dsn(), "SELECT string_agg(x, '' ORDER BY x) FROM unnest('{b,A,a,B}'::text[]) x"
    )
    assert ordered == [("ABab",)]


def test_postgres_starts_despite_a_stale_lock_with_a_reused_pid(
    make_postgres: Callable[[Path], Postgres], tmp_path: Path
) -> None:
    # given a killed server whose lock file contains the pid of another program
    server = make_postgres(tmp_path)
    server.kill()
    lock = next(server.folder.glob("cluster/data")) / "postmaster.pid"
    lock.write_text("1\n", encoding="utf-8")

    # when it is started, then it is ready
    server.start()
    assert server.ready()


def test_the_error_of_a_failed_server_start_contains_its_log(
    redis_server: Redis, tmp_path: Path
) -> None:
    # given a second server for a port that is in use
    second = Redis(
        tmp_path / "second",
        port=redis_server.port,
        password="a",
        admin_password="b",
        dashboard_password="c",
    )

    # when it starts, then the error contains its output
    with pytest.raises(StartError, match="Address already in use"):
        second.start()
    assert not second.running
