locals {
  hosts = {
    for role in ["server", "agent"] : role => {
      for name, one in var.nodes : name => merge(
        { ansible_host = one.address, ansible_user = one.user },
        one.ssh_port == 22 ? {} : { ansible_port = one.ssh_port },
        one.private_ip == "" ? {} : { "k3s_${role}_node_ip" = one.private_ip },
      ) if one.role == role
    }
  }

  servers  = [for one in var.nodes : one if one.role == "server"]
  first    = local.servers[0] # maps are sorted by key, like Ansible's group
  internal = [for one in var.nodes : one.private_ip == "" ? one.address : one.private_ip]
  join     = local.first.private_ip == "" ? local.first.address : local.first.private_ip

  inventory = {
    k3s_cluster = {
      children = {
        k3s_servers = { hosts = local.hosts["server"] }
        k3s_agents  = { hosts = local.hosts["agent"] }
      }
      vars = merge({
        base_node_addresses  = distinct(concat(local.internal, [for one in var.nodes : one.address]))
        k3s_server_url       = "https://${local.join}:6443"
        k3s_agent_server_url = "https://${local.join}:6443"
      }, var.settings)
    }
  }
}
