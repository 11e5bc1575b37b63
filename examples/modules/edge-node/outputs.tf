output "id" {
  description = "Id that the host keeps for the machine."
  value       = labyard_vm.node.id
}

output "name" {
  description = "Name of the machine."
  value       = labyard_vm.node.name
}

output "host" {
  description = "Host that it is on."
  value       = labyard_vm.node.host
}

output "address" {
  description = "Its address: the fixed or reserved one on networks of labyard's, else what was seen when it became ready."
  value       = labyard_vm.node.ip
}

output "mac" {
  description = "MAC address of its card."
  value       = labyard_vm.node.macs["lan"]
}

output "serial" {
  description = "SMBIOS serial number."
  value       = labyard_vm.node.serial
}

output "network" {
  description = "The network that it is on: name; of its own also gateway, cidr and bridge_name, else null."
  value = {
    name        = local.network
    cidr        = var.existing_network == null ? var.network.cidr : null
    gateway     = one(values(labyard_network.own)[*].gateway)
    bridge_name = one(values(labyard_network.own)[*].bridge_name)
  }
}
