data "labyard_vm" "web" {
  host = "lab1"
  name = "web-01"
}

output "addresses" {
  value = data.labyard_vm.web.addresses
}
