"""A new connection replaces one that waits for its client, and never one that is served."""

from dataclasses import dataclass

from auditflow.http.connection_limit import ConnectionLimit


@dataclass(eq=False)
class Connection:
    address: str
    since: float
    waits: bool = True
    aborted: bool = False

    def waits_for_client(self) -> bool:
        return self.waits

    def abort(self) -> None:
        self.aborted = True


def full(*connections: Connection) -> ConnectionLimit:
    limit = ConnectionLimit(len(connections))
    assert all(limit.admit(connection) for connection in connections)
    return limit


def test_the_oldest_connection_of_the_address_with_the_most_is_replaced() -> None:
    # Given one connection of a user, older than those of an attacker
    user = Connection("user", 1)
    attacker = [Connection("attacker", 4), Connection("attacker", 2), Connection("attacker", 3)]
    limit = full(user, *attacker)
    # When another client connects
    assert limit.admit(Connection("other", 5))
    # Then the oldest of the attacker ends
    assert [connection.aborted for connection in (user, *attacker)] == [False, False, True, False]


def test_connections_that_are_served_do_not_count_against_an_address() -> None:
    proxy = [Connection("proxy", number, waits=False) for number in range(3)]
    idle = Connection("idle", 4)
    limit = full(*proxy, idle)
    assert limit.admit(Connection("new", 5, waits=False))
    assert idle.aborted
    # When all are served, a new one is refused
    assert not limit.admit(Connection("new", 6))
    assert not any(connection.aborted for connection in proxy)


def test_of_connections_with_the_same_time_the_first_is_replaced() -> None:
    connections = [Connection("a", 1) for _ in range(50)]
    limit = full(*connections)
    assert limit.admit(Connection("b", 1))
    assert [connection.aborted for connection in connections] == [True] + [False] * 49


def test_a_replaced_connection_is_released_only_once() -> None:
    first = Connection("a", 1)
    limit = full(first)
    second = Connection("a", 2, waits=False)
    assert limit.admit(second)
    limit.release(first)  # when its task ends
    assert not limit.admit(Connection("a", 3))
    limit.release(second)
    assert limit.admit(Connection("a", 4))
