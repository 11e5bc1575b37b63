# A network that several nodes are on, with a boot file of its own.
terraform {
  required_providers {
    labyard = { source = "labyard/labyard" }
  }
}

resource "labyard_network" "shared" {
  name = "edge-test-shared"
  mode = "isolated"
  ipv4 = { cidr = "10.242.0.0/24", dhcp = { start = "10.242.0.100", end = "10.242.0.200" } }
  boot = { url = "http://10.242.0.1/boot.efi" }
}

output "name" {
  value = labyard_network.shared.name
}
