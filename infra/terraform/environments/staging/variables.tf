variable "admin_networks" {
  description = "Who may reach SSH and the API server, e.g. [\"203.0.113.7/32\"]."
  type        = list(string)
}

variable "ssh_keys" {
  description = "Public SSH keys of the administrators, by name."
  type        = map(string)
}

variable "location" {
  description = "Where the machines stand."
  type        = string
  default     = "falkenstein"
}
