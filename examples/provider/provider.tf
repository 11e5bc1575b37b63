terraform {
  required_providers {
    labyard = { source = "labyard/labyard" }
  }
}

# Without a provider block there is one host, `default`, at qemu:///system.
provider "labyard" {
  # One namespace a Terraform state: several states can share a host. Also by LABYARD_NAMESPACE.
  namespace = "class-a"

  # Where pools and access codes are kept; the first apply makes the file, and its key beside it. Also by LABYARD_STORE.
  store = "/var/lib/labyard/labyard.db"

  hosts = {
    lab1 = { libvirt = { uri = "qemu:///system" } }

    # Another pool for disks and images; emulation instead of what `auto` would find out.
    lab2 = { libvirt = { uri = "qemu+unix:///system?socket=/run/lab2/libvirt-sock", storage_pool = "fast", accelerator = "qemu" } }

    # On other machines: by SSH, straight to libvirt's socket, or by TLS with certificates.
    lab3 = { libvirt = { uri = "qemu+ssh://admin@lab3.example.org/system" } }
    lab4 = { libvirt = { uri = "qemu+tls://lab4.example.org/system" } }

    # A simulated host, started by `labyard sim --socket /tmp/labyard-sim`.
    try = { sim = { socket = "/tmp/labyard-sim" } }
  }
}
