terraform {
  # Conditions of variables that look at other variables are as old as 1.9; the provider itself needs 1.11.
  required_version = ">= 1.11"

  required_providers {
    labyard = {
      source  = "labyard/labyard"
      version = ">= 0.1"
    }
  }
}
