# Existing machines without a cloud provider, written to the same inventory.
module "inventory" {
  source = "../../modules/inventory"

  nodes    = var.nodes
  settings = { base_admin_networks = var.admin_networks }
}
