//! Which shard a key belongs to.

use sha2::{Digest as _, Sha256};

/// The shard, of so many, for whatever has this key: the same on every server, for ever.
#[must_use]
pub fn shard_of(key: &str, shards: u16) -> u16 {
    let digest: [u8; 32] = Sha256::digest(key).into();
    u16::from_be_bytes([digest[0], digest[1]]) % shards.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_stays_in_its_shard_from_version_to_version() {
        assert_eq!(["", "a", "nightly web-1"].map(|key| shard_of(key, 16)), [0, 7, 3]);
    }

    #[test]
    fn keys_spread_over_all_shards() {
        let hit: std::collections::BTreeSet<_> = (0..1000).map(|n| shard_of(&n.to_string(), 16)).collect();
        assert_eq!(hit.len(), 16);
    }
}
