# The interface is independent of the cloud. modules/layout validates the values.

variable "cluster" {
  description = "Name of the cluster; the machines' names begin with it."
  type        = string
}

variable "servers" {
  description = "How many machines run the control plane: 1, 3 or 5."
  type        = number
}

variable "agents" {
  description = "How many machines run workloads alone."
  type        = number
  default     = 0
}

variable "size" {
  description = "How large each machine is: small (2 cores, 4 GiB), medium (4, 8) or large (8, 16), on arm64."
  type        = string
  default     = "medium"

  validation {
    condition     = contains(["small", "medium", "large"], var.size)
    error_message = "size is \"${var.size}\": use small, medium or large. Medium is the least that holds K3s, Argo CD, monitoring and one environment."
  }
}

variable "location" {
  description = "Where the machines stand: falkenstein, nuremberg or helsinki. Not all have arm64 at all times."
  type        = string
  default     = "falkenstein"

  validation {
    condition     = contains(["falkenstein", "nuremberg", "helsinki"], var.location)
    error_message = "location is \"${var.location}\": use falkenstein, nuremberg or helsinki, where arm64 is offered."
  }
}

variable "network" {
  description = "The private network of the machines."
  type        = string
  default     = "10.0.1.0/24"
}

variable "admin_networks" {
  description = "Who may reach SSH and the API server."
  type        = list(string)
}

variable "user_networks" {
  description = "Who may reach what the cluster offers."
  type        = list(string)
  default     = ["0.0.0.0/0", "::/0"]
}

variable "ssh_keys" {
  description = "Public SSH keys of the administrators, by name."
  type        = map(string)
}

variable "protected" {
  description = "Refuse to delete or rebuild the machines until this is false."
  type        = bool
  default     = false
}
