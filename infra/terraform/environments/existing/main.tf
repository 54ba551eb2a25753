# No cloud and no provider: machines that are there, brought into the same inventory.
module "inventory" {
  source = "../../modules/inventory"

  nodes    = var.nodes
  settings = { base_admin_networks = var.admin_networks }
}
