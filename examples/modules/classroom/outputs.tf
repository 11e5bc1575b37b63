output "codes" {
  description = "The codes by key: main, or 001 and so on. terraform output -json codes shows them."
  value       = labyard_access_code.course.codes
  sensitive   = true
}

output "pool" {
  description = "The course's pool: name and id."
  value       = { name = labyard_vm_pool.course.name, id = labyard_vm_pool.course.id }
}

output "network" {
  description = "The course's network: name, cidr and gateway."
  value       = { name = labyard_network.course.name, cidr = var.cidr, gateway = labyard_network.course.gateway }
}
