//! Texts kept in files, so that each change of them shows in a review. `UPDATE_SNAPSHOTS=1` writes them anew.

use std::{fs, path::Path};

/// Compares `text` with the file of this name.
pub fn check(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli/snapshots").join(name);
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        kept == text,
        "{name} has changed; see it with UPDATE_SNAPSHOTS=1 and git diff. It is now:\n{text}"
    );
}
