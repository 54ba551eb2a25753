"""Properties of every workload. Each test lists all workloads that lack the property."""

import re
from typing import Any

from .workloads import Object, containers, servers, workloads

LABELS = ("app.kubernetes.io/name", "app.kubernetes.io/part-of", "team", "environment",
          "finops.tier")  # fmt: skip


def test_no_workload_is_overlooked(objects: list[Object], kit: Any) -> None:
    assert len(workloads(objects, kit)) == 12


def test_all_objects_and_their_pods_are_labelled(
    objects: list[Object], environment: str, kit: Any
) -> None:
    lacking = []
    for thing in objects:
        label_sets = [thing["metadata"].get("labels", {})]
        if thing["kind"] in kit.workloads:
            label_sets.append(kit.pod_template(thing)["metadata"]["labels"])
        for labels in label_sets:
            lacking += [f"{kit.name(thing)}: {item}" for item in LABELS if item not in labels]
            assert labels.get("environment") == environment, kit.name(thing)
    assert not lacking


def test_everything_is_in_the_namespace_of_its_environment(
    objects: list[Object], environment: str, kit: Any
) -> None:
    for thing in objects:
        if thing["kind"] == "Namespace":
            assert thing["metadata"]["name"] == f"auditflow-{environment}"
        else:
            assert thing["metadata"]["namespace"] == f"auditflow-{environment}", kit.name(thing)


def test_no_object_of_an_environment_names_another_environment(
    objects: list[Object], manifests: Any, environment: str, kit: Any
) -> None:
    others = {"dev", "staging", "prod"} - {environment}
    word = re.compile(rf"(?<![a-z])({'|'.join(others)})(?![a-z])")
    for thing in [*objects, *manifests.cluster(environment)]:
        found = word.search(re.sub(r"/dev/(null|shm|std\w+)", "", str(thing)))
        assert not found, f"{kit.name(thing)} mentions {found[0]}"


def test_the_namespace_enforces_pod_security(objects: list[Object], kit: Any) -> None:
    (namespace,) = kit.of_kind(objects, "Namespace")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


def test_every_container_is_confined(objects: list[Object], kit: Any) -> None:
    for workload in workloads(objects, kit):
        pod = kit.pod_template(workload)["spec"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
        assert not any("hostPath" in volume for volume in pod.get("volumes", []))
        for container in containers(workload, kit):
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }, kit.name(workload)


def test_every_container_has_requests_and_limits(objects: list[Object], kit: Any) -> None:
    for workload in workloads(objects, kit):
        for container in containers(workload, kit):
            for bound in ("requests", "limits"):
                assert container["resources"][bound].keys() == {"cpu", "memory"}


def test_every_server_is_probed(objects: list[Object], kit: Any) -> None:
    for workload in servers(objects, kit):
        for container in kit.pod_template(workload)["spec"]["containers"]:
            probes = {
                kind: container[f"{kind}Probe"] for kind in ("startup", "liveness", "readiness")
            }
            if workload["kind"] == "Deployment":
                assert probes["startup"]["httpGet"]["path"] == "/healthz"
                assert probes["liveness"]["httpGet"]["path"] == "/healthz"
                dashboard = workload["metadata"]["name"] == "event-audit-dashboard"
                ready = "/healthz" if dashboard else "/readyz"
                assert probes["readiness"]["httpGet"]["path"] == ready


def test_every_server_has_time_for_an_orderly_stop(objects: list[Object], kit: Any) -> None:
    for workload in servers(objects, kit):
        pod = kit.pod_template(workload)["spec"]
        leaving = sum(
            container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
            for container in pod["containers"]
        )
        # A service has ten seconds of its own after SIGTERM (auditflow.http.serving).
        assert pod["terminationGracePeriodSeconds"] > leaving + 10


def test_every_account_that_is_used_exists(objects: list[Object], kit: Any) -> None:
    made = {item["metadata"]["name"] for item in kit.of_kind(objects, "ServiceAccount")}
    used = {
        kit.pod_template(workload)["spec"]["serviceAccountName"]
        for workload in workloads(objects, kit)
    }
    assert used <= made


def test_services_scale_and_nothing_else_sets_their_number(objects: list[Object], kit: Any) -> None:
    scaled = {
        item["spec"]["scaleTargetRef"]["name"]
        for item in kit.of_kind(objects, "HorizontalPodAutoscaler")
    }
    for deployment in kit.of_kind(objects, "Deployment"):
        if deployment["spec"]["strategy"].get("type") == "Recreate":
            assert deployment["spec"]["replicas"] == 1  # its volume belongs to one pod
            continue
        assert deployment["metadata"]["name"] in scaled
        assert "replicas" not in deployment["spec"]


