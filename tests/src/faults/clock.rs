//! A wall clock for one program, moved while it runs, by libfaketime. What the program measures by a monotonic clock stays true.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use crate::support::scratch::Scratch;

/// Where the distributions put the library.
const LIBRARIES: &[&str] = &[
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib64/faketime/libfaketimeMT.so.1",
    "/usr/lib/faketime/libfaketimeMT.so.1",
];

/// A clock that shows the true time until it is moved.
#[derive(Debug)]
pub struct FakeClock {
    directory: Scratch,
}

impl FakeClock {
    pub fn new() -> Self {
        let clock = Self { directory: Scratch::new("clock") };
        clock.offset(0);
        clock
    }

    /// The variables with which a program sees this clock.
    pub fn environment(&self) -> Vec<(OsString, OsString)> {
        let library = LIBRARIES.iter().map(PathBuf::from).find(|library| library.is_file());
        let library =
            library.unwrap_or_else(|| panic!("libfaketime is not installed; run `make test-services`"));
        let file = self.directory.join("offset");
        [
            ("LD_PRELOAD", library.into_os_string()),
            ("FAKETIME_TIMESTAMP_FILE", file.into_os_string()),
            // The file is read at each look at the clock.
            ("FAKETIME_NO_CACHE", "1".into()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".into()),
        ]
        .map(|(name, value)| (name.into(), value))
        .into()
    }

    /// Sets it to this many seconds after the true time, or before it.
    pub fn offset(&self, seconds: i64) {
        let unfinished = self.directory.write("unfinished", format!("{seconds:+}s\n"));
        fs::rename(unfinished, self.directory.join("offset")).expect("both are in one directory");
    }
}

impl Drop for FakeClock {
    fn drop(&mut self) {
        // The library shares a semaphore and a page among a program and its children; one that was killed leaves them.
        for entry in fs::read_dir("/dev/shm").into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let owner =
                ["faketime_shm_", "sem.faketime_sem_"].iter().find_map(|kind| name.strip_prefix(kind));
            let gone = owner.is_some_and(|pid| !Path::new("/proc").join(pid).exists());
            if gone && let Err(error) = fs::remove_file(entry.path()) {
                eprintln!("failed to remove {name}: {error}");
            }
        }
    }
}

impl Default for FakeClock {
    fn default() -> Self {
        Self::new()
    }
}
