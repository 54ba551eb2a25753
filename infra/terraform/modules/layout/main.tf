# The layout of a cluster, independent of the cloud: names, roles, addresses, firewall rules and
# the first boot of a machine. It uses no provider.

locals {
  servers = [for number in range(1, var.servers + 1) : { name = "${var.cluster}-server-${number}", role = "server", host = 10 + number }]
  agents  = [for number in range(1, var.agents + 1) : { name = "${var.cluster}-agent-${number}", role = "agent", host = 100 + number }]

  # Servers and agents have separate ranges, so that a new machine changes no address.
  nodes = {
    for one in concat(local.servers, local.agents) : one.name => {
      role       = one.role
      private_ip = cidrhost(var.network, one.host)
    }
  }

  firewall = [
    { description = "SSH, for administrators", protocol = "tcp", port = "22", sources = var.admin_networks },
    { description = "Kubernetes API, for administrators", protocol = "tcp", port = "6443", sources = var.admin_networks },
    { description = "HTTP", protocol = "tcp", port = "80", sources = var.user_networks },
    { description = "HTTPS", protocol = "tcp", port = "443", sources = var.user_networks },
    { description = "Ping", protocol = "icmp", port = null, sources = var.admin_networks },
  ]

  cloud_init = join("\n", ["#cloud-config", yamlencode({
    disable_root = true
    ssh_pwauth   = false
    users = [{
      name                = "ops"
      groups              = ["sudo"]
      shell               = "/bin/bash"
      sudo                = "ALL=(ALL) NOPASSWD:ALL" # for Ansible; the user has no password
      lock_passwd         = true
      ssh_authorized_keys = values(var.ssh_keys)
    }]
    package_update = true
    packages       = ["python3", "python3-apt"]
  })])
}
