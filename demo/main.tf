# A network and two machines that get their name and key from a cloud-init seed.
terraform {
  required_providers {
    labyard = { source = "labyard/labyard" }
  }
}

variable "uri" { type = string }        # the libvirt host
variable "guest" { type = string }      # directory of the tiny guest: vmlinuz, initrd, disk.qcow2
variable "public_key" { type = string } # who may log in
variable "store" { type = string }      # where pools and codes are kept

provider "labyard" {
  namespace = "demo"
  store     = var.store
  hosts     = { lab1 = { libvirt = { uri = var.uri } } }
}

resource "labyard_network" "lab" {
  name = "lab"
  mode = "nat"
  ipv4 = { cidr = "10.77.0.0/24", dhcp = { start = "10.77.0.100", end = "10.77.0.200" } }
  dns  = { domain = "lab.test" }
}

resource "labyard_vm" "lab" {
  for_each   = toset(["web", "db"])
  name       = each.key
  memory_mib = 256
  disks      = { root = { size_gib = 1, image = { source = "file:${var.guest}/disk.qcow2" } } }
  nics       = { lan = { network = labyard_network.lab.name } }
  boot       = { kernel = "${var.guest}/vmlinuz", initrd = "${var.guest}/initrd", cmdline = "console=ttyS0 quiet" }
  cloud_init = { user_data = "#cloud-config\nssh_authorized_keys:\n  - ${var.public_key}\n" }
}

output "addresses" {
  value = { for name, machine in labyard_vm.lab : name => machine.ip }
}
