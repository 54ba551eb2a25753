output "nodes" {
  description = "The machines by name, as modules/inventory takes them."
  value = {
    for name, one in module.layout.nodes : name => {
      role       = one.role
      address    = hcloud_server.node[name].ipv4_address
      user       = "ops"
      private_ip = hcloud_server_network.node[name].ip
    }
  }
}
