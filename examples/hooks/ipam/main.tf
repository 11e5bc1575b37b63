terraform {
  required_providers { labyard = { source = "labyard/labyard" } }
}

# ipam.py --listen 127.0.0.1:8053 --network lab --range 10.77.0.10-10.77.0.99 --state ipam.json --key-file hook.key
locals {
  ipam = { url = "http://127.0.0.1:8053/hook", secret_file = "${path.module}/hook.key" }
}

provider "labyard" {
  hooks = {
    "before:define"           = local.ipam
    "after:release_addresses" = local.ipam
  }
}

resource "labyard_network" "lab" {
  name = "lab"
  mode = "nat"
  ipv4 = { cidr = "10.77.0.0/24", dhcp = { start = "10.77.0.100", end = "10.77.0.200" } }
}

resource "labyard_vm" "web" {
  name       = "web"
  memory_mib = 512
  disks      = { root = { size_gib = 10, image = { source = "https://cloud.debian.org/images/cloud/bookworm/latest/debian-12-genericcloud-amd64.qcow2" } } }
  nics       = { lan = { network = labyard_network.lab.name } }
}

output "ip" { value = labyard_vm.web.ip }
