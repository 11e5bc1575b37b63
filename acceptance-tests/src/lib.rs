//! Real terraform, real libvirtd in private network namespaces, real guests.
