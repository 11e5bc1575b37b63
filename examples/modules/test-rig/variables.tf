variable "name" {
  description = "Name of the rig: its network is called so, its machines NAME-KEY. Unique on the host in the provider's namespace."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z]([a-z0-9-]{0,28}[a-z0-9])?$", var.name))
    error_message = "The name becomes part of host names: lower-case letters, digits and hyphens, at most 30, a letter first and no hyphen last."
  }
}

variable "host" {
  description = "Host that the whole rig is on, a key of the provider's hosts. May be left out where the provider knows one host."
  type        = string
  default     = null
}

variable "cidr" {
  description = "IPv4 network of the rig, /16 to /28: the first address is the host's, the second the jump host's, the rest of the lower half is for host_number, the upper half is DHCP's."
  type        = string
  default     = "10.77.0.0/24"
  nullable    = false

  validation {
    condition     = try(cidrsubnet(var.cidr, 0, 0) == var.cidr && can(regex("^[0-9.]+/(1[6-9]|2[0-8])$", var.cidr)), false)
    error_message = "The cidr must be an IPv4 network with a prefix from /16 to /28 and no host bits, like 10.77.0.0/24."
  }
}

variable "mode" {
  description = "What the rig's network does: isolated (reached through the jump host alone), nat, or routed."
  type        = string
  default     = "isolated"
  nullable    = false

  validation {
    condition     = contains(["isolated", "nat", "routed"], var.mode)
    error_message = "The mode must be isolated, nat or routed."
  }
}

variable "domain" {
  description = "DNS domain of the rig. Left out: NAME.test."
  type        = string
  default     = null
}

variable "images" {
  description = <<-EOT
    Guest images by a key of your own. source: https://…, http://…, or file: and a path where Terraform runs. sha256 pins it.
    user: who logs in, made by cloud-init if the image does not have it; left out: the image's own. firmware: bios or uefi.
  EOT
  type = map(object({
    source   = string
    sha256   = optional(string)
    user     = optional(string)
    firmware = optional(string, "bios")
  }))
  nullable = false

  validation {
    condition     = length(var.images) > 0
    error_message = "A rig needs at least one image."
  }
  validation {
    condition     = alltrue([for image in var.images : can(regex("^(https://|http://|file:).", image.source))])
    error_message = "The source of an image must begin with https://, http:// or file:, followed by a path."
  }
  validation {
    condition     = alltrue([for image in var.images : image.sha256 == null || can(regex("^[0-9a-fA-F]{64}$", image.sha256))])
    error_message = "The sha256 of an image is 64 hexadecimal digits, as sha256sum prints them."
  }
  validation {
    condition     = alltrue([for image in var.images : contains(["bios", "uefi"], image.firmware)])
    error_message = "The firmware of an image must be bios or uefi."
  }
}

