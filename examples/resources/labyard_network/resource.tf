# Guests reach the outside by NAT, get addresses by DHCP and find each other as NAME.lab.test.
resource "labyard_network" "lab" {
  name = "lab"
  mode = "nat"
  ipv4 = { cidr = "10.77.0.0/24", dhcp = { start = "10.77.0.100", end = "10.77.0.200" } }
  dns  = { domain = "lab.test" }
}

# Nothing leaves the host.
resource "labyard_network" "closed" {
  name = "closed"
  mode = "isolated"
  ipv4 = { cidr = "10.78.0.0/24" }
}
