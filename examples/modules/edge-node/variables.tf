variable "name" {
  description = "Name of the machine, and of its network if it has one of its own. Unique on the host in the provider's namespace."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$", var.name))
    error_message = "The name is a host name: lower-case letters, digits and hyphens, at most 63, no hyphen first or last."
  }
}

variable "host" {
  description = "Host that it is on, a key of the provider's hosts. May be left out where the provider knows one host."
  type        = string
  default     = null
}

# ---- what it boots ----

variable "boot_from" {
  description = <<-EOT
    What is tried first. disk: an empty disk fails at once, so the machine installs itself from the network once, and boots from
    its disk from then on. network: it boots from the network each time, and falls back to the disk.
  EOT
  type        = string
  default     = "disk"
  nullable    = false

  validation {
    condition     = contains(["disk", "network"], var.boot_from)
    error_message = "boot_from must be disk (first, then the network) or network (first, then the disk)."
  }
}

variable "boot_url" {
  description = "Address of an EFI program that the node's own network tells it by DHCP, https://HOST/FILE. Left out: none is told."
  type        = string
  default     = null

  validation {
    condition     = var.boot_url == null ? true : can(regex("^https?://[^/]+/.+", var.boot_url))
    error_message = "The boot_url is the address of a file: https://HOST/FILE, or http://HOST/FILE."
  }
  validation {
    condition     = var.boot_url == null || var.existing_network == null
    error_message = "The boot_url is told by a network of the node's own. On an existing one its DHCP server tells it: leave boot_url out, or existing_network."
  }
}

variable "ca_certificate" {
  description = "Certificates in PEM, one or several, that the firmware trusts when it boots by HTTPS, and no others. Put into the machine's own UEFI variables."
  type        = string
  default     = null

  validation {
    condition     = var.ca_certificate == null ? true : can(regex("-----BEGIN CERTIFICATE-----[\\s\\S]+-----END CERTIFICATE-----", var.ca_certificate))
    error_message = "The ca_certificate must be the text of a certificate in PEM, not its path: file(\"ca.pem\"). Nothing secret belongs into it."
  }
  validation {
    condition     = var.ca_certificate == null ? true : !can(regex("PRIVATE KEY", var.ca_certificate))
    error_message = "There is a private key in ca_certificate: give the certificate alone."
  }
  validation {
    condition     = var.ca_certificate == null ? !startswith(coalesce(var.boot_url, "none"), "https://") : true
    error_message = "A boot_url with https:// needs ca_certificate: without it the firmware trusts no server."
  }
}

variable "secure_boot" {
  description = "Whether the firmware starts only what is signed, with Microsoft's keys enrolled."
  type        = bool
  default     = false
  nullable    = false
}

variable "tpm" {
  description = "Whether it has an emulated TPM 2.0."
  type        = bool
  default     = true
  nullable    = false
}

# ---- what it is ----

variable "cpus" {
  description = "Number of virtual processors."
  type        = number
  default     = 2
  nullable    = false

  validation {
    condition     = var.cpus >= 1 && floor(var.cpus) == var.cpus
    error_message = "A machine has at least one processor, and no parts of one."
  }
}

variable "memory_mib" {
  description = "Memory in MiB. The boot file is loaded into it: 256 MiB beside the file at least."
  type        = number
  default     = 4096
  nullable    = false

  validation {
    condition     = var.memory_mib >= 256 && floor(var.memory_mib) == var.memory_mib
    error_message = "UEFI with network boot needs 256 MiB of memory or more, in whole MiB."
  }
}

variable "disks" {
  description = <<-EOT
    Blank disks by a key of your own: size_gib; bus (virtio, scsi, sata, usb); on_remove (refuse, delete, detach): a replacement
    of the machine needs delete; storage_pool. They are booted from in the order of their keys.
  EOT
  type = map(object({
    size_gib     = number
    bus          = optional(string, "virtio")
    on_remove    = optional(string, "refuse")
    storage_pool = optional(string)
  }))
  default  = { root = { size_gib = 20 } }
  nullable = false

  validation {
    condition     = alltrue([for disk in var.disks : disk.size_gib >= 1 && floor(disk.size_gib) == disk.size_gib])
    error_message = "A disk has at least 1 GiB, in whole GiB."
  }
  validation {
    condition     = alltrue([for disk in var.disks : contains(["virtio", "scsi", "sata", "usb"], disk.bus)])
    error_message = "The bus of a disk must be virtio, scsi, sata or usb."
  }
  validation {
    condition     = alltrue([for disk in var.disks : contains(["refuse", "delete", "detach"], disk.on_remove)])
    error_message = "on_remove of a disk must be refuse, delete or detach."
  }
  validation {
    condition     = length(var.disks) > 0 || var.boot_from == "network"
    error_message = "A node without disks boots from the network: set boot_from = \"network\"."
  }
}

