#!/bin/sh
# Stops K3s and all its containers, and removes its mounts and interfaces. Data remains.
set -u

for unit in k3s k3s-agent; do
    systemctl stop "$unit" 2>/dev/null
done

# Containers intentionally continue without K3s; each has a shim of K3s' containerd.
for shim in $(pgrep -f '/var/lib/rancher/k3s/data/[^/]*/bin/containerd-shim'); do
    pkill -KILL -P "$shim"
    kill -KILL "$shim" 2>/dev/null
done

awk '$2 ~ "^/(run/k3s|var/lib/rancher/k3s|var/lib/kubelet/(pods|plugins)|run/netns/cni-)" { print $2 }' /proc/self/mounts |
    sort -r | while read -r mounted; do umount "$mounted" 2>/dev/null; done

for interface in cni0 flannel.1 flannel-wg flannel-v6.1 kube-ipvs0; do
    ip link delete "$interface" 2>/dev/null
done

# Only the chains of Kubernetes; the host's firewall remains.
for tables in iptables ip6tables; do
    command -v "$tables-save" >/dev/null || continue
    "$tables-save" | grep -v -e KUBE- -e CNI- -e flannel -e FLANNEL | "$tables-restore"
done
exit 0
