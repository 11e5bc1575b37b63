# The host on which apply.tftest.hcl makes its machines (all stopped). Another goes into a file here.auto.tfvars beside this
# one. variables.tftest.hcl needs no host.
libvirt_uri = "qemu:///system"
accelerator = "auto"
