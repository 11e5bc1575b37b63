data "labyard_vm" "web" {
  host = "lab1"
  name = "web-01"
}

output "addresses" {
  value = data.labyard_vm.web.addresses
}

# A viewer on the host itself, or through a tunnel: ssh -L 5900:127.0.0.1:PORT lab1
output "display" {
  value = data.labyard_vm.web.vnc_port
}
