data "labyard_network" "lab" {
  host = "lab1"
  name = "lab"
}

output "leases" {
  value = { for lease in data.labyard_network.lab.leases : lease.mac => lease.address }
}
