# What cannot work is refused before anything is made. Needs no host and no store: the provider is mocked.

mock_provider "labyard" {}

variables {
  name     = "robotics"
  students = 12
  image    = "https://images.example/debian.qcow2"
  timezone = "Europe/Madrid"
}

run "one_code_for_all" {
  command = plan

  assert {
    condition     = labyard_vm_pool.course.ready == 12 && labyard_vm_pool.course.max == 14 && labyard_vm_pool.course.schedule == null
    error_message = "A machine for each student, and spare ones."
  }
  assert {
    condition     = labyard_access_code.course.max_uses == 12 && labyard_access_code.course.max_uses_per_user == 1 && labyard_access_code.course.batch == null
    error_message = "Each student once."
  }
  assert {
    condition     = labyard_network.course.ipv4.dhcp.start == "10.80.2.0" && labyard_network.course.ipv4.dhcp.end == "10.80.3.254"
    error_message = "DHCP has the upper half."
  }
}

run "codes_on_paper_and_lessons" {
  command = plan

  variables {
    one_time_codes = true
    ready          = 4
    lessons        = { theory = { days = ["mon"], from = "08:00", to = "10:00" }, practice = { days = ["tue", "thu"], from = "14:00", to = "18:00" } }
    first_day      = "2026-09-01"
    last_day       = "2026-12-20"
  }

  assert {
    condition     = labyard_access_code.course.batch == 12 && labyard_access_code.course.max_uses == null
    error_message = "A code for each."
  }
  assert {
    condition     = labyard_vm_pool.course.schedule["practice"].days[1] == "thu" && labyard_vm_pool.course.schedule["theory"].not_after == "2026-12-20"
    error_message = "Lessons are windows of the pool, within the course's days."
  }
  assert {
    condition     = labyard_vm_pool.course.ready == 4
    error_message = "As many as asked for."
  }
}

run "name_that_is_no_host_name" {
  command = plan
  variables { name = "Robotics 1" }
  expect_failures = [var.name]
}

run "no_students" {
  command = plan
  variables { students = 0 }
  expect_failures = [var.students]
}

run "image_that_is_a_bare_path" {
  command = plan
  variables { image = "/srv/debian.qcow2" }
  expect_failures = [var.image]
}

run "machine_without_memory" {
  command = plan
  variables { machine = { memory_mib = 1 } }
  expect_failures = [var.machine]
}

run "machine_that_nothing_waits_for" {
  command = plan
  variables { machine = { ready = "none" } }
  expect_failures = [var.machine]
}

run "more_ready_than_students" {
  command = plan
  variables { ready = 13 }
  expect_failures = [var.ready]
}

run "day_that_is_none" {
  command = plan
  variables { lessons = { a = { days = ["Monday"], from = "08:00", to = "10:00" } } }
  expect_failures = [var.lessons]
}

run "time_that_is_none" {
  command = plan
  variables { lessons = { a = { days = ["mon"], from = "8", to = "10:00" } } }
  expect_failures = [var.lessons]
}

run "first_day_that_is_none" {
  command = plan
  variables { first_day = "September" }
  expect_failures = [var.first_day]
}

run "last_day_that_is_none" {
  command = plan
  variables { last_day = "20.12.2026" }
  expect_failures = [var.last_day]
}

run "cidr_with_host_bits" {
  command = plan
  variables { cidr = "10.80.0.1/22" }
  expect_failures = [var.cidr]
}

run "cidr_too_small" {
  command = plan
  variables { cidr = "10.80.0.0/28" }
  expect_failures = [var.cidr]
}
