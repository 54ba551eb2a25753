output "nodes" {
  description = "The machines by name: role (server or agent) and private_ip."
  value       = local.nodes
}

output "firewall" {
  description = "What may come in: description, protocol, port (null where there is none), sources."
  value       = local.firewall
}

output "cloud_init" {
  description = "What a machine does at its first boot: a user with keys alone, no root, no password."
  value       = local.cloud_init
}
