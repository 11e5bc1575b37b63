# The network outside of the rig, which a jump host has its other card on.
terraform {
  required_providers {
    labyard = { source = "labyard/labyard" }
  }
}

resource "labyard_network" "outer" {
  name = "rig-test-outer"
  mode = "isolated"
  ipv4 = { cidr = "10.241.0.0/24", dhcp = { start = "10.241.0.100", end = "10.241.0.200" } }
}

output "name" {
  value = labyard_network.outer.name
}
