# Copy to terraform.tfvars, which git ignores. One Raspberry Pi; with three, all are servers.
nodes = {
  pi-1 = { role = "server", address = "192.168.1.10", user = "pi" }
}
admin_networks = ["192.168.1.0/24"]
