terraform {
  required_version = ">= 1.10"

  required_providers {
    hcloud = {
      source  = "hetznercloud/hcloud"
      version = "~> 1.57"
    }
  }

  # The location and the credentials: backend.hcl, a copy of backend.example.hcl.
  backend "s3" {
    key          = "auditflow/prod.tfstate"
    encrypt      = true
    use_lockfile = true
  }
}

provider "hcloud" {} # the token is in HCLOUD_TOKEN, so it is not in a file