def selects(selector: Object, labels: dict[str, str]) -> bool:
    return bool(selector["matchLabels"].items() <= labels.items())


def test_every_service_has_a_budget_a_monitor_and_a_spread(objects: list[Object], kit: Any) -> None:
    budgets = kit.of_kind(objects, "PodDisruptionBudget")
    monitors = kit.of_kind(objects, "ServiceMonitor")
    for deployment in kit.of_kind(objects, "Deployment"):
        labels = kit.pod_template(deployment)["metadata"]["labels"]
        assert any(selects(monitor["spec"]["selector"], labels) for monitor in monitors)
        if deployment["spec"]["strategy"].get("type") == "Recreate":
            continue  # one pod: test_monitored requires the reason why it has no budget
        assert any(selects(budget["spec"]["selector"], labels) for budget in budgets)
        assert kit.pod_template(deployment)["spec"]["topologySpreadConstraints"]


def test_no_disruption_budget_blocks_a_drain(objects: list[Object], kit: Any) -> None:
    for budget in kit.of_kind(objects, "PodDisruptionBudget"):
        assert budget["spec"]["maxUnavailable"] == 1


def test_every_service_selects_exactly_one_workload_and_a_port_that_it_has(
    objects: list[Object], kit: Any
) -> None:
    for service in kit.of_kind(objects, "Service"):
        chosen = [
            workload
            for workload in workloads(objects, kit)
            if service["spec"]["selector"].items()
            <= kit.pod_template(workload)["metadata"]["labels"].items()
        ]
        assert len(chosen) == 1, kit.name(service)
        named = {
            port["name"]
            for container in containers(chosen[0], kit)
            for port in container.get("ports", [])
        }
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= named


def test_the_names_of_the_seed(objects: list[Object], environment: str, kit: Any) -> None:
    services = {item["metadata"]["name"]: item["spec"] for item in kit.of_kind(objects, "Service")}
    assert services.keys() == {
        "audit-event-archive-service",
        "audit-event-generator-service",
        "audit-log-analysis-service",
        "event-audit-dashboard-service",
        "notification-service",
        "postgres-service",
        "rabbitmq-service",
        "redis-service",
    }
    front_end = "ClusterIP" if environment == "prod" else "NodePort"
    assert services["event-audit-dashboard-service"]["type"] == front_end


def test_only_dev_and_staging_have_a_node_port(manifests: Any, kit: Any) -> None:
    ports = {
        environment: service["spec"]["ports"][0]["nodePort"]
        for environment in ("dev", "staging", "prod")
        for service in kit.of_kind(manifests.environment(environment), "Service")
        if service["spec"].get("type") == "NodePort"
    }
    assert ports == {"dev": 30082, "staging": 30081}


def test_prod_is_reached_through_ingresses_with_tls_and_limits(manifests: Any, kit: Any) -> None:
    objects = manifests.environment("prod")
    ingresses = {item["metadata"]["name"]: item for item in kit.of_kind(objects, "Ingress")}
    assert ingresses.keys() == {"audit-event-generator", "event-audit-dashboard"}
    services = {item["metadata"]["name"]: item["spec"] for item in kit.of_kind(objects, "Service")}
    for ingress in ingresses.values():
        annotations = ingress["metadata"]["annotations"]
        assert annotations["traefik.ingress.kubernetes.io/router.entrypoints"] == "websecure"
        (rule,) = ingress["spec"]["rules"]
        assert ingress["spec"]["tls"][0]["hosts"] == [rule["host"]]
        for path in rule["http"]["paths"]:
            # Metrics have no port of a Service, so no Ingress can route them.
            backend = path["backend"]["service"]
            assert backend["port"]["name"] in {
                port["name"] for port in services[backend["name"]]["ports"]
            }
            assert backend["port"]["name"] == "https"
    paths = ingresses["audit-event-generator"]["spec"]["rules"][0]["http"]["paths"]
    assert {path["path"] for path in paths} == {"/ingest", "/generate_event"}
    limits = {item["metadata"]["name"]: item["spec"] for item in kit.of_kind(objects, "Middleware")}
    assert limits["ingest-rate"]["rateLimit"]["average"] > 0
    assert limits["ingest-size"]["buffering"]["maxRequestBodyBytes"] == 16 * 2**20
    annotation = "traefik.ingress.kubernetes.io/router.middlewares"
    named = ingresses["audit-event-generator"]["metadata"]["annotations"][annotation].split(",")
    assert named == [f"auditflow-prod-{name}@kubernetescrd" for name in sorted(limits)]
    (dashboard,) = [
        item
        for item in kit.of_kind(objects, "Deployment")
        if item["metadata"]["name"] == "event-audit-dashboard"
    ]
    (container,) = kit.pod_template(dashboard)["spec"]["containers"]
    values = {entry["name"]: entry.get("value") for entry in container["env"]}
    assert (values["COOKIE_SECURE"], values["TRUSTED_PROXIES"]) == ("true", "1")


