# What cannot work is refused before anything is made. Needs no host: the provider is mocked.

mock_provider "labyard" {}

variables {
  name           = "node"
  boot_url       = "https://boot.edge.test/boot.efi"
  ca_certificate = file("tests/ca.pem")
}

run "as_it_comes" {
  command = plan

  assert {
    condition     = labyard_vm.node.firmware.type == "uefi" && labyard_vm.node.firmware.tpm && labyard_vm.node.disks["root"].on_remove == "refuse"
    error_message = "UEFI with a TPM, and a disk that is not lost unasked."
  }
  assert {
    condition     = labyard_network.own["own"].ipv4.dhcp.start == "10.98.0.2" && labyard_network.own["own"].ipv4.dhcp.options == null
    error_message = "DHCP has all but the host's address."
  }
}

run "by_http_nobody_need_be_trusted" {
  command = plan
  variables {
    boot_url       = "http://boot.edge.test/boot.efi"
    ca_certificate = null
  }

  assert {
    condition     = labyard_vm.node.boot == null
    error_message = "No certificate, no variables for it."
  }
}

run "without_disks" {
  command = plan
  variables {
    boot_from = "network"
    disks     = {}
  }

  assert {
    condition     = labyard_vm.node.nics["lan"].boot == 1
    error_message = "It boots from the network each time."
  }
}

run "name_that_is_no_host_name" {
  command = plan
  variables { name = "Node 1" }
  expect_failures = [var.name]
}

run "boot_from_a_floppy" {
  command = plan
  variables { boot_from = "floppy" }
  expect_failures = [var.boot_from]
}

run "boot_url_without_a_file" {
  command = plan
  variables { boot_url = "https://boot.edge.test" }
  expect_failures = [var.boot_url]
}

run "boot_url_by_tftp" {
  command = plan
  variables { boot_url = "tftp://boot.edge.test/boot.efi" }
  expect_failures = [var.boot_url]
}

run "boot_url_on_a_network_of_others" {
  command = plan
  variables { existing_network = { name = "shared" } }
  expect_failures = [var.boot_url]
}

run "https_without_anybody_trusted" {
  command = plan
  variables { ca_certificate = null }
  expect_failures = [var.ca_certificate]
}

run "certificate_that_is_a_path" {
  command = plan
  variables { ca_certificate = "tests/ca.pem" }
  expect_failures = [var.ca_certificate]
}

run "certificate_with_its_key" {
  command = plan
  variables { ca_certificate = "${file("tests/ca.pem")}-----BEGIN PRIVATE KEY-----\n" }
  expect_failures = [var.ca_certificate]
}

run "no_processors" {
  command = plan
  variables { cpus = 0 }
  expect_failures = [var.cpus]
}

run "too_little_memory" {
  command = plan
  variables { memory_mib = 128 }
  expect_failures = [var.memory_mib]
}

run "disk_without_room" {
  command = plan
  variables { disks = { root = { size_gib = 0 } } }
  expect_failures = [var.disks]
}

run "disk_on_a_bus_that_is_none" {
  command = plan
  variables { disks = { root = { size_gib = 1, bus = "ide" } } }
  expect_failures = [var.disks]
}

run "disk_whose_end_is_unclear" {
  command = plan
  variables { disks = { root = { size_gib = 1, on_remove = "keep" } } }
  expect_failures = [var.disks]
}

run "disk_first_without_disks" {
  command = plan
  variables { disks = {} }
  expect_failures = [var.disks]
}

run "serial_with_spaces" {
  command = plan
  variables { serial = "VH 001" }
  expect_failures = [var.serial]
}

run "graphics_that_are_none" {
  command = plan
  variables { graphics = "spice" }
  expect_failures = [var.graphics]
}

run "network_without_a_name" {
  command = plan
  variables {
    boot_url         = null
    existing_network = { name = "" }
  }
  expect_failures = [var.existing_network]
}

run "cidr_with_host_bits" {
  command = plan
  variables { network = { cidr = "10.98.0.1/24" } }
  expect_failures = [var.network]
}

run "mode_that_is_none" {
  command = plan
  variables { network = { mode = "bridge" } }
  expect_failures = [var.network]
}

run "boot_file_by_a_bare_option" {
  command = plan
  variables { network = { dhcp_options = { "67" = "boot.efi" } } }
  expect_failures = [var.network]
}

run "mac_of_a_group" {
  command = plan
  variables { mac = "53:54:00:12:34:56" }
  expect_failures = [var.mac]
}

run "address_without_prefix" {
  command = plan
  variables { address = "10.98.0.10" }
  expect_failures = [var.address]
}

run "address_of_another_network" {
  command = plan
  variables { address = "10.99.0.10/24" }
  expect_failures = [var.address]
}

run "power_that_is_none" {
  command = plan
  variables { power = "off" }
  expect_failures = [var.power]
}
