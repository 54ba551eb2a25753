"""The network policies allow exactly the connections of the data flow."""

from ipaddress import IPv4Address, IPv4Network
from typing import Any, NamedTuple

Object = dict[str, Any]

#: design.md's way of the data, and who looks after it.
FLOW = {
    ("audit-event-archive", "rabbitmq", 5671),
    ("audit-event-archive", "postgres", 5432),
    ("audit-event-archive", "notification-service", 8000),
    ("event-audit-dashboard", "audit-event-archive", 5003),
    ("prometheus", "audit-event-archive", 9464),
    ("audit-event-generator", "rabbitmq", 5671),
    ("audit-log-analysis", "rabbitmq", 5671),
    ("audit-log-analysis", "redis", 6379),
    ("notification-service", "rabbitmq", 5671),
    ("notification-service", "postgres", 5432),
    ("notification-service-migrate", "postgres", 5432),
    ("postgres-backup", "postgres", 5432),
    ("event-audit-dashboard", "notification-service", 8000),
    ("event-audit-dashboard", "audit-log-analysis", 5001),
    ("event-audit-dashboard", "redis", 6379),
    ("argocd-notifications", "audit-event-generator", 5000),
    ("alertmanager", "audit-event-generator", 5000),
    ("alertmanager", "event-audit-dashboard", 8080),
    ("a stranger", "event-audit-dashboard", 8080),
    ("traefik", "event-audit-dashboard", 8080),
    ("argocd-notifications", "event-audit-dashboard", 8080),
    ("prometheus", "audit-event-generator", 9464),
    ("prometheus", "audit-log-analysis", 9464),
    ("prometheus", "event-audit-dashboard", 8080),
    ("prometheus", "event-audit-dashboard", 9464),
    ("prometheus", "notification-service", 9464),
    ("prometheus", "postgres", 9187),
    ("prometheus", "rabbitmq", 15691),
    ("prometheus", "redis", 9121),
}
#: The ranges that K3s gives to pods and Services.
PODS, SERVICES = IPv4Network("10.42.0.0/16"), IPv4Network("10.43.0.0/16")


class Pod(NamedTuple):
    name: str
    namespace: str
    labels: dict[str, str]
    ports: dict[str, int]


STRANGERS = (
    Pod("a stranger", "default", {"app.kubernetes.io/name": "rabbitmq"}, {}),
    Pod(
        "argocd-notifications",
        "argocd",
        {"app.kubernetes.io/name": "argocd-notifications-controller"},
        {},
    ),
    Pod("alertmanager", "monitoring", {"app.kubernetes.io/name": "alertmanager"}, {}),
    Pod("traefik", "kube-system", {"app.kubernetes.io/name": "traefik"}, {}),
    Pod("prometheus", "monitoring", {"app.kubernetes.io/name": "prometheus"}, {}),
)


def pods(objects: list[Object], kit: Any) -> list[Pod]:
    return [
        Pod(
            item["metadata"]["name"],
            item["metadata"]["namespace"],
            kit.pod_template(item)["metadata"]["labels"],
            {
                port["name"]: port["containerPort"]
                for container in kit.pod_template(item)["spec"]["containers"]
                for port in container.get("ports", [])
            },
        )
        for item in kit.of_kind(objects, *kit.workloads)
    ]


def matches(selector: Object, labels: dict[str, str]) -> bool:
    assert selector.keys() <= {"matchLabels"}, "teach this test to read the rest"
    return bool(selector.get("matchLabels", {}).items() <= labels.items())


def is_peer(peer: Object, pod: Pod, namespace: str) -> bool:
    if peer.keys() == {"ipBlock"}:
        return False  # these are addresses of nodes; test_only_nodes_are_let_in_by_address
    assert peer.keys() <= {"podSelector", "namespaceSelector"}
    if "namespaceSelector" in peer:
        labels = {"kubernetes.io/metadata.name": pod.namespace}
        if not matches(peer["namespaceSelector"], labels):
            return False
    elif pod.namespace != namespace:
        return False
    return matches(peer.get("podSelector", {}), pod.labels)


