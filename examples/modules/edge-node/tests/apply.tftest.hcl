# Makes edge nodes on a real host, stopped, with UEFI variables and TPM, and takes them away. Which host:
# tests/terraform.tfvars. It needs OVMF and swtpm.

provider "labyard" {
  namespace = "edge-test"
  hosts     = { here = { libvirt = { uri = var.libvirt_uri, accelerator = var.accelerator } } }
}

variables {
  name           = "node"
  memory_mib     = 512
  power          = "stopped"
  boot_url       = "https://boot.edge.test/boot.efi"
  ca_certificate = file("tests/ca.pem")
  serial         = "VH001N002M01"
  labels         = { site = "a" }
  network = {
    cidr         = "10.243.0.0/24"
    domain       = "edge.test"
    dns_records  = { "boot.edge.test" = ["10.243.0.1"] }
    dhcp_options = { ntp-server = "10.243.0.1" }
  }
}

run "shared" {
  module {
    source = "./tests/shared"
  }
}

run "on_a_network_of_its_own" {
  assert {
    condition     = labyard_network.own["own"].boot.url == var.boot_url && output.network.gateway == "10.243.0.1"
    error_message = "Its network tells it what to boot."
  }
  assert {
    condition     = labyard_vm.node.firmware.tpm && !labyard_vm.node.firmware.secure_boot && labyard_vm.node.boot.ca_certificate == var.ca_certificate
    error_message = "It has a TPM, and trusts the certificate."
  }
  assert {
    condition     = labyard_vm.node.disks["root"].boot == 1 && labyard_vm.node.nics["lan"].boot == 2
    error_message = "The disk is tried first, then the network."
  }
  assert {
    condition     = startswith(output.address, "10.243.0.") && output.serial == "VH001N002M01" && output.host == "here"
    error_message = "Address, serial number and host are told."
  }
}

run "from_the_network_first" {
  variables {
    boot_from   = "network"
    secure_boot = true
    disks       = { root = { size_gib = 20 }, scratch = { size_gib = 1, bus = "sata", on_remove = "delete" } }
    address     = "10.243.0.10/24"
  }

  assert {
    condition     = output.id == run.on_a_network_of_its_own.id && output.mac == run.on_a_network_of_its_own.mac
    error_message = "It is the same machine."
  }
  assert {
    condition = (
      labyard_vm.node.nics["lan"].boot == 1 && labyard_vm.node.disks["root"].boot == 2 && labyard_vm.node.disks["scratch"].boot == 3
    )
    error_message = "The card comes first, the disks follow in the order of their keys."
  }
  assert {
    condition     = output.address == "10.243.0.10" && labyard_vm.node.firmware.secure_boot
    error_message = "Address and secure boot change in place."
  }
}

run "on_a_network_that_is_there" {
  variables {
    boot_url         = null
    existing_network = { name = run.shared.name }
  }

  assert {
    condition     = length(labyard_network.own) == 0 && output.network.name == run.shared.name && output.network.gateway == null
    error_message = "It has no network of its own then."
  }
  assert {
    condition     = startswith(output.address, "10.242.0.") && output.id == run.on_a_network_of_its_own.id
    error_message = "The same machine, moved to the other network."
  }
}
