# One code for a class of 30, each student once. The provider block says where codes are kept (store), and pool k8s is
# kept there too.
resource "labyard_access_code" "class" {
  name              = "class"
  pools             = { k8s = { count = 1 } }
  max_uses          = 30
  max_uses_per_user = 1
  not_before        = "2026-09-01T08:00:00+02:00"
  not_after         = "2026-12-20T14:00:00+01:00"
  lease             = "2h"
  source_cidrs      = ["10.0.0.0/8"]
}

# Codes for one use each, to be handed out on paper. Raise batch for more: those that were handed out stay.
resource "labyard_access_code" "exam" {
  name  = "exam"
  pools = { k8s = { count = 1 } }
  batch = 12
}

output "exam_codes" {
  value     = labyard_access_code.exam.codes # terraform output -json exam_codes
  sensitive = true
}
