# A machine that boots over HTTPS from an address that its network gives, trusts one certificate authority, and has a
# TPM. An empty disk comes first: what was installed from the network is booted from then on.
terraform {
  required_providers {
    labyard = { source = "labyard/labyard" }
  }
}

variable "boot_url" {
  description = "Address of an EFI program, https://HOST/FILE; HOST must be reachable from the network."
  type        = string
}

variable "ca_certificate" {
  description = "Certificate in PEM of the authority that signed the server's certificate."
  type        = string
}

provider "labyard" {}

resource "labyard_network" "edge" {
  name = "edge"
  mode = "nat"
  ipv4 = { cidr = "10.98.0.0/24", dhcp = { start = "10.98.0.100", end = "10.98.0.200" } }
  boot = { url = var.boot_url }
}

resource "labyard_vm" "node" {
  name       = "node"
  memory_mib = 2048
  firmware   = { type = "uefi", tpm = true }
  boot       = { ca_certificate = var.ca_certificate }
  disks      = { root = { size_gib = 20, boot = 1, on_remove = "delete" } }
  nics       = { lan = { network = labyard_network.edge.name, boot = 2 } }
  ready      = { wait = "tcp:22", timeout = "15m" }
}

output "address" {
  value = labyard_vm.node.ip
}
