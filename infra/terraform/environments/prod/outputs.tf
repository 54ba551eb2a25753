output "inventory" {
  description = "For Ansible: terraform output -raw inventory > ../../../ansible/inventory/prod.yaml"
  value       = module.inventory.yaml
}
