# The provider is mocked: no machine is created. `terraform init` downloads its schema.
mock_provider "hcloud" {
  mock_resource "hcloud_ssh_key" {
    defaults = { id = "1" }
  }
  mock_resource "hcloud_network" {
    defaults = { id = "2" }
  }
  mock_resource "hcloud_network_subnet" {
    defaults = { id = "2-10.0.1.0/24" }
  }
  mock_resource "hcloud_firewall" {
    defaults = { id = "3" }
  }
  mock_resource "hcloud_placement_group" {
    defaults = { id = "4" }
  }
  mock_resource "hcloud_server" {
    defaults = { id = "5", ipv4_address = "203.0.113.20" }
  }
}

variables {
  cluster        = "prod"
  servers        = 3
  agents         = 1
  admin_networks = ["203.0.113.7/32"]
  ssh_keys       = { alice = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGtest alice" }
}

run "three_servers_on_three_hosts" {
  command = apply

  assert {
    condition     = length([for one in hcloud_server.node : one if one.placement_group_id != null]) == 3
    error_message = "The servers are in the placement group, and agents are not."
  }

  assert {
    condition     = alltrue([for one in hcloud_server.node : startswith(one.server_type, "cax")])
    error_message = "All machines are arm64."
  }

  assert {
    condition     = hcloud_server_network.node["prod-server-2"].ip == "10.0.1.12"
    error_message = "Each machine has the address that the layout gives it."
  }
}

run "the_firewall_opens_what_the_layout_says" {
  command = apply

  assert {
    condition     = length(hcloud_firewall.nodes.rule) == 6
    error_message = "Six rules, as in modules/layout."
  }

  assert {
    condition     = alltrue([for one in hcloud_server.node : length(one.firewall_ids) == 1])
    error_message = "No machine is without the firewall."
  }
}

run "an_unknown_size" {
  command = plan

  variables {
    size = "huge"
  }

  expect_failures = [var.size]
}

run "what_is_protected_stays" {
  command = apply

  variables {
    protected = true
  }

  assert {
    condition     = alltrue([for one in hcloud_server.node : one.delete_protection && one.rebuild_protection])
    error_message = "Hetzner wants both or neither."
  }
}
