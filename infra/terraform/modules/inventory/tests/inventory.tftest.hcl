variables {
  nodes = {
    pi-1 = { role = "server", address = "192.168.1.10", user = "pi" }
    pi-2 = { role = "agent", address = "192.168.1.11", user = "pi", ssh_port = 2222 }
    vm-1 = { role = "agent", address = "203.0.113.20", private_ip = "10.0.1.101" }
  }
}

run "groups_and_hosts" {
  command = plan

  assert {
    condition     = yamldecode(output.yaml).k3s_cluster.children.k3s_servers.hosts["pi-1"].ansible_host == "192.168.1.10"
    error_message = "The server is in its group."
  }

  assert {
    condition     = yamldecode(output.yaml).k3s_cluster.children.k3s_agents.hosts["pi-2"].ansible_port == 2222
    error_message = "Another port of SSH is told."
  }

  assert {
    condition     = yamldecode(output.yaml).k3s_cluster.children.k3s_agents.hosts["vm-1"].k3s_agent_node_ip == "10.0.1.101"
    error_message = "The private address is the node's."
  }

  assert {
    condition     = yamldecode(output.yaml).k3s_cluster.vars.k3s_agent_server_url == "https://192.168.1.10:6443"
    error_message = "Agents join at the first server."
  }

  assert {
    condition     = contains(yamldecode(output.yaml).k3s_cluster.vars.base_node_addresses, "10.0.1.101")
    error_message = "Nodes let each other in."
  }
}

run "two_servers" {
  command = plan

  variables {
    nodes = {
      a = { role = "server", address = "192.0.2.1" }
      b = { role = "server", address = "192.0.2.2" }
    }
  }

  expect_failures = [var.nodes]
}

run "an_unknown_role" {
  command = plan

  variables {
    nodes = {
      a = { role = "server", address = "192.0.2.1" }
      b = { role = "master", address = "192.0.2.2" }
    }
  }

  expect_failures = [var.nodes]
}

run "the_same_address_twice" {
  command = plan

  variables {
    nodes = {
      a = { role = "server", address = "192.0.2.1" }
      b = { role = "agent", address = "192.0.2.1" }
    }
  }

  expect_failures = [var.nodes]
}
