//! Raw bindings to the part of DPDK that Guideway uses.
