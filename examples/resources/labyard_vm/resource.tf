variable "ssh_public_key" {
  type = string
}

resource "labyard_network" "lab" {
  name = "lab"
  mode = "nat"
  ipv4 = { cidr = "10.77.0.0/24", dhcp = { start = "10.77.0.100", end = "10.77.0.200" } }
}

resource "labyard_vm" "web" {
  name       = "web"
  cpus       = 2
  memory_mib = 2048

  disks = {
    # A linked clone: only what the machine writes takes room.
    root = {
      size_gib = 20
      image    = { source = "https://cloud.debian.org/images/cloud/bookworm/latest/debian-12-genericcloud-amd64.qcow2" }
    }
    # Blank. A disk without image is never deleted because it left the configuration, unless on_remove says so.
    data = { size_gib = 100, on_remove = "refuse" }
  }

  nics = {
    lan = { network = labyard_network.lab.name }
  }

  firmware = { type = "uefi" }

  # Who the guest is; what else it shall do at its first boot says cloud_init.
  guest = {
    admin_username      = "ops"
    ssh_authorized_keys = [var.ssh_public_key]
    dns_suffix          = "lab.test"
  }
  cloud_init = {
    user_data = <<-EOT
      #cloud-config
      packages: [nginx]
    EOT
  }

  ready    = { wait = "tcp:22", timeout = "15m" }
  shutdown = { mode = "graceful", timeout = "90s" }
}

output "address" {
  value = labyard_vm.web.ip
}
