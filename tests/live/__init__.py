"""Running programs: live devices, network namespaces, real hosts. Needs root."""
