# Machines at Hetzner Cloud. For another cloud, write a module with the same variables and outputs.

locals {
  types     = { small = "cax11", medium = "cax21", large = "cax31" }
  locations = { falkenstein = "fsn1", nuremberg = "nbg1", helsinki = "hel1" }
  labels    = { cluster = var.cluster, managed-by = "terraform" }
}

module "layout" {
  source = "../layout"

  cluster        = var.cluster
  servers        = var.servers
  agents         = var.agents
  network        = var.network
  admin_networks = var.admin_networks
  user_networks  = var.user_networks
  ssh_keys       = var.ssh_keys
}

resource "hcloud_ssh_key" "admin" {
  for_each = var.ssh_keys

  name       = "${var.cluster}-${each.key}"
  public_key = each.value
  labels     = local.labels
}

resource "hcloud_network" "nodes" {
  name     = var.cluster
  ip_range = var.network
  labels   = local.labels
}

resource "hcloud_network_subnet" "nodes" {
  network_id   = hcloud_network.nodes.id
  type         = "cloud"
  network_zone = "eu-central"
  ip_range     = var.network
}

resource "hcloud_firewall" "nodes" {
  name   = var.cluster
  labels = local.labels

  dynamic "rule" {
    for_each = module.layout.firewall

    content {
      direction   = "in"
      description = rule.value.description
      protocol    = rule.value.protocol
      port        = rule.value.port
      source_ips  = rule.value.sources
    }
  }
}

# Each server runs on another host, so that a failure of a host affects one server. At most ten are possible.
resource "hcloud_placement_group" "servers" {
  name   = "${var.cluster}-servers"
  type   = "spread"
  labels = local.labels
}

resource "hcloud_server" "node" {
  for_each = module.layout.nodes

  name                     = each.key
  server_type              = local.types[var.size]
  location                 = local.locations[var.location]
  image                    = "debian-13"
  user_data                = module.layout.cloud_init
  ssh_keys                 = [for key in hcloud_ssh_key.admin : key.id]
  firewall_ids             = [hcloud_firewall.nodes.id]
  placement_group_id       = each.value.role == "server" ? hcloud_placement_group.servers.id : null
  labels                   = merge(local.labels, { role = each.value.role })
  delete_protection        = var.protected
  rebuild_protection       = var.protected
  shutdown_before_deletion = true

  public_net {
    ipv4_enabled = true
    ipv6_enabled = true
  }

  lifecycle {
    # These act only on the first boot; a change would replace the machine. Ansible does later changes.
    ignore_changes = [image, ssh_keys, user_data]
  }
}

resource "hcloud_server_network" "node" {
  for_each = module.layout.nodes

  server_id = hcloud_server.node[each.key].id
  subnet_id = hcloud_network_subnet.nodes.id
  ip        = each.value.private_ip
}
