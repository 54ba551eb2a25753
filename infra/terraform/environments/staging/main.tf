# The cluster for staging.
module "nodes" {
  source = "../../modules/nodes"

  cluster        = "staging"
  servers        = 1
  size           = "medium"
  location       = var.location
  admin_networks = var.admin_networks
  ssh_keys       = var.ssh_keys
  protected      = false
}

module "inventory" {
  source = "../../modules/inventory"

  nodes = module.nodes.nodes
  settings = {
    base_admin_networks      = var.admin_networks
    argocd_bootstrap_cluster = "cluster-staging"
  }
}