variable "serial" {
  description = "SMBIOS serial number, by which an appliance is known, like VH001N002M01. Left out: derived, and stable."
  type        = string
  default     = null

  validation {
    condition     = var.serial == null ? true : can(regex("^[!-~]{1,64}$", var.serial))
    error_message = "The serial is 1 to 64 printable characters without spaces."
  }
}

variable "graphics" {
  description = "Display: none, or vnc on the host's loopback address."
  type        = string
  default     = "none"
  nullable    = false

  validation {
    condition     = contains(["none", "vnc"], var.graphics)
    error_message = "The graphics must be none or vnc."
  }
}

# ---- what it is on ----

variable "existing_network" {
  description = "A network that is there: name of one of labyard's, or of the host's. An object, so that the name may be known late. Left out: the node has one of its own."
  type        = object({ name = string })
  default     = null

  validation {
    condition     = var.existing_network == null ? true : try(length(var.existing_network.name) > 0, false)
    error_message = "The existing_network needs a name."
  }
}

variable "network" {
  description = <<-EOT
    The node's own network, where existing_network is not given. cidr: an IPv4 network up to /29, of which DHCP has all but the
    host's address. mode: nat, routed or isolated. domain, forwarders, dns_records (name to addresses): its name service.
    dhcp_options: what else is told by DHCP, by number or dnsmasq's name. name: left out, the node's; a node that is renamed keeps
    its network only where this says the old name.
  EOT
  type = object({
    name         = optional(string)
    cidr         = optional(string, "10.98.0.0/24")
    mode         = optional(string, "nat")
    domain       = optional(string)
    forwarders   = optional(list(string))
    dns_records  = optional(map(list(string)), {})
    dhcp_options = optional(map(string), {})
  })
  default  = {}
  nullable = false

  validation {
    condition     = try(cidrsubnet(var.network.cidr, 0, 0) == var.network.cidr && can(regex("^[0-9.]+/([89]|1[0-9]|2[0-9])$", var.network.cidr)), false)
    error_message = "The network's cidr must be an IPv4 network with a prefix from /8 to /29 and no host bits, like 10.98.0.0/24."
  }
  validation {
    condition     = contains(["nat", "routed", "isolated"], var.network.mode)
    error_message = "The network's mode must be nat, routed or isolated."
  }
  validation {
    condition     = alltrue([for option in keys(var.network.dhcp_options) : !contains(["60", "67", "vendor-class", "bootfile-name"], option)])
    error_message = "DHCP options 60 and 67 carry the boot file: give boot_url instead."
  }
}

variable "mac" {
  description = "MAC address of its card, where a DHCP server knows it by that. Left out: derived, and stable."
  type        = string
  default     = null

  validation {
    condition     = var.mac == null ? true : can(regex("^[0-9A-Fa-f][02468ACEace](:[0-9A-Fa-f]{2}){5}$", var.mac))
    error_message = "The mac is six pairs of hexadecimal digits with colons, the second digit even, like 52:54:00:12:34:56."
  }
}

variable "address" {
  description = "Fixed address with the prefix of its network, like 10.98.0.10/24. Left out: one of DHCP's."
  type        = string
  default     = null

  validation {
    condition     = var.address == null ? true : can(cidrhost(var.address, 0)) && can(regex("^[0-9.]+/", var.address))
    error_message = "The address is an IPv4 address with the prefix of its network, like 10.98.0.10/24."
  }
  validation {
    condition = var.address == null || var.existing_network != null ? true : try(
      "${cidrhost(var.address, 0)}/${split("/", var.address)[1]}" == var.network.cidr, false
    )
    error_message = "The address is not one of the node's own network, ${var.network.cidr}."
  }
}

# ---- its life ----

variable "power" {
  description = "Whether it runs: running or stopped."
  type        = string
  default     = "running"
  nullable    = false

  validation {
    condition     = contains(["running", "stopped"], var.power)
    error_message = "The power must be running or stopped."
  }
}

variable "autostart" {
  description = "Whether it starts with the host."
  type        = bool
  default     = false
  nullable    = false
}

variable "ready" {
  description = "What its creation waits for, as labyard_vm has it: wait = none, address, agent or tcp:PORT. Left out: an address taken by what was booted."
  type        = object({ wait = optional(string), timeout = optional(string) })
  default     = null
}

variable "allow_restart" {
  description = "Whether a change may restart it. If not, a change that needs it is an error of the plan."
  type        = bool
  default     = true
  nullable    = false
}

variable "deletion_protection" {
  description = "Whether destroying and replacing it is refused."
  type        = bool
  default     = false
  nullable    = false
}

variable "labels" {
  description = "Labels of the machine and of its own network."
  type        = map(string)
  default     = {}
  nullable    = false
}
