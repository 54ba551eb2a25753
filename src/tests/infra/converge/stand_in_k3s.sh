#!/bin/sh
# Stands in for K3s, which is no package of any registry: it starts, says that it is ready, and answers what
# the playbooks ask. What it proves is how the roles install, restart, upgrade and remove K3s, and nothing
# about K3s.
VERSION=v1.36.4+k3s1
STATE=/var/lib/rancher/k3s
printf '%s\n' "$*" >>/var/log/k3s-calls

case "$1 ${2-}" in
"server --cluster-reset")
    echo "Managed etcd cluster membership has been reset, restart without --cluster-reset flag now"
    ;;
"server "*)
    mkdir -p $STATE/server/db
    date +%s%N >$STATE/started
    systemd-notify --ready
    exec sleep infinity
    ;;
"agent "*)
    mkdir -p $STATE
    date +%s%N >$STATE/started
    exec sleep infinity
    ;;
"kubectl get")
    case "$*" in
    *readyz*) systemctl is-active --quiet k3s && echo ok ;;
    *'kubeletVersion},'*'"Ready"'*) printf '%s,True' "$VERSION" ;;
    *kubeletVersion*) cat "$STATE/version-$4" 2>/dev/null || printf v1.36.4+k3s1 ;;
    *service*) printf '10.43.7.7:5000' ;;
    *secret*) printf 'a-token-of-the-cluster' | base64 | tr -d '\n' ;;
    esac
    ;;
"kubectl uncordon")
    printf '%s' "$VERSION" >"$STATE/version-$3" # the test upgrades a node between drain and uncordon
    ;;
"kubectl -n")
    case "$*" in
    *clusterIP*) printf '10.43.7.7:5443' ;;
    *environment-ca*) printf 'the authority' | base64 | tr -d '\n' ;;
    *INGEST_TOKEN*) printf 'a-token-of-the-cluster' | base64 | tr -d '\n' ;;
    *applications.argoproj.io*) cat $STATE/root-application 2>/dev/null || true ;;
    *rollout*) echo "deployment \"argocd-server\" successfully rolled out" ;;
    esac
    ;;
"kubectl apply")
    for last; do :; done
    test -f "$last/kustomization.yaml" || exit 1
    case "$last" in
    */clusters/*) echo "application.argoproj.io/cluster" >$STATE/root-application ;;
    esac
    ;;
esac
