output "inventory" {
  description = "For Ansible: terraform output -raw inventory > ../../../ansible/inventory/hosts.yaml"
  value       = module.inventory.yaml
}
