# The host and the store on which apply.tftest.hcl makes its course (no machine of it), and the image that it names. Others go
# into a file here.auto.tfvars beside this one. variables.tftest.hcl needs neither.
libvirt_uri = "qemu:///system"
accelerator = "auto"
store       = "/var/tmp/classroom-test.db"
image       = "https://cloud.debian.org/images/cloud/bookworm/latest/debian-12-genericcloud-amd64.qcow2"
