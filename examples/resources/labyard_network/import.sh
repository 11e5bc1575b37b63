# HOST/NAME or HOST/UUID; the host may be left out where the provider knows one.
terraform import labyard_network.lab default/lab
