# Copy to terraform.tfvars, which git ignores.
admin_networks = ["203.0.113.7/32"]
ssh_keys = {
  alice = "ssh-ed25519 AAAA... alice"
}
