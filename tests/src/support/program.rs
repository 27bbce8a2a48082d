//! Where the programs are.

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// A program that the tests need from the system. Panics with what to run if it is not installed.
pub fn installed(name: &str) -> PathBuf {
    let path = env::var_os("PATH").unwrap_or_default();
    // A user's PATH often lacks the directories where the servers are.
    env::split_paths(&path)
        .chain(["/usr/local/sbin", "/usr/sbin"].map(PathBuf::from))
        .map(|directory| directory.join(name))
        .find(|program| program.is_file())
        .unwrap_or_else(|| panic!("{name} is not installed; run `make test-services`"))
}

/// `buf` from where `make test-services` puts it.
pub fn buf() -> PathBuf {
    let program = target().join("tools/buf/bin/buf");
    assert!(program.is_file(), "{} is missing; run `make test-services`", program.display());
    program
}

/// A binary of this workspace, as the sources are now.
///
/// Cargo does not build the binaries of other packages for a test, so it is asked here, once per test process: no test ever judges an old
/// binary. When they are up to date, as after `make test`, that takes a fraction of a second.
pub fn built(name: &str) -> PathBuf {
    static BUILT: OnceLock<()> = OnceLock::new();
    BUILT.get_or_init(|| cargo(&["--bins"]));
    let program = profile().join(name);
    assert!(program.is_file(), "{} is missing; run `make build`", program.display());
    program
}

/// The server into which bugs can be planted, as the sources are now.
///
/// It is a binary of its own, so that none of the right programs is ever replaced by it, beside them in the same target directory: only the
/// server's own crate is compiled once more for it.
pub fn planted() -> PathBuf {
    const NAME: &str = "marabunta-server-planted";
    static BUILT: OnceLock<()> = OnceLock::new();
    BUILT.get_or_init(|| cargo(&["--bin", NAME, "--features", "marabunta-server/planted"]));
    let program = profile().join(NAME);
    assert!(program.is_file(), "{} is missing; run `make planted`", program.display());
    program
}

fn cargo(what: &[&str]) {
    // Set by cargo for what it runs. Without it somebody runs a test executable by hand and has built what they want to test.
    let Some(cargo) = env::var_os("CARGO") else { return };
    // The whole workspace, so that the features of shared dependencies are those of `make build` and nothing is built twice.
    let mut command = Command::new(cargo);
    command.args(["build", "--locked", "--quiet", "--workspace", "--target-dir"]).arg(target()).args(what);
    if is_release() {
        command.arg("--release");
    }
    command.current_dir(env!("CARGO_MANIFEST_DIR")).stdin(Stdio::null());
    // What cargo says of the package whose test this is. Build scripts look at it, and ring would be built anew, and all that stands on it.
    for (name, _) in env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("CARGO_MANIFEST_") || name.starts_with("CARGO_PKG_") {
            command.env_remove(&*name);
        }
    }
    let output = command.output().expect("cargo runs, as it runs this test");
    assert!(output.status.success(), "failed to build:\n{}", String::from_utf8_lossy(&output.stderr));
}

/// Whether the tests, and what they build, are optimised.
pub fn is_release() -> bool {
    profile().file_name() == Some(OsStr::new("release"))
}

/// The target directory of cargo.
pub fn target() -> &'static Path {
    profile().parent().expect("a profile's directory is in the target directory")
}

/// `target/debug` of `target/debug/deps/scenarios-0123456789abcdef`, and of `target/debug/faults`.
fn profile() -> &'static Path {
    static PROFILE: OnceLock<PathBuf> = OnceLock::new();
    PROFILE.get_or_init(|| {
        let test = env::current_exe().expect("a running program has a path");
        let directory = test.parent().expect("a program is in a directory");
        let profile = if directory.ends_with("deps") { directory.parent() } else { Some(directory) };
        profile.expect("cargo puts test executables into a directory of the profile").to_owned()
    })
}
