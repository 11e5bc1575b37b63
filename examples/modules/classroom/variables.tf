variable "name" {
  description = "Name of the course: its pool, its code and its network are called so, its machines NAME-1, NAME-2 and so on. Unique in the provider's namespace."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z]([a-z0-9-]{0,28}[a-z0-9])?$", var.name))
    error_message = "The name becomes part of host names: lower-case letters, digits and hyphens, at most 30, a letter first and no hyphen last."
  }
}

variable "students" {
  description = "How many take part: each gets one machine at a time, once."
  type        = number
  nullable    = false

  validation {
    condition     = try(var.students >= 1 && var.students <= 500 && floor(var.students) == var.students, false)
    error_message = "A course has 1 to 500 students."
  }
}

variable "image" {
  description = "Image of a machine: https://…, http://…, file: and a path where Terraform runs, or host: and a path on the host."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^(https://|http://|file:|host:/).", var.image))
    error_message = "The image must begin with https://, http://, file: or host:/, followed by a path."
  }
}

variable "machine" {
  description = "What a machine has: processors, memory in MiB, disk in GiB (left out: the image's own), user data for cloud-init, and what makes it ready (agent, address, tcp:PORT)."
  type = object({
    cpus       = optional(number, 1)
    memory_mib = optional(number, 1024)
    disk_gib   = optional(number)
    user_data  = optional(string)
    ready      = optional(string, "agent")
  })
  default  = {}
  nullable = false

  validation {
    condition     = var.machine.cpus >= 1 && var.machine.memory_mib >= 64
    error_message = "A machine has at least one processor and 64 MiB of memory."
  }
  validation {
    condition     = can(regex("^(agent|address|tcp:[0-9]+)$", var.machine.ready))
    error_message = "A machine is ready by its agent, an address, or tcp:PORT."
  }
}

variable "ready" {
  description = "Machines kept ready while the course is open. Left out: one for each student, which nobody has to wait for."
  type        = number
  default     = null

  validation {
    condition     = var.ready == null ? true : var.ready >= 0 && var.ready <= var.students
    error_message = "No more machines can be ready than there are students."
  }
}

variable "timezone" {
  description = "Time zone whose clock the lessons go by, like Europe/Madrid."
  type        = string
  nullable    = false
}

variable "lessons" {
  description = "Lessons of the week by a key of your own: days (mon, tue, …), from and to, like 08:00. Left out: the course is always open."
  type = map(object({
    days = list(string)
    from = string
    to   = string
  }))
  default  = {}
  nullable = false

  validation {
    condition     = alltrue(flatten([for lesson in var.lessons : [for day in lesson.days : contains(["mon", "tue", "wed", "thu", "fri", "sat", "sun"], day)]]))
    error_message = "The days of a lesson are mon, tue, wed, thu, fri, sat and sun."
  }
  validation {
    condition     = alltrue([for lesson in var.lessons : can(regex("^([01][0-9]|2[0-3]):[0-5][0-9]$", lesson.from)) && can(regex("^([01][0-9]|2[0-3]):[0-5][0-9]$", lesson.to))])
    error_message = "A lesson begins and ends at a time like 08:00."
  }
}

variable "first_day" {
  description = "First day of the course, like 2026-09-01. Left out: at once."
  type        = string
  default     = null

  validation {
    condition     = var.first_day == null ? true : can(regex("^[0-9]{4}-[0-9]{2}-[0-9]{2}$", var.first_day))
    error_message = "The first day is a date like 2026-09-01."
  }
}

variable "last_day" {
  description = "Last day of the course, included. Left out: it goes on."
  type        = string
  default     = null

  validation {
    condition     = var.last_day == null ? true : can(regex("^[0-9]{4}-[0-9]{2}-[0-9]{2}$", var.last_day))
    error_message = "The last day is a date like 2026-12-20."
  }
}

variable "lesson" {
  description = "How long a student has a machine at first (lease), at most by extension (longest), and without being seen (idle)."
  type = object({
    lease   = optional(string, "2h")
    longest = optional(string, "4h")
    idle    = optional(string, "30m")
  })
  default  = {}
  nullable = false
}

variable "one_time_codes" {
  description = "Whether each student gets a code of his own, for one use, on paper, in place of one code for all."
  type        = bool
  default     = false
  nullable    = false
}

variable "cidr" {
  description = "IPv4 network of the course, /16 to /24; its upper half is handed out to machines."
  type        = string
  default     = "10.80.0.0/22"
  nullable    = false

  validation {
    condition     = try(cidrsubnet(var.cidr, 0, 0) == var.cidr && can(regex("^[0-9.]+/(1[6-9]|2[0-4])$", var.cidr)), false)
    error_message = "The cidr must be an IPv4 network with a prefix from /16 to /24 and no host bits, like 10.80.0.0/22."
  }
}

variable "host" {
  description = "Host that the course is on, a key of the provider's hosts. May be left out where the provider knows one host."
  type        = string
  default     = null
}

variable "source_cidrs" {
  description = "Networks from which codes can be used, like the school's. Left out: from anywhere."
  type        = list(string)
  default     = null
}
