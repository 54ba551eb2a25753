output "inventory" {
  description = "For Ansible: terraform output -raw inventory > ../../../ansible/inventory/staging.yaml"
  value       = module.inventory.yaml
}
