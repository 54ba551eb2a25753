variable "nodes" {
  description = "The machines by name: role (server or agent), address (where SSH finds it), user (for SSH), and private_ip (where the nodes find each other; empty: the same as address)."
  type = map(object({
    role       = string
    address    = string
    user       = optional(string, "ops")
    private_ip = optional(string, "")
    ssh_port   = optional(number, 22)
  }))

  validation {
    condition     = alltrue([for name, one in var.nodes : contains(["server", "agent"], one.role)])
    error_message = "Each node's role must be server or agent; it is not for ${join(", ", [for name, one in var.nodes : name if !contains(["server", "agent"], one.role)])}."
  }

  validation {
    condition     = contains([1, 3, 5, 7], length([for one in var.nodes : one if one.role == "server"]))
    error_message = "There are ${length([for one in var.nodes : one if one.role == "server"])} servers; etcd wants 1, 3, 5 or 7."
  }

  validation {
    condition     = alltrue([for name in keys(var.nodes) : can(regex("^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$", name))])
    error_message = "Names of nodes are host names: lower-case letters, digits and hyphens. These are not: ${join(", ", [for name in keys(var.nodes) : name if !can(regex("^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$", name))])}."
  }

  validation {
    condition     = length(distinct([for one in var.nodes : one.address])) == length(var.nodes)
    error_message = "Two nodes have the same address."
  }
}

variable "settings" {
  description = "Variables of all nodes, as the roles' defaults/main.yaml name them."
  type        = any
  default     = {}
}
