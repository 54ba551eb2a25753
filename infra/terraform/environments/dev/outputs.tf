output "inventory" {
  description = "For Ansible: terraform output -raw inventory > ../../../ansible/inventory/dev.yaml"
  value       = module.inventory.yaml
}
