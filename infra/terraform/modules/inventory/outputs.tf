output "yaml" {
  description = "The inventory, as Ansible reads it."
  value       = "# Written by Terraform; do not edit.\n${yamlencode(local.inventory)}"
}
