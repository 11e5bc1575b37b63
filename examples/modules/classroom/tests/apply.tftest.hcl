# A course that is made, changed and taken away, on a host and a store. No machine is made: ready is 0.

variables {
  name     = "robotics"
  students = 3
  timezone = "Europe/Madrid"
  ready    = 0
}

provider "labyard" {
  namespace = "classroom-test"
  store     = var.store
  hosts     = { lab1 = { libvirt = { uri = var.libvirt_uri, accelerator = var.accelerator } } }
}

run "a_course" {
  assert {
    condition     = length(labyard_access_code.course.codes["main"]) == 19
    error_message = "One code for all."
  }
  assert {
    condition     = output.network.gateway == "10.80.0.1"
    error_message = "The network is up."
  }
}

run "with_codes_on_paper_and_lessons" {
  variables {
    one_time_codes = true
    lessons        = { theory = { days = ["mon"], from = "08:00", to = "10:00" } }
    last_day       = "2099-12-20"
  }
  assert {
    condition     = join(" ", keys(nonsensitive(output.codes))) == "001 002 003"
    error_message = "A code for each."
  }
  assert {
    condition     = output.pool.id == run.a_course.pool.id
    error_message = "The pool is changed in place."
  }
}
