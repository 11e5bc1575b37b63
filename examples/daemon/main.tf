# Terraform through a daemon: hosts, their credentials and the store stand in labyard.toml, and the pool stays filled after
# the apply. LABYARD_TOKEN has a token of the role admin (labyard token create terraform --role admin).
terraform {
  required_providers {
    labyard = { source = "labyard/labyard" }
  }
}

provider "labyard" {
  namespace = "physics"
  endpoint  = "https://labyard.example:7443"
}

resource "labyard_vm_pool" "desk" {
  name    = "desk"
  ready   = 3
  max     = 10
  recycle = "recreate"

  template = {
    memory_mib = 1024
    disks = {
      root = {
        size_gib = 10
        image    = { source = "https://cloud.debian.org/images/cloud/bookworm/latest/debian-12-genericcloud-amd64.qcow2" }
      }
    }
    ready = { wait = "none" }
  }
}

resource "labyard_access_code" "course" {
  name     = "course"
  pools    = { (labyard_vm_pool.desk.name) = { count = 1 } }
  max_uses = 30
}
