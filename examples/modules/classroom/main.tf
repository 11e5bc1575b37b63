locals {
  bits  = 32 - tonumber(split("/", var.cidr)[1])
  ready = coalesce(var.ready, var.students)

  windows = {
    for key, lesson in var.lessons : key => merge(lesson, {
      timezone   = var.timezone
      not_before = var.first_day
      not_after  = var.last_day
      warm_up    = "30m"
    })
  }
}

resource "labyard_network" "course" {
  name = var.name
  host = var.host
  mode = "nat"
  ipv4 = {
    cidr = var.cidr
    dhcp = {
      start = cidrhost(var.cidr, pow(2, local.bits - 1))
      end   = cidrhost(var.cidr, pow(2, local.bits) - 2)
    }
  }
}

resource "labyard_vm_pool" "course" {
  name          = var.name
  hosts         = var.host == null ? null : [var.host]
  ready         = local.ready
  max           = var.students + 2 # a spare or two, for machines that are on their way back
  max_in_flight = min(4, var.students)

  template = {
    cpus       = var.machine.cpus
    memory_mib = var.machine.memory_mib
    disks      = { root = { size_gib = var.machine.disk_gib, image = { source = var.image } } }
    nics       = { lan = { network = labyard_network.course.name } }
    guest      = { hostname = "{name}" }
    cloud_init = var.machine.user_data == null ? null : { user_data = var.machine.user_data }
    ready      = { wait = var.machine.ready }
  }

  lease    = { default = var.lesson.lease, max = var.lesson.longest, idle = var.lesson.idle }
  schedule = length(local.windows) == 0 ? null : local.windows
}

resource "labyard_access_code" "course" {
  name              = var.name
  pools             = { (labyard_vm_pool.course.name) = { count = 1 } }
  batch             = var.one_time_codes ? var.students : null
  max_uses_per_user = 1
  max_uses          = var.one_time_codes ? null : var.students
  source_cidrs      = var.source_cidrs
}
