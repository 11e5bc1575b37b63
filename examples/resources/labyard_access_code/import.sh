# The name of the code.
terraform import labyard_access_code.class class
