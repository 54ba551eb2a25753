terraform {
  required_version = ">= 1.10"

  required_providers {
    hcloud = {
      source  = "hetznercloud/hcloud"
      version = "~> 1.57"
    }
  }

  # Where, and with which credentials: backend.hcl, from backend.example.hcl beside this file.
  backend "s3" {
    key          = "auditflow/staging.tfstate"
    encrypt      = true
    use_lockfile = true
  }
}

provider "hcloud" {} # the token is in HCLOUD_TOKEN, and so in no file
