variables {
  nodes          = { pi-1 = { role = "server", address = "192.168.1.10", user = "pi" } }
  admin_networks = ["192.168.1.0/24"]
}

run "one_raspberry_pi" {
  command = plan

  assert {
    condition     = yamldecode(output.inventory).k3s_cluster.children.k3s_servers.hosts["pi-1"].ansible_user == "pi"
    error_message = "The Pi is the server."
  }
}

run "nobody_may_administer" {
  command = plan

  variables {
    admin_networks = []
  }

  expect_failures = [var.admin_networks]
}
