data "labyard_vm_pool" "k8s" {
  name = "k8s"
}

output "k8s" {
  value = "${data.labyard_vm_pool.k8s.condition}: ${data.labyard_vm_pool.k8s.counts.free} free, ${data.labyard_vm_pool.k8s.waiting} waited for"
}
