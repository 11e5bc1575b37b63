# A machine as it stands in a branch office: UEFI, TPM, boot over HTTPS with certificates of its own, on a network that tells
# it what to boot.

locals {
  network = var.existing_network == null ? labyard_network.own["own"].name : var.existing_network.name
  # Lowest first, unique among disks and cards.
  first_disk = var.boot_from == "disk" ? 1 : 2
  card       = var.boot_from == "disk" ? length(var.disks) + 1 : 1
}

resource "labyard_network" "own" {
  # By the object, not by the name in it, which may be known only after the apply.
  for_each = var.existing_network == null ? toset(["own"]) : toset([])

  name = coalesce(var.network.name, var.name)
  host = var.host
  mode = var.network.mode
  ipv4 = {
    cidr = var.network.cidr
    dhcp = {
      start   = cidrhost(var.network.cidr, 2)
      end     = cidrhost(var.network.cidr, -2)
      options = length(var.network.dhcp_options) == 0 ? null : var.network.dhcp_options
    }
  }
  dns = {
    domain     = var.network.domain
    forwarders = var.network.forwarders
    records    = length(var.network.dns_records) == 0 ? null : var.network.dns_records
  }
  boot   = var.boot_url == null ? null : { url = var.boot_url }
  labels = var.labels

  lifecycle {
    # A node that moves to another network leaves this one before it is destroyed, not after.
    create_before_destroy = true
  }
}

resource "labyard_vm" "node" {
  name                = var.name
  host                = var.host
  cpus                = var.cpus
  memory_mib          = var.memory_mib
  serial              = var.serial
  graphics            = var.graphics
  power               = var.power
  autostart           = var.autostart
  allow_restart       = var.allow_restart
  deletion_protection = var.deletion_protection
  ready               = var.ready
  labels              = var.labels

  firmware = { type = "uefi", secure_boot = var.secure_boot, tpm = var.tpm }
  boot     = var.ca_certificate == null ? null : { ca_certificate = var.ca_certificate }

  disks = {
    for index, key in keys(var.disks) : key => {
      size_gib     = var.disks[key].size_gib
      bus          = var.disks[key].bus
      on_remove    = var.disks[key].on_remove
      storage_pool = var.disks[key].storage_pool
      boot         = local.first_disk + index
    }
  }

  nics = {
    lan = {
      network = local.network
      mac     = var.mac
      boot    = local.card
      ipv4    = var.address == null ? null : { address = var.address }
    }
  }
}
