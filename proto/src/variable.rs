//! Environment variables that no caller may set.

/// What names begin with that only the worker gives: it says in them what runs.
pub const RESERVED: &str = "MARABUNTA_";

/// Whether who sets this variable runs code of their own inside any program: those of the dynamic loader (ld.so(8)), of the C library, and
/// what shells read before they start (bash(1)).
pub fn steers_programs(name: &str) -> bool {
    ["LD_", "DYLD_", "BASH_FUNC_"].iter().any(|start| name.starts_with(start))
        || matches!(
            name,
            "GCONV_PATH" | "GLIBC_TUNABLES" | "BASH_ENV" | "ENV" | "IFS" | "SHELLOPTS" | "BASHOPTS"
        )
}
