# The host on which apply.tftest.hcl makes its machines (all stopped), and the image that they are made of. Others go into a
# file here.auto.tfvars beside this one. variables.tftest.hcl needs no host.
libvirt_uri = "qemu:///system"
accelerator = "auto"
image       = "https://cloud.debian.org/images/cloud/bookworm/latest/debian-12-genericcloud-amd64.qcow2"
