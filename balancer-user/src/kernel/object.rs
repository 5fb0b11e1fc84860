//! The eBPF object that this daemon was built with.

/// The object, aligned as its reader wants an ELF file to be.
pub static OBJECT: &[u8] = aya::include_bytes_aligned!(env!("BALANCER_EBPF_OBJECT"));
