terraform {
  required_version = ">= 1.11"

  required_providers {
    labyard = {
      source  = "labyard/labyard"
      version = ">= 0.1"
    }
  }
}