variable "machines" {
  description = <<-EOT
    Machines by a key of your own. image: a key of images. disk_gib: size of the root disk; left out: the image's own.
    data_disks: sizes in GiB of blank disks by key; they are deleted with the machine, and when they leave this map only with
    data_disks_on_remove = "delete" (or "detach"). host_number: fixed address, counted within the cidr, in its lower half; left
    out: one of DHCP's is reserved. user_data: cloud-config beside the keys. power: left out: the rig's.
  EOT
  type = map(object({
    image                = string
    cpus                 = optional(number, 1)
    memory_mib           = optional(number, 1024)
    disk_gib             = optional(number)
    data_disks           = optional(map(number), {})
    data_disks_on_remove = optional(string, "refuse")
    host_number          = optional(number)
    user_data            = optional(string)
    power                = optional(string)
    labels               = optional(map(string), {})
  }))
  default  = {}
  nullable = false

  validation {
    condition     = alltrue([for key in keys(var.machines) : can(regex("^[a-z0-9]([a-z0-9-]{0,28}[a-z0-9])?$", key)) && key != "jump"])
    error_message = "The key of a machine becomes part of its host name: lower-case letters, digits and hyphens, at most 30, no hyphen first or last. \"jump\" is the jump host's."
  }
  validation {
    condition     = alltrue([for machine in var.machines : contains(keys(var.images), machine.image)])
    error_message = "Every machine names one of the images by its key: ${join(", ", keys(var.images))}."
  }
  validation {
    condition     = alltrue([for machine in var.machines : machine.cpus >= 1 && floor(machine.cpus) == machine.cpus])
    error_message = "A machine has at least one processor, and no parts of one."
  }
  validation {
    condition     = alltrue([for machine in var.machines : machine.memory_mib >= 32 && floor(machine.memory_mib) == machine.memory_mib])
    error_message = "A machine has at least 32 MiB of memory, in whole MiB."
  }
  validation {
    condition     = alltrue(flatten([for machine in var.machines : [for size in values(machine.data_disks) : size >= 1]]))
    error_message = "A data disk has at least 1 GiB."
  }
  validation {
    condition     = alltrue([for machine in var.machines : contains(["refuse", "delete", "detach"], machine.data_disks_on_remove)])
    error_message = "data_disks_on_remove must be refuse, delete or detach."
  }
  validation {
    condition = alltrue([
      for machine in var.machines : machine.host_number == null ? true : try(
        machine.host_number >= 3 && machine.host_number < pow(2, 31 - tonumber(split("/", var.cidr)[1])) && floor(machine.host_number) == machine.host_number, false
      )
    ])
    error_message = "A host_number lies within the cidr: from 3 (1 is the host, 2 the jump host) and below the upper half, which is DHCP's."
  }
  validation {
    condition = length(distinct([for machine in var.machines : machine.host_number if machine.host_number != null])) == length([
      for machine in var.machines : machine.host_number if machine.host_number != null
    ])
    error_message = "Two machines have the same host_number."
  }
  validation {
    condition     = alltrue([for machine in var.machines : machine.power == null ? true : contains(["running", "stopped"], machine.power)])
    error_message = "The power of a machine must be running or stopped."
  }
}

variable "jump_host" {
  description = <<-EOT
    The machine by which the rig is reached, with a card on outer_network (a network of labyard's or of the host) and one in the
    rig. image: a key of images. outer_address: fixed address there with its prefix, like 192.168.1.10/24. ready: what its
    creation waits for, as labyard_vm has it; left out: an address. null: none is made.
  EOT
  type = object({
    image         = string
    outer_network = optional(string, "default")
    outer_address = optional(string)
    outer_gateway = optional(string)
    cpus          = optional(number, 1)
    memory_mib    = optional(number, 1024)
    disk_gib      = optional(number)
    user_data     = optional(string)
    power         = optional(string)
    ready         = optional(object({ wait = optional(string), timeout = optional(string) }))
  })
  default = null

  validation {
    condition     = var.jump_host == null ? true : contains(keys(var.images), var.jump_host.image)
    error_message = "The jump host names one of the images by its key: ${join(", ", keys(var.images))}."
  }
  validation {
    condition     = var.jump_host == null ? true : var.jump_host.outer_network != var.name
    error_message = "The jump host's outer network must be another than the rig's own."
  }
  validation {
    condition     = var.jump_host == null ? true : var.jump_host.outer_address == null || can(cidrhost(var.jump_host.outer_address, 0))
    error_message = "The outer_address is an address with the prefix of its network, like 192.168.1.10/24."
  }
  validation {
    condition     = var.jump_host == null ? true : try(contains(["running", "stopped"], coalesce(var.jump_host.power, "running")), false)
    error_message = "The power of the jump host must be running or stopped."
  }
}

variable "ssh_authorized_keys" {
  description = "Public SSH keys that every machine of the rig lets in."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for key in var.ssh_authorized_keys : can(regex("^(ssh-|ecdsa-|sk-)[a-z0-9@.-]+ [A-Za-z0-9+/=]+", key))])
    error_message = "Keys are given as they stand in a .pub file: type, then the key itself. Are these paths, or private keys?"
  }
}

variable "power" {
  description = "Whether the machines run, where they do not say it themselves: running, or stopped (the rig is kept, and costs no memory)."
  type        = string
  default     = "running"
  nullable    = false

  validation {
    condition     = contains(["running", "stopped"], var.power)
    error_message = "The power must be running or stopped."
  }
}

variable "ready" {
  description = "What the creation of a machine of the rig waits for, as labyard_vm has it: wait = none, address, agent or tcp:PORT."
  type        = object({ wait = optional(string), timeout = optional(string) })
  default     = null
}

variable "labels" {
  description = "Labels of every machine and of the network; rig = NAME is added."
  type        = map(string)
  default     = {}
  nullable    = false
}
