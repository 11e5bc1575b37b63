locals {
  # What ssh needs to know of each machine, the jump host first.
  ssh_hosts = concat(
    [for machine in values(labyard_vm.jump) : {
      name = machine.name, address = machine.ip, user = var.images[var.jump_host.image].user, through = null
    }],
    [for key, machine in labyard_vm.machine : {
      name = machine.name, address = machine.ip, user = var.images[var.machines[key].image].user, through = one(values(labyard_vm.jump)[*].name)
    }],
  )
}

output "network" {
  description = "The rig's network: name, host, cidr, gateway, domain, and the bridge that carries it on the host."
  value = {
    name        = labyard_network.rig.name
    host        = labyard_network.rig.host
    cidr        = var.cidr
    gateway     = labyard_network.rig.gateway
    domain      = local.domain
    bridge_name = labyard_network.rig.bridge_name
  }
}

output "machines" {
  description = "The machines by key: id, name, host, address, mac. Without the jump host."
  value = {
    for key, machine in labyard_vm.machine : key => {
      id      = machine.id
      name    = machine.name
      host    = machine.host
      address = machine.ip
      mac     = machine.macs["rig"]
    }
  }
}

output "addresses" {
  description = "Addresses in the rig by key of the machine, the jump host's as jump."
  value = merge(
    { for key, machine in labyard_vm.machine : key => machine.ip },
    { for key, _ in labyard_vm.jump : key => cidrhost(var.cidr, 2) },
  )
}

output "jump_host" {
  description = "The jump host: id, name, address on the outer network, address in the rig; null without one."
  value = one([
    for machine in values(labyard_vm.jump) : {
      id          = machine.id
      name        = machine.name
      address     = machine.ip
      rig_address = cidrhost(var.cidr, 2)
    }
  ])
}

output "ssh_config" {
  description = "Lines for ~/.ssh/config: every machine by its name, through the jump host. Machines without an address are left out."
  value = join("\n", [
    for host in local.ssh_hosts : join("", [
      "Host ${host.name}\n",
      "  HostName ${host.address}\n",
      "  HostKeyAlias ${host.name}\n",
      host.user == null ? "" : "  User ${host.user}\n",
      host.through == null ? "" : "  ProxyJump ${host.through}\n",
    ]) if host.address != null
  ])
}
