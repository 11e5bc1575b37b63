# A class: machines that are kept ready, and a code that gets whoever has it one of them.
resource "labyard_vm_pool" "class" {
  name  = "class"
  ready = 1
  max   = 1
  lease = { default = "2h", idle = "30m" }
  template = {
    memory_mib = 128
    nics       = { lan = { network = labyard_network.lab.name } }
    boot       = { kernel = "${var.guest}/vmlinuz", initrd = "${var.guest}/initrd", cmdline = "console=ttyS0 quiet" }
    cloud_init = { user_data = "#cloud-config\nssh_authorized_keys:\n  - ${var.public_key}\n" }
  }
}

resource "labyard_access_code" "class" {
  name  = "class"
  pools = { (labyard_vm_pool.class.name) = { count = 1 } }
}

output "code" {
  value     = labyard_access_code.class.codes["main"]
  sensitive = true
}
