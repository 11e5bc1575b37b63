terraform {
  required_providers { labyard = { source = "labyard/labyard" } }
}

resource "labyard_network" "lab" {
  name = "lab"
  mode = "nat"
  ipv4 = { cidr = "10.77.0.0/24", dhcp = { start = "10.77.0.100", end = "10.77.0.200" } }
}

resource "labyard_vm" "web" {
  name       = "web"
  memory_mib = 1024
  disks      = { root = { size_gib = 10, image = { source = "https://cloud.debian.org/images/cloud/bookworm/latest/debian-12-genericcloud-amd64.qcow2" } } }
  nics       = { lan = { network = labyard_network.lab.name } }
  cloud_init = { user_data = "#cloud-config\nssh_authorized_keys:\n  - ${file(pathexpand("~/.ssh/id_ed25519.pub"))}" }
}

output "ip" { value = labyard_vm.web.ip }
