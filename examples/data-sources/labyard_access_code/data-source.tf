data "labyard_access_code" "class" {
  name = "class"
}

output "class" {
  value = "used ${data.labyard_access_code.class.uses} times, claims: ${jsonencode(data.labyard_access_code.class.claims)}"
}
