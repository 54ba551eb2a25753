variable "cluster" {
  description = "Name of the cluster. Machines are called <cluster>-server-1, <cluster>-agent-1, ..."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,30}[a-z0-9]$", var.cluster))
    error_message = "cluster is \"${var.cluster}\": use 2 to 32 lower-case letters, digits and hyphens, beginning with a letter."
  }
}

variable "servers" {
  description = "How many machines run the control plane (and, without agents, the workloads). etcd wants an odd number."
  type        = number

  validation {
    condition     = contains([1, 3, 5], var.servers)
    error_message = "servers is ${var.servers}: use 1, 3 or 5. With an even number no more machines may fail than with one less."
  }
}

variable "agents" {
  description = "How many machines run workloads alone."
  type        = number
  default     = 0

  validation {
    condition     = var.agents >= 0 && var.agents <= 50 && floor(var.agents) == var.agents
    error_message = "agents is ${var.agents}: use a whole number from 0 to 50."
  }
}

variable "network" {
  description = "The private network of the machines, an IPv4 range of at least /24. Not K3s's own 10.42.0.0/15."
  type        = string
  default     = "10.0.1.0/24"

  validation {
    condition     = can(cidrhost(var.network, 0)) && try(tonumber(split("/", var.network)[1]) <= 24, false)
    error_message = "network is \"${var.network}\": use an IPv4 range of /24 or larger, such as 10.0.1.0/24."
  }

  validation {
    condition     = !can(regex("^10\\.4[23]\\.", var.network))
    error_message = "network is \"${var.network}\": 10.42.0.0/16 and 10.43.0.0/16 are K3s's own, for pods and services."
  }
}

variable "admin_networks" {
  description = "Who may reach SSH and the API server."
  type        = list(string)

  validation {
    condition     = length(var.admin_networks) > 0 && alltrue([for one in var.admin_networks : can(cidrhost(one, 0))])
    error_message = "admin_networks must name at least one range, such as 203.0.113.7/32; what is given: ${join(", ", var.admin_networks)}."
  }

  validation {
    condition     = !anytrue([for one in var.admin_networks : endswith(one, "/0")])
    error_message = "admin_networks would open SSH and the API server to the whole internet. Name the addresses of those who administer the cluster."
  }
}

variable "user_networks" {
  description = "Who may reach what the cluster offers (HTTP and HTTPS)."
  type        = list(string)
  default     = ["0.0.0.0/0", "::/0"]

  validation {
    condition     = alltrue([for one in var.user_networks : can(cidrhost(one, 0))])
    error_message = "user_networks holds what is no range of addresses: ${join(", ", var.user_networks)}."
  }
}

variable "ssh_keys" {
  description = "Public SSH keys of the administrators, by name."
  type        = map(string)

  validation {
    condition     = length(var.ssh_keys) > 0 && alltrue([for key in values(var.ssh_keys) : can(regex("^(ssh-ed25519|ecdsa-sha2-nistp[0-9]+|ssh-rsa|sk-[a-z0-9@.-]+) [A-Za-z0-9+/=]+", key))])
    error_message = "ssh_keys needs at least one public key, by name: { alice = \"ssh-ed25519 AAAA... alice\" }. A private key never belongs here."
  }
}
