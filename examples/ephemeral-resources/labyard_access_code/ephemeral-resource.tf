# The code reaches the mailer as a write-only value: it stands in no plan and no state.
ephemeral "labyard_access_code" "class" {
  name = "class"
}

resource "labyard_vm" "mailer" {
  name       = "mailer"
  memory_mib = 512
  power      = "stopped"
  cloud_init = {
    user_data_wo         = "#cloud-config\nwrite_files: [{ path: /etc/class-code, content: '${ephemeral.labyard_access_code.class.codes["main"]}' }]\n"
    user_data_wo_version = 1
  }
}
