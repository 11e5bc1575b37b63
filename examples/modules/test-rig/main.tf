# A rig: a network, machines of several images on it, and a jump host with a second card on another network.

locals {
  labels = merge(var.labels, { rig = var.name })
  domain = coalesce(var.domain, "${var.name}.test")
  prefix = split("/", var.cidr)[1]
  # Fixed addresses are below, DHCP's above: neither is ever given to both.
  half = pow(2, 31 - local.prefix)
}

resource "labyard_network" "rig" {
  name   = var.name
  host   = var.host
  mode   = var.mode
  ipv4   = { cidr = var.cidr, dhcp = { start = cidrhost(var.cidr, local.half), end = cidrhost(var.cidr, -2) } }
  dns    = { domain = local.domain }
  labels = local.labels
}

resource "labyard_vm" "machine" {
  for_each = var.machines

  name       = "${var.name}-${each.key}"
  host       = var.host
  cpus       = each.value.cpus
  memory_mib = each.value.memory_mib
  power      = coalesce(each.value.power, var.power)
  firmware   = { type = var.images[each.value.image].firmware }

  disks = merge(
    { for key, size in each.value.data_disks : "data-${key}" => { size_gib = size, on_remove = each.value.data_disks_on_remove, image = null } },
    {
      root = {
        size_gib  = each.value.disk_gib
        image     = { source = var.images[each.value.image].source, sha256 = var.images[each.value.image].sha256 }
        on_remove = null
      }
    },
  )

  nics = {
    rig = {
      network = labyard_network.rig.name
      ipv4    = each.value.host_number == null ? null : { address = "${cidrhost(var.cidr, each.value.host_number)}/${local.prefix}" }
    }
  }

  guest = {
    admin_username      = var.images[each.value.image].user
    ssh_authorized_keys = var.ssh_authorized_keys
    dns_suffix          = local.domain
  }
  cloud_init = each.value.user_data == null ? null : { user_data = each.value.user_data }
  ready      = var.ready
  labels     = merge(local.labels, each.value.labels)
}

resource "labyard_vm" "jump" {
  for_each = var.jump_host == null ? toset([]) : toset(["jump"])

  name       = "${var.name}-jump"
  host       = var.host
  cpus       = var.jump_host.cpus
  memory_mib = var.jump_host.memory_mib
  power      = coalesce(var.jump_host.power, var.power)
  firmware   = { type = var.images[var.jump_host.image].firmware }

  disks = {
    root = {
      size_gib = var.jump_host.disk_gib
      image    = { source = var.images[var.jump_host.image].source, sha256 = var.images[var.jump_host.image].sha256 }
    }
  }

  # Its address is the one of its first card by key: the outer one.
  nics = {
    outer = {
      network = var.jump_host.outer_network
      ipv4    = var.jump_host.outer_address == null ? null : { address = var.jump_host.outer_address, gateway = var.jump_host.outer_gateway }
    }
    rig = {
      network = labyard_network.rig.name
      ipv4    = { address = "${cidrhost(var.cidr, 2)}/${local.prefix}" }
    }
  }

  guest = {
    admin_username      = var.images[var.jump_host.image].user
    ssh_authorized_keys = var.ssh_authorized_keys
    dns_suffix          = local.domain
  }
  cloud_init = var.jump_host.user_data == null ? null : { user_data = var.jump_host.user_data }
  ready      = var.jump_host.ready
  labels     = merge(local.labels, { role = "jump" })
}
