data "labyard_host" "lab1" {
  name = "lab1"
}

output "room" {
  value = {
    memory_mib = data.labyard_host.lab1.memory_free_mib
    disks_mib  = data.labyard_host.lab1.storage_pools["default"].available_mib
  }
}
