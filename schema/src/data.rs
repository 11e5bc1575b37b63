//! Data sources: what a host, a machine, a network, a code or a pool is at this moment. Read anew at every plan, never compared.

use std::collections::BTreeMap;

use crate::attribute::attributes;

attributes! {
    /// A configured host: what it can do, what it has, and what is taken of it.
    pub struct HostData {
        /// Key of the provider's `hosts`. Where the provider knows one host, that one.
        name: Option<String> = optional_computed();
        /// Lasting id of the host.
        id: Option<String> = computed();
        /// Hypervisor, with the version of what manages it.
        hypervisor: Option<String> = computed();
        /// Accelerators that it claims to have, the best first: `kvm`, `qemu`.
        accelerators: Option<Vec<String>> = computed();
        /// Firmwares that it offers: `bios`, `uefi`.
        firmwares: Option<Vec<String>> = computed();
        /// Logical processors.
        cpus: Option<u32> = computed();
        /// Memory in MiB.
        memory_mib: Option<u64> = computed();
        /// Virtual processors that machines have: labyard's, and others that run.
        cpus_taken: Option<u32> = computed();
        /// Memory in MiB that machines have: labyard's, and others that run.
        memory_taken_mib: Option<u64> = computed();
        /// Virtual processors that are left for machines without a host of their own.
        cpus_free: Option<u32> = computed();
        /// Memory in MiB that is left for machines without a host of their own.
        memory_free_mib: Option<u64> = computed();
        /// Whether it takes no new machines that name no host.
        cordoned: Option<bool> = computed();
        /// Storage pool for disks and images, where it can be used.
        storage_pool: Option<String> = computed();
        /// Storage pools by name: those that are started, and others in which something of labyard's lies.
        storage_pools: Option<BTreeMap<String, PoolData>> = computed();
        /// Machines of anybody.
        machines: Option<u64> = computed();
        /// Machines that run.
        machines_running: Option<u64> = computed();
        /// Machines that carry labyard's mark, of every namespace.
        machines_owned: Option<u64> = computed();
    }

    /// A storage pool.
    pub struct PoolData {
        /// Kind of its volumes: `directory`, `logical`, or libvirt's word for another.
        r#type: Option<String> = computed();
        /// Whether it is started.
        active: Option<bool> = computed();
        /// Room in MiB in all.
        capacity_mib: Option<u64> = computed();
        /// Room in MiB that is free.
        available_mib: Option<u64> = computed();
        /// Sizes in MiB of the disks of labyard's machines in it, as guests see them: what thin disks may grow to.
        promised_mib: Option<u64> = computed();
    }

    /// A machine as it is now, of labyard or anybody's.
    pub struct VmData {
        /// Name of the machine: of this namespace first, then the host's; or the host's id of it.
        name: String = required();
        /// Host that it is on, a key of the provider's `hosts`. Left out: wherever there is one of that name.
        host: Option<String> = optional_computed();
        /// Id that the host keeps for it.
        id: Option<String> = computed();
        /// Whether it carries labyard's mark.
        owned: Option<bool> = computed();
        /// Namespace of its mark; null for a foreign one.
        namespace: Option<String> = computed();
        /// Status: `running`, `stopped`, `paused`, `saved` or `crashed`.
        power: Option<String> = computed();
        /// Stage that its creation is at, or failed at: `record`, `addresses`, `image`, `disks`, `seed`, `define`, `start`, `ready`;
        /// `finished` for a whole one, `retire` for one on its way out. Null for a foreign one.
        stage: Option<String> = computed();
        /// Labels; null where there are none, before its creation is finished, and for a foreign one.
        labels: Option<BTreeMap<String, String>> = computed();
        /// Port of its VNC display while it runs: on the host's loopback address, unless somebody else made it otherwise.
        /// Null without one.
        vnc_port: Option<u32> = computed();
        /// Number of virtual processors.
        cpus: Option<u32> = computed();
        /// Memory in MiB.
        memory_mib: Option<u64> = computed();
        /// Addresses that it has at this moment, by leases, the host's neighbour table and its agent; IPv4 first, link-local ones left out.
        addresses: Option<Vec<String>> = computed();
        /// Network cards by key.
        nics: Option<BTreeMap<String, NicData>> = computed();
        /// Disks by key.
        disks: Option<BTreeMap<String, DiskData>> = computed();
    }

    /// A network card.
    pub struct NicData {
        /// Network that it is on.
        network: Option<String> = computed();
        /// MAC address.
        mac: Option<String> = computed();
        /// Address that is reserved for it.
        reserved: Option<String> = computed();
        /// Addresses that leases show at this moment.
        addresses: Option<Vec<String>> = computed();
    }

    /// A disk.
    pub struct DiskData {
        /// Size in GiB, rounded up; null where the host did not say.
        size_gib: Option<u64> = computed();
        /// Storage pool of its volume.
        storage_pool: Option<String> = computed();
    }

    /// A network as it is now, of labyard or anybody's.
    pub struct NetworkData {
        /// Name of the network: of this namespace first, then the host's; or the host's id of it.
        name: String = required();
        /// Host that it is on, a key of the provider's `hosts`. Left out: wherever there is one of that name.
        host: Option<String> = optional_computed();
        /// Id that the host keeps for it.
        id: Option<String> = computed();
        /// Whether it carries labyard's mark.
        owned: Option<bool> = computed();
        /// Whether it is up.
        active: Option<bool> = computed();
        /// Whether it starts with the host.
        autostart: Option<bool> = computed();
        /// Mode; null for one that labyard does not make.
        mode: Option<String> = computed();
        /// Bridge on the host that carries it.
        bridge: Option<String> = computed();
        /// The host's own address on it with the prefix.
        address: Option<String> = computed();
        /// DNS domain of the guests.
        domain: Option<String> = computed();
        /// Machines of labyard that are attached to it, by the host's names.
        machines: Option<Vec<String>> = computed();
        /// Leases at this moment.
        leases: Option<Vec<LeaseData>> = computed();
        /// Addresses that are reserved, by MAC.
        reservations: Option<BTreeMap<String, String>> = computed();
    }

    /// An address in use.
    pub struct LeaseData {
        /// MAC address of the card.
        mac: Option<String> = computed();
        /// Address.
        address: Option<String> = computed();
        /// Host name that the guest sent.
        hostname: Option<String> = computed();
    }

    /// An access code as it is now: how often it was used, and its claims.
    pub struct AccessCodeData {
        /// Name of the code in this namespace.
        name: String = required();
        /// Id of the code in its store.
        id: Option<String> = computed();
        /// How often it was used, by all together.
        uses: Option<u64> = computed();
        /// Its codes by key, without the codes themselves.
        codes: Option<BTreeMap<String, CodeValueData>> = computed();
        /// Claims by phase: `queued`, `bound`, `ready`, `paused`, and those that are over, `expired`, `released`, `failed`.
        claims: Option<BTreeMap<String, u64>> = computed();
    }

    /// One code.
    pub struct CodeValueData {
        /// How often it was used.
        uses: Option<u64> = computed();
        /// How often it may be used; null without limit.
        max_uses: Option<u64> = computed();
        /// Whether it was revoked: nobody gets machines by it.
        revoked: Option<bool> = computed();
    }

    /// A pool as it is now: its machines, who waits, and how it fares.
    pub struct VmPoolData {
        /// Name of the pool in this namespace.
        name: String = required();
        /// Id of the pool in its store.
        id: Option<String> = computed();
        /// How it fares: `settled`; `filling`, while machines are missing or are made; `rolling`, while free machines are of an older template; `failing`, while the template fails and is tried again; `given_up`, when it has failed too often; `draining`, on its way out.
        condition: Option<String> = computed();
        /// Why the last machine could not be made; null when the one after it was.
        cause: Option<String> = computed();
        /// Number of the template, raised by each change of it.
        generation: Option<u64> = computed();
        /// Machines by state: `free`, `building`, `claimed`, `recycling`, `retiring`, `failed`.
        counts: Option<BTreeMap<String, u64>> = computed();
        /// Machines that waiting claims want.
        waiting: Option<u64> = computed();
        /// Machines by name.
        machines: Option<BTreeMap<String, PoolMachineData>> = computed();
    }

    /// A machine of a pool.
    pub struct PoolMachineData {
        /// Host that it is on; null while it has none.
        host: Option<String> = computed();
        /// State: `free`, `building`, `claimed`, `recycling`, `retiring` or `failed`.
        state: Option<String> = computed();
        /// Number of the template that it was made of.
        generation: Option<u64> = computed();
    }

    /// The codes of an access code, read for other configuration without being stored anywhere.
    pub struct AccessCodeEphemeral {
        /// Name of the code in this namespace.
        name: String = required();
        /// Id of the code in its store. Write `labyard_access_code.NAME.id` here where the same apply makes the code: then it is read when it has been made.
        id: Option<String> = optional_computed();
        /// The codes that can be used, by key: `main`, or the keys of a batch. Those given by `code_wo` too.
        codes: Option<BTreeMap<String, String>> = computed().sensitive();
    }
}
