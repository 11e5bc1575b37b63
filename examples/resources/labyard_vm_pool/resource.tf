# Five machines kept ready, twelve at most, back as they were after each use. The provider block says where pools are kept
# (store); labyard serve on the same store keeps this one filled.
resource "labyard_network" "lab" {
  name = "lab"
  mode = "nat"
  ipv4 = { cidr = "10.77.0.0/24", dhcp = { start = "10.77.0.100", end = "10.77.0.200" } }
}

resource "labyard_vm_pool" "k8s" {
  name          = "k8s"
  ready         = 5
  max           = 12
  max_in_flight = 3

  template = {
    cpus       = 2
    memory_mib = 2048
    disks = {
      root = {
        size_gib = 10
        image    = { source = "https://cloud.debian.org/images/cloud/bookworm/latest/debian-12-genericcloud-amd64.qcow2" }
      }
    }
    nics  = { lan = { network = labyard_network.lab.name } }
    guest = { hostname = "{name}" }
    ready = { wait = "agent" }
  }

  lease = { default = "2h", max = "8h", idle = "30m" }

  # Mondays and Wednesdays in term time; machines are made half an hour before.
  schedule = {
    term = {
      timezone   = "Europe/Madrid"
      days       = ["mon", "wed"]
      from       = "08:00"
      to         = "12:00"
      not_before = "2026-09-01"
      not_after  = "2026-12-20"
      warm_up    = "30m"
    }
  }
}

# Who has this code gets a machine.
resource "labyard_access_code" "class" {
  name              = "class"
  pools             = { (labyard_vm_pool.k8s.name) = { count = 1 } }
  max_uses          = 30
  max_uses_per_user = 1
}

# Machines that come in pairs: on a network of the claim's own they reach one another, and nobody else's do.
resource "labyard_network" "idle" {
  name = "idle"
  mode = "isolated"
}

resource "labyard_vm_pool" "pair" {
  name  = "pair"
  ready = 4
  max   = 8

  claim_network = { nic = "own", cidr = "10.78.0.0/24" }

  template = {
    cpus       = 1
    memory_mib = 1024
    disks = {
      root = {
        size_gib = 10
        image    = { source = "https://cloud.debian.org/images/cloud/bookworm/latest/debian-12-genericcloud-amd64.qcow2" }
      }
    }
    nics = {
      lan = { network = labyard_network.lab.name }
      own = { network = labyard_network.idle.name }
    }
    ready = { wait = "agent" }
  }
}

resource "labyard_access_code" "pairs" {
  name  = "pairs"
  pools = { (labyard_vm_pool.pair.name) = { count = 2 } }
}
