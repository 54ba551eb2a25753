# No provider: this test runs anywhere.
variables {
  cluster        = "dev"
  servers        = 3
  agents         = 2
  admin_networks = ["203.0.113.7/32"]
  ssh_keys       = { alice = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGtest alice" }
}

run "names_and_addresses" {
  command = plan

  assert {
    condition     = output.nodes["dev-server-1"].private_ip == "10.0.1.11" && output.nodes["dev-agent-2"].private_ip == "10.0.1.102"
    error_message = "Servers begin at .11, agents at .101."
  }

  assert {
    condition     = length(output.nodes) == 5 && length([for one in output.nodes : one if one.role == "server"]) == 3
    error_message = "Three servers and two agents make five machines."
  }
}

run "one_more_agent_moves_nobody" {
  command = plan

  variables {
    agents = 3
  }

  assert {
    condition     = output.nodes["dev-agent-2"].private_ip == "10.0.1.102" && output.nodes["dev-server-3"].private_ip == "10.0.1.13"
    error_message = "Addresses of the machines that are there must stay."
  }
}

run "only_administrators_reach_the_api_server" {
  command = plan

  assert {
    condition = alltrue([
      for rule in output.firewall : join(",", rule.sources) == "203.0.113.7/32" if contains(["22", "6443"], coalesce(rule.port, "none"))
    ])
    error_message = "SSH and the API server are for administrators alone."
  }

  assert {
    condition     = toset([for rule in output.firewall : coalesce(rule.port, "none")]) == toset(["22", "6443", "80", "443", "none"])
    error_message = "Nothing else is open."
  }
}

run "nobody_has_a_password" {
  command = plan

  assert {
    condition     = yamldecode(output.cloud_init).ssh_pwauth == false && yamldecode(output.cloud_init).users[0].lock_passwd == true
    error_message = "Machines take keys alone."
  }

  assert {
    condition     = startswith(output.cloud_init, "#cloud-config\n")
    error_message = "cloud-init knows its own files by the first line."
  }
}

run "an_even_number_of_servers" {
  command = plan

  variables {
    servers = 2
  }

  expect_failures = [var.servers]
}

run "the_whole_internet_as_administrators" {
  command = plan

  variables {
    admin_networks = ["0.0.0.0/0"]
  }

  expect_failures = [var.admin_networks]
}

run "no_administrators" {
  command = plan

  variables {
    admin_networks = []
  }

  expect_failures = [var.admin_networks]
}

run "the_network_of_the_pods" {
  command = plan

  variables {
    network = "10.42.0.0/16"
  }

  expect_failures = [var.network]
}

run "a_private_key" {
  command = plan

  variables {
    ssh_keys = { alice = "-----BEGIN OPENSSH PRIVATE KEY-----" } # checkov:skip=CKV_SECRET_13: the test checks that it is refused; it is not a key
  }

  expect_failures = [var.ssh_keys]
}

run "a_name_that_dns_does_not_take" {
  command = plan

  variables {
    cluster = "Prod_1"
  }

  expect_failures = [var.cluster]
}