def allows(objects: list[Object], way: str, subject: Pod, other: Pod | None, port: int,
           target: Pod | None, kit: Any) -> bool:  # fmt: skip
    """Whether the policies on ``subject`` allow traffic to or from ``other``."""
    policies = [
        item
        for item in kit.of_kind(objects, "NetworkPolicy")
        if item["metadata"]["namespace"] == subject.namespace
        and way.capitalize() in item["spec"]["policyTypes"]
        and matches(item["spec"]["podSelector"], subject.labels)
    ]
    if not policies:
        return True
    for policy in policies:
        for rule in policy["spec"].get(way, []):
            ports = [entry["port"] for entry in rule.get("ports", [])]
            numbers = [target.ports.get(element) if target and isinstance(element, str) else element
                       for element in ports]  # fmt: skip
            if ports and port not in numbers:
                continue
            peers = rule.get("from" if way == "ingress" else "to")
            if peers is None:
                return True
            if other and any(
                is_peer(peer, other, policy["metadata"]["namespace"]) for peer in peers
            ):
                return True
    return False


def flow(environment: str) -> set[tuple[str, str, int]]:
    """The permitted connections of an environment."""
    if environment != "prod":
        return FLOW
    # Prod has no NodePort: Traefik is in front of the dashboard and of the ingest.
    outside = {"a stranger", "alertmanager", "argocd-notifications", "prometheus"}
    node_port = {(source, "event-audit-dashboard", 8080) for source in (*outside, "traefik")}
    return (FLOW - node_port) | {
        ("traefik", "event-audit-dashboard", 8443),
        ("traefik", "audit-event-generator", 5443),
    }


def test_the_policies_allow_the_data_flow_and_nothing_else(
    objects: list[Object], environment: str, kit: Any
) -> None:
    ours = pods(objects, kit)
    allowed = {
        (source.name, target.name, port)
        for source in (*ours, *STRANGERS)
        for target in ours
        for port in target.ports.values()
        if source is not target
        and allows(objects, "egress", source, target, port, target, kit)
        and allows(objects, "ingress", target, source, port, target, kit)
    }
    assert allowed == flow(environment)


def test_only_nodes_are_let_in_by_address(objects: list[Object], kit: Any) -> None:
    blocks = [
        IPv4Network(peer["ipBlock"]["cidr"])
        for policy in kit.of_kind(objects, "NetworkPolicy")
        for rule in policy["spec"].get("ingress", [])
        for peer in rule.get("from", [])
        if "ipBlock" in peer
    ]
    for block in blocks:
        assert block.subnet_of(PODS)
        assert block.prefixlen == 31, "the node's own two addresses, which no pod gets"
        assert int(block.network_address) % 256 == 0


def test_no_pod_may_connect_to_any_address(objects: list[Object], kit: Any) -> None:
    leaving = {
        (pod.name, port)
        for pod in pods(objects, kit)
        for port in (22, 80, 443, 6443, 8080)
        if allows(objects, "egress", pod, None, port, None, kit)
    }
    assert not leaving


def test_the_jobs_for_secrets_may_connect_to_the_api_server_only(
    objects: list[Object], kit: Any
) -> None:
    jobs = [pod for pod in pods(objects, kit) if pod.name in {"secrets", "certificates"}]
    assert len(jobs) == 2
    policies = [
        item["spec"]
        for item in kit.of_kind(objects, "NetworkPolicy")
        if item["spec"]["podSelector"]
        and all(matches(item["spec"]["podSelector"], job.labels) for job in jobs)
    ]
    (policy,) = policies
    assert policy["policyTypes"] == ["Egress"]
    rules = policy["egress"]

    def permitted(address: str, port: int) -> bool:
        return any(
            {"port": port} in rule["ports"]
            and IPv4Address(address) in IPv4Network(peer["ipBlock"]["cidr"])
            and not any(
                IPv4Address(address) in IPv4Network(other)
                for other in peer["ipBlock"].get("except", [])
            )
            for rule in rules
            for peer in rule["to"]
        )

    # The Service "kubernetes", and an API server on a node
    assert permitted("10.43.0.1", 443)
    for node in ("10.0.1.11", "192.168.1.20", "172.16.0.5"):
        assert permitted(node, 6443)
        assert not permitted(node, 443)
    # No other Service, no pod, no address on the internet
    for address in (str(SERVICES[9]), str(PODS[260]), "1.1.1.1", "203.0.113.20"):
        for port in (80, 443, 5432, 6443):
            assert not permitted(address, port), (address, port)


def test_everybody_finds_names(objects: list[Object], kit: Any) -> None:
    dns = Pod("dns", "kube-system", {"k8s-app": "kube-dns"}, {})
    for pod in pods(objects, kit):
        assert allows(objects, "egress", pod, dns, 53, dns, kit), pod.name
