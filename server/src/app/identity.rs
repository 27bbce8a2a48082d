/// This server's id: its host's name for people, and something random, new at each start.
pub(super) fn server_id() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = host.trim().to_ascii_lowercase();
    let host: String =
        host.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.')).take(48).collect();
    let host = if host.is_empty() { "server".to_owned() } else { host };
    format!("{host}-{:06x}", rand::random::<u32>() & 0xff_ffff)
}
