# HOST/NAME or HOST/UUID; the host may be left out where the provider knows one. A machine that labyard did not make
# shows owned = false; the next apply takes it over in place.
terraform import labyard_vm.web default/web
