# The name of the pool.
terraform import labyard_vm_pool.k8s k8s
