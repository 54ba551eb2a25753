#!/bin/sh
# Ends K3s and every container it started, and takes down its mounts and interfaces. Data stay.
set -u

for unit in k3s k3s-agent; do
    systemctl stop "$unit" 2>/dev/null
done

# Containers outlive K3s on purpose; each hangs on a shim of K3s's own containerd.
for shim in $(pgrep -f '/var/lib/rancher/k3s/data/[^/]*/bin/containerd-shim'); do
    pkill -KILL -P "$shim"
    kill -KILL "$shim" 2>/dev/null
done

awk '$2 ~ "^/(run/k3s|var/lib/rancher/k3s|var/lib/kubelet/(pods|plugins)|run/netns/cni-)" { print $2 }' /proc/self/mounts |
    sort -r | while read -r mounted; do umount "$mounted" 2>/dev/null; done

for interface in cni0 flannel.1 flannel-wg flannel-v6.1 kube-ipvs0; do
    ip link delete "$interface" 2>/dev/null
done

# Kubernetes' own chains; those of the host's firewall stay.
for tables in iptables ip6tables; do
    command -v "$tables-save" >/dev/null || continue
    "$tables-save" | grep -v -e KUBE- -e CNI- -e flannel -e FLANNEL | "$tables-restore"
done
exit 0
