# The cluster for production.
module "nodes" {
  source = "../../modules/nodes"

  cluster        = "prod"
  servers        = 3
  size           = "medium"
  location       = var.location
  admin_networks = var.admin_networks
  ssh_keys       = var.ssh_keys
  protected      = true
}

module "inventory" {
  source = "../../modules/inventory"

  nodes = module.nodes.nodes
  settings = {
    base_admin_networks      = var.admin_networks
    argocd_bootstrap_cluster = "cluster-prod"
  }
}
