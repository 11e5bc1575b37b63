# What cannot work is refused before anything is made. Needs no host: the provider is mocked.

mock_provider "labyard" {}

variables {
  name   = "rig"
  images = { debian = { source = "https://images.example/debian.qcow2" } }
}

run "a_rig_without_machines" {
  command = plan

  assert {
    condition     = labyard_network.rig.ipv4.dhcp.start == "10.77.0.128" && labyard_network.rig.ipv4.dhcp.end == "10.77.0.254"
    error_message = "DHCP has the upper half."
  }
  assert {
    condition     = output.jump_host == null && output.ssh_config == ""
    error_message = "Nobody is there to be reached."
  }
}

run "many_machines_of_several_images" {
  command = plan

  variables {
    cidr = "10.7.0.0/28"
    images = {
      debian = { source = "https://images.example/debian.qcow2", user = "debian" }
      alma   = { source = "file:/srv/alma.qcow2", sha256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", firmware = "uefi" }
    }
    machines = merge(
      { for number in range(3, 6) : "node-${number}" => { image = "debian", host_number = number } },
      { build = { image = "alma", cpus = 4, memory_mib = 8192, disk_gib = 40, data_disks = { work = 100 } } },
    )
    jump_host = { image = "debian", outer_network = "default" }
  }

  assert {
    condition     = toset(keys(labyard_vm.machine)) == toset(["build", "node-3", "node-4", "node-5"])
    error_message = "One machine a key."
  }
  assert {
    condition     = labyard_vm.machine["node-5"].nics["rig"].ipv4.address == "10.7.0.5/28" && labyard_vm.machine["build"].firmware.type == "uefi"
    error_message = "Addresses and firmware follow from the numbers and the image."
  }
  assert {
    condition     = labyard_vm.jump["jump"].nics["rig"].ipv4.address == "10.7.0.2/28"
    error_message = "The jump host has the second address."
  }
}

run "name_that_is_no_host_name" {
  command = plan
  variables { name = "My Rig" }
  expect_failures = [var.name]
}

run "cidr_with_host_bits" {
  command = plan
  variables { cidr = "10.77.0.1/24" }
  expect_failures = [var.cidr]
}

run "cidr_too_small" {
  command = plan
  variables { cidr = "10.77.0.0/29" }
  expect_failures = [var.cidr]
}

run "cidr_of_ipv6" {
  command = plan
  variables { cidr = "fd00:77::/24" }
  expect_failures = [var.cidr]
}

run "mode_that_is_none" {
  command = plan
  variables { mode = "bridge" }
  expect_failures = [var.mode]
}

run "no_images" {
  command = plan
  variables { images = {} }
  expect_failures = [var.images]
}

run "image_that_is_a_bare_path" {
  command = plan
  variables { images = { debian = { source = "/srv/debian.qcow2" } } }
  expect_failures = [var.images]
}

run "digest_that_is_none" {
  command = plan
  variables { images = { debian = { source = "https://images.example/debian.qcow2", sha256 = "latest" } } }
  expect_failures = [var.images]
}

run "firmware_that_is_none" {
  command = plan
  variables { images = { debian = { source = "https://images.example/debian.qcow2", firmware = "coreboot" } } }
  expect_failures = [var.images]
}

run "machine_of_an_image_that_is_not_there" {
  command = plan
  variables { machines = { web = { image = "alma" } } }
  expect_failures = [var.machines]
}

run "machine_with_the_jump_hosts_key" {
  command = plan
  variables { machines = { jump = { image = "debian" } } }
  expect_failures = [var.machines]
}

run "machine_with_half_a_processor" {
  command = plan
  variables { machines = { web = { image = "debian", cpus = 0.5 } } }
  expect_failures = [var.machines]
}

run "machine_with_too_little_memory" {
  command = plan
  variables { machines = { web = { image = "debian", memory_mib = 2 } } }
  expect_failures = [var.machines]
}

run "data_disk_without_room" {
  command = plan
  variables { machines = { web = { image = "debian", data_disks = { a = 0 } } } }
  expect_failures = [var.machines]
}

run "on_remove_that_is_none" {
  command = plan
  variables { machines = { web = { image = "debian", data_disks_on_remove = "keep" } } }
  expect_failures = [var.machines]
}

run "host_number_of_the_jump_host" {
  command = plan
  variables { machines = { web = { image = "debian", host_number = 2 } } }
  expect_failures = [var.machines]
}

run "host_number_in_the_half_of_dhcp" {
  command = plan
  variables { machines = { web = { image = "debian", host_number = 128 } } }
  expect_failures = [var.machines]
}

run "host_number_used_twice" {
  command = plan
  variables { machines = { web = { image = "debian", host_number = 5 }, db = { image = "debian", host_number = 5 } } }
  expect_failures = [var.machines]
}

run "machine_that_is_paused" {
  command = plan
  variables { machines = { web = { image = "debian", power = "paused" } } }
  expect_failures = [var.machines]
}

run "jump_host_of_an_image_that_is_not_there" {
  command = plan
  variables { jump_host = { image = "alma" } }
  expect_failures = [var.jump_host]
}

run "jump_host_with_both_feet_inside" {
  command = plan
  variables { jump_host = { image = "debian", outer_network = "rig" } }
  expect_failures = [var.jump_host]
}

run "jump_host_with_an_address_without_prefix" {
  command = plan
  variables { jump_host = { image = "debian", outer_address = "192.168.1.10" } }
  expect_failures = [var.jump_host]
}

run "jump_host_that_is_paused" {
  command = plan
  variables { jump_host = { image = "debian", power = "paused" } }
  expect_failures = [var.jump_host]
}

run "key_that_is_a_path" {
  command = plan
  variables { ssh_authorized_keys = ["~/.ssh/id_ed25519.pub"] }
  expect_failures = [var.ssh_authorized_keys]
}

run "power_that_is_none" {
  command = plan
  variables { power = "off" }
  expect_failures = [var.power]
}