def test_traefik_verifies_the_certificates_of_the_pods(manifests: Any, kit: Any) -> None:
    from provisioning.certificates import SERVERS, names

    objects = manifests.environment("prod")
    transports = {
        f"auditflow-prod-{item['metadata']['name']}@kubernetescrd": item["spec"]
        for item in kit.of_kind(objects, "ServersTransport")
    }
    services = {item["metadata"]["name"]: item for item in kit.of_kind(objects, "Service")}
    for ingress in kit.of_kind(objects, "Ingress"):
        for path in ingress["spec"]["rules"][0]["http"]["paths"]:
            backend = path["backend"]["service"]["name"]
            annotations = services[backend]["metadata"]["annotations"]
            prefix = "traefik.ingress.kubernetes.io/service."
            assert annotations[prefix + "serversscheme"] == "https"
            transport = transports[annotations[prefix + "serverstransport"]]
            assert transport["rootCAs"] == [{"secret": "environment-ca"}]
            assert "insecureSkipVerify" not in transport
            certificate = f"{ingress['metadata']['name']}-tls"
            assert transport["serverName"] in names(SERVERS[certificate], "auditflow-prod")


def test_metrics_are_scraped_over_tls(objects: list[Object], kit: Any) -> None:
    from provisioning.certificates import SERVERS

    certified = {name for services in SERVERS.values() for name in services}
    for monitor in kit.of_kind(objects, "ServiceMonitor"):
        for endpoint in monitor["spec"]["endpoints"]:
            assert endpoint["scheme"] == "https", kit.name(monitor)
            tls = endpoint["tlsConfig"]
            assert tls["ca"] == {"secret": {"name": "environment-ca", "key": "ca.crt"}}
            assert tls["serverName"] in certified
            assert "insecureSkipVerify" not in tls
            (service,) = [
                item
                for item in kit.of_kind(objects, "Service")
                if monitor["spec"]["selector"]["matchLabels"].items()
                <= item["metadata"]["labels"].items()
            ]
            assert tls["serverName"] == service["metadata"]["name"], kit.name(monitor)
    for deployment in kit.of_kind(objects, "Deployment"):
        (container,) = kit.pod_template(deployment)["spec"]["containers"]
        assert {"name": "METRICS_TLS", "value": "true"} in container["env"]
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            assert container[probe]["httpGet"]["scheme"] == "HTTPS", kit.name(deployment)


def test_images_are_pinned(objects: list[Object], kit: Any) -> None:
    for workload in workloads(objects, kit):
        for container in containers(workload, kit):
            image = container["image"]
            _, _, tag = image.partition("@")[0].rpartition(":")
            assert tag
            assert tag != "latest"
            if "/auditflow-" in image:
                assert re.search(r"@sha256:[0-9a-f]{64}$", image)
            else:
                assert re.match(r"v?\d+\.\d+", tag), f"{image} may move"


def test_the_deletion_of_data_needs_a_confirmation(objects: list[Object], kit: Any) -> None:
    prune = {"PersistentVolumeClaim": "false", "StatefulSet": "confirm", "Namespace": "confirm"}
    for thing in kit.of_kind(objects, *prune):
        options = thing["metadata"]["annotations"]["argocd.argoproj.io/sync-options"]
        assert options == f"Prune={prune[thing['kind']]},Delete=confirm"


def test_each_setting_of_a_manifest_is_a_setting_of_its_service(
    objects: list[Object], kit: Any
) -> None:
    """Every variable of a Deployment is a field of the service's settings."""
    from audit_analysis.archive.settings import Settings as Archive
    from audit_analysis.service.settings import Settings as Analysis
    from audit_event_generator.settings import Settings as Generator
    from event_audit_dashboard.settings import DashboardSettings
    from notification_service.settings import Settings as Notification

    read: dict[str, Any] = {
        "audit-event-archive": Archive,
        "audit-event-generator": Generator,
        "audit-log-analysis": Analysis,
        "event-audit-dashboard": DashboardSettings,
        "notification-service": Notification,
    }
    for deployment in kit.of_kind(objects, "Deployment"):
        settings = read[deployment["metadata"]["name"]]
        reported = {
            variable["name"].lower()
            for container in containers(deployment, kit)
            for variable in container["env"]
        } - {"secrets_dir"}
        assert reported <= settings.model_fields.keys()
        assert (
            settings.model_fields["port"].default
            == kit.pod_template(deployment)["spec"]["containers"][0]["ports"][0]["containerPort"]
        )
