variable "nodes" {
  description = "Machines that are there already (Raspberry Pis, laptops), by name: role, address, user."
  type = map(object({
    role       = string
    address    = string
    user       = optional(string, "ops")
    private_ip = optional(string, "")
    ssh_port   = optional(number, 22)
  }))
}

variable "admin_networks" {
  description = "Who may reach SSH and the API server."
  type        = list(string)

  validation {
    condition     = length(var.admin_networks) > 0 && alltrue([for one in var.admin_networks : can(cidrhost(one, 0))])
    error_message = "admin_networks must name at least one range, such as 192.168.1.0/24; what is given: ${join(", ", var.admin_networks)}."
  }
}
