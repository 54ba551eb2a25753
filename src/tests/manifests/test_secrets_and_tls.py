"""Secrets are created in the cluster, and all clients use TLS."""

import re
from pathlib import Path
from typing import Any

import yaml

from .workloads import Object, containers, workloads


def test_only_the_jobs_that_create_secrets_have_a_token(objects: list[Object], kit: Any) -> None:
    for workload in workloads(objects, kit):
        pod = kit.pod_template(workload)["spec"]
        has_token = pod["automountServiceAccountToken"]
        assert has_token is (workload["metadata"]["name"] in {"secrets", "certificates"})
        assert pod["serviceAccountName"] != "default"
    for account in kit.of_kind(objects, "ServiceAccount"):
        assert account["automountServiceAccountToken"] is False


def test_no_secret_is_in_git(objects: list[Object], kit: Any) -> None:
    assert not kit.of_kind(objects, "Secret", "SealedSecret")
    suspicious = re.compile(r"(PASS|PASSWORD|TOKEN|SECRET|KEY)$")
    for workload in workloads(objects, kit):
        for container in containers(workload, kit):
            for variable in container.get("env", []):
                assert not suspicious.search(variable["name"]), variable


def test_every_secret_that_is_mounted_is_one_that_the_job_makes(
    objects: list[Object], kit: Any
) -> None:
    from provisioning.catalogue import SECRETS
    from provisioning.certificates import SECRETS as CERTIFICATES

    volumes = [
        volume
        for workload in workloads(objects, kit)
        for volume in kit.pod_template(workload)["spec"].get("volumes", [])
    ]
    projected = [
        source["secret"]
        for volume in volumes
        for source in volume.get("projected", {}).get("sources", [])
    ]
    mounted = {volume["secret"]["secretName"] for volume in volumes if "secret" in volume} | {
        secret["name"] for secret in projected if not secret.get("optional")
    }
    ha = {"redis-ha", "redis-replication"}
    unused = {"notification-service-audit"}  # the key of the audit log is optional
    made = SECRETS.keys() | set(CERTIFICATES)
    assert mounted == made - {"rabbitmq-people", "redis-people"} - ha - unused
    roles = {kit.name(role): role for role in kit.of_kind(objects, "Role")}
    assert roles.keys() == {"Role/secrets", "Role/certificates"}
    role = roles["Role/secrets"]
    create, get = role["rules"]
    assert create["verbs"] == ["create"]
    assert get["verbs"] == ["get"]
    assert set(get["resourceNames"]) == made
    create, change, restart = roles["Role/certificates"]["rules"]
    assert create["verbs"] == ["create"]
    assert change["resources"] == ["secrets"]
    assert set(change["resourceNames"]) == set(CERTIFICATES)
    assert (restart["resources"], restart["verbs"]) == (["pods"], ["get", "delete"])
    assert set(restart["resourceNames"]) == {"postgres-0", "redis-0"}
    # A person creates the optional Secrets: previous tokens for a rotation, and tokens per source.
    # The others have any key: notification receivers, and the key of the audit log.
    for secret in projected:
        if secret.get("optional") and "items" in secret:
            (token,) = secret["items"]
            if secret["name"] == "audit-event-generator-tokens":
                assert token["key"] == "INGEST_TOKENS"
            else:
                assert token["key"] in SECRETS[secret["name"].removesuffix("-before")]


def test_the_jobs_that_create_secrets_need_no_image_of_ours(
    objects: list[Object], root: Path, kit: Any
) -> None:
    jobs = [
        item
        for item in (*objects, *kit.render(root / "monitoring/base"))
        if kit.name(item) == "Job/secrets"
    ]
    assert len(jobs) == 2
    for job in jobs:
        for container in containers(job, kit):
            assert container["image"].startswith("docker.io/library/python:")


def test_clients_of_the_data_services_and_of_the_api_use_tls(
    objects: list[Object], kit: Any
) -> None:
    required = {
        "RABBITMQ_HOST": {"RABBITMQ_PORT": "5671", "RABBITMQ_TLS": "true"},
        "REDIS_HOST": {"REDIS_TLS": "true"},
        "PG_HOST": {"PG_SSLMODE": "verify-full"},
        "PGHOST": {"PGSSLMODE": "verify-full", "PGSSLROOTCERT": "/run/secrets/ca/ca.crt"},
        "NOTIFICATION_SERVICE_HOST": {"NOTIFICATION_SERVICE_TLS": "true"},
        "ANALYSIS_HOST": {"ANALYSIS_TLS": "true"},
        "EVENTS_API_HOST": {"EVENTS_API_PORT": "5003", "EVENTS_API_TLS": "true"},
    }
    checked = set()
    for workload in workloads(objects, kit):
        volumes = kit.pod_template(workload)["spec"].get("volumes", [])
        for container in containers(workload, kit):
            env = {entry["name"]: entry.get("value") for entry in container.get("env", [])}
            for host in env.keys() & required.keys():
                assert required[host].items() <= env.items(), kit.name(workload)
                mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
                assert mounts["ca"] == "/run/secrets/ca", kit.name(workload)
                checked.add(host)
                if host != "PGHOST":
                    assert env["TLS_CA_FILE"] == "/run/secrets/ca/ca.crt", kit.name(workload)
        for volume in volumes:
            # A client gets the certificate of the authority, never its key.
            if volume.get("secret", {}).get("secretName") == "environment-ca":
                assert [item["key"] for item in volume["secret"]["items"]] == ["ca.crt"]
    assert checked == required.keys()


def test_the_certificate_of_a_server_names_the_service_that_clients_connect_to(
    objects: list[Object], kit: Any
) -> None:
    from provisioning.certificates import SERVERS

    services = {item["metadata"]["name"] for item in kit.of_kind(objects, "Service")}
    for names in SERVERS.values():
        assert set(names) <= services


def test_ingresses_do_not_use_the_secrets_of_the_servers_inside_the_environment(
    objects: list[Object], kit: Any
) -> None:
    """cert-manager writes a public certificate into the Secret that an Ingress names."""
    from provisioning.certificates import SECRETS

    for ingress in kit.of_kind(objects, "Ingress"):
        for entry in ingress["spec"]["tls"]:
            assert entry["secretName"] not in SECRETS, kit.name(ingress)


def test_the_canary_route_uses_the_public_certificate_of_the_ingress(root: Path) -> None:
    components = root / "apps/components"
    route = yaml.safe_load((components / "canary-traefik/ingress-route.yaml").read_text("utf-8"))
    ingress = yaml.safe_load((components / "ingress/ingress.yaml").read_text("utf-8"))
    assert route["spec"]["tls"]["secretName"] == ingress["spec"]["tls"][0]["secretName"]
