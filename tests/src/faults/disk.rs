//! A small disk for a worker's spool or a server's data, to be filled.

use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::program;
use crate::support::scratch::Scratch;

const BALLAST: &str = "ballast";

/// A tmpfs of this size, unmounted on drop, and by the watchdog if this is never dropped.
#[derive(Debug)]
pub struct Disk {
    directory: Scratch,
}

impl Disk {
    /// One that holds so many bytes.
    pub fn new(bytes: u64) -> Self {
        let directory = Scratch::new("disk");
        mount("mount", &["-t", "tmpfs", "-o", &format!("size={bytes}"), "tmpfs"], directory.path());
        Self { directory }
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Takes all that is left of it.
    pub fn fill(&self) {
        let ballast = File::options().create(true).append(true).open(self.ballast());
        let mut ballast = ballast.expect("a disk, even a full one, takes the name of a file");
        // Large pieces first, then what is left.
        for size in [64 * 1024, 4096, 1] {
            let piece = vec![0; size];
            loop {
                match ballast.write(&piece) {
                    Ok(1..) => {}
                    Ok(0) => panic!("a file takes bytes or gives an error"),
                    Err(error) if error.kind() == ErrorKind::StorageFull => break,
                    Err(error) => panic!("failed to fill {}: {error}", self.path().display()),
                }
            }
        }
    }

    /// Gives back what was taken.
    pub fn free(&self) {
        fs::remove_file(self.ballast()).expect("a disk is freed after it was filled");
    }

    fn ballast(&self) -> PathBuf {
        self.directory.join(BALLAST)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // What still uses it keeps it; its name is gone, and it is with the last user.
        let unmount = Command::new(program::installed("umount")).arg("--lazy").arg(self.path()).output();
        match unmount {
            Ok(output) if output.status.success() => {}
            failed => eprintln!("failed to unmount {}: {failed:?}", self.path().display()),
        }
    }
}

fn mount(name: &str, arguments: &[&str], path: &Path) {
    let output = Command::new(program::installed(name)).args(arguments).arg(path).output();
    let output = output.expect("mount starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "failed to mount, which needs root: {errors}");
}
