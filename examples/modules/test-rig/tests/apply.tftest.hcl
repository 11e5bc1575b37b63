# Makes a rig of stopped machines on a real host, changes it, and takes it away. Which host: tests/terraform.tfvars.

provider "labyard" {
  namespace = "rig-test"
  hosts     = { here = { libvirt = { uri = var.libvirt_uri, accelerator = var.accelerator } } }
}

variables {
  name   = "rig"
  cidr   = "10.240.0.0/24"
  power  = "stopped"
  labels = { team = "qa" }
  images = {
    plain = { source = var.image }
    login = { source = var.image, user = "ops" }
  }
  jump_host = { image = "login", outer_network = "rig-test-outer", memory_mib = 256 }
  machines = {
    web = { image = "plain", memory_mib = 256 }
    db  = { image = "login", memory_mib = 512, cpus = 2, host_number = 10, data_disks = { pg = 1 }, labels = { role = "db" } }
  }
  ssh_authorized_keys = ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl test"]
}

run "outer" {
  module {
    source = "./tests/outer"
  }
}

run "made" {
  assert {
    condition     = output.addresses == { web = output.machines["web"].address, db = "10.240.0.10", jump = "10.240.0.2" }
    error_message = "A host number is the machine's address, and the jump host has the second."
  }
  assert {
    condition     = cidrsubnet("${output.machines["web"].address}/25", 0, 0) == "10.240.0.128/25"
    error_message = "DHCP's addresses are in the upper half."
  }
  assert {
    condition     = startswith(output.jump_host.address, "10.241.0.")
    error_message = "The jump host's address is the one on the outer network."
  }
  assert {
    condition     = keys(labyard_vm.jump["jump"].nics) == tolist(["outer", "rig"])
    error_message = "The jump host has a card on each side."
  }
  assert {
    condition     = alltrue([for machine in values(labyard_vm.machine) : machine.power == "stopped" && machine.owned])
    error_message = "Machines take the rig's power."
  }
  assert {
    condition     = labyard_vm.machine["db"].labels == tomap({ team = "qa", rig = "rig", role = "db" })
    error_message = "Labels of the rig and of the machine are put together."
  }
  assert {
    condition     = labyard_vm.machine["db"].disks["data-pg"].on_remove == "refuse"
    error_message = "Data is not lost because a disk left the map."
  }
  assert {
    condition = strcontains(output.ssh_config, join("\n", [
      "Host rig-db", "  HostName 10.240.0.10", "  HostKeyAlias rig-db", "  User ops", "  ProxyJump rig-jump", "",
    ]))
    error_message = "A machine is reached through the jump host: ${output.ssh_config}"
  }
  assert {
    condition     = output.network.gateway == "10.240.0.1" && output.network.domain == "rig.test" && output.network.host == "here"
    error_message = "The network is told as it is."
  }
}

run "grows_and_keeps_what_is_there" {
  variables {
    machines = {
      web = { image = "plain", memory_mib = 384 }
      db  = { image = "login", memory_mib = 512, cpus = 2, host_number = 10, data_disks = { pg = 2 }, labels = { role = "db" } }
      new = { image = "plain", memory_mib = 256 }
    }
  }

  assert {
    condition = alltrue([
      for key in ["web", "db"] : output.machines[key] == run.made.machines[key]
    ])
    error_message = "Who was there is who is there, at the same address."
  }
  assert {
    condition     = labyard_vm.machine["web"].memory_mib == 384 && labyard_vm.machine["db"].disks["data-pg"].size_gib == 2
    error_message = "Memory and disks change in place."
  }
  assert {
    condition     = length(output.addresses) == 4
    error_message = "The new one has an address too."
  }
}

run "without_jump_host" {
  variables {
    jump_host = null
    machines  = { web = { image = "plain", memory_mib = 384 } }
  }

  assert {
    condition     = output.jump_host == null && !strcontains(output.ssh_config, "ProxyJump")
    error_message = "Without a jump host there is nothing to go through: ${output.ssh_config}"
  }
}
