//! The version before this one, built from the history of the repository.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use crate::support::program;

/// The revision that somebody asked for.
static CHOSEN: OnceLock<String> = OnceLock::new();

/// Its programs.
#[derive(Clone, Debug)]
pub struct Previous {
    /// The commit, abbreviated.
    pub revision: String,
    pub server: PathBuf,
    pub worker: PathBuf,
}

const PROGRAMS: [&str; 2] = ["marabunta-server", "marabunta"];

impl Previous {
    /// Takes this revision and not the one that [`build`](Self::build) would find. Only the first choice counts.
    pub fn choose(revision: String) {
        CHOSEN.get_or_init(|| revision);
    }

    /// The newest tag `v*` below this commit; without one, the newest commit before the latest change of the wire that can be built. Built once, in the
    /// profile of this program, into `target/previous`; cargo tells how far it is.
    pub fn build() -> Self {
        let candidates = CHOSEN.get().cloned().map_or_else(latest, |chosen| vec![chosen]);
        let candidates = candidates.iter().map(|revision| commit(revision));
        let built =
            candidates.inspect(|revision| println!("The previous version is {revision}.")).find_map(Self::at);
        built.expect("the previous version can be built: name a revision that can with --previous")
    }

    fn at(revision: String) -> Option<Self> {
        let root = program::target().join("previous");
        let (source, programs) = (root.join("source").join(&revision), root.join(&revision));
        if PROGRAMS.iter().any(|name| !programs.join(name).is_file()) {
            extract(&revision, &source);
            if !compile(&source, &root.join("target"), &programs) {
                return None;
            }
        }
        Some(Self { revision, server: programs.join(PROGRAMS[0]), worker: programs.join(PROGRAMS[1]) })
    }
}

/// The newest first.
fn latest() -> Vec<String> {
    // A failure says only that there is no tag.
    if let Ok(tag) = ask(&["describe", "--tags", "--abbrev=0", "--match", "v*", "HEAD^"]) {
        return vec![tag];
    }
    let change = git(&["log", "-1", "--first-parent", "--format=%H", "--", ":/proto/marabunta"]);
    let before = git(&["log", "--first-parent", "--format=%H", "-5", &format!("{change}^")]);
    before.lines().map(ToOwned::to_owned).collect()
}

fn commit(revision: &str) -> String {
    git(&["rev-parse", "--verify", "--short=12", &format!("{revision}^{{commit}}")])
}

/// The sources of a commit, without touching this checkout.
fn extract(revision: &str, source: &Path) {
    fs::create_dir_all(source).expect("the target directory can be written");
    let mut archive = Command::new("git");
    archive.args(["archive", "--format=tar", revision]).current_dir(root());
    let mut archive = archive.stdout(Stdio::piped()).spawn().expect("git is installed");
    let tar = archive.stdout.take().expect("standard output is piped");
    // Cargo compares times only, and those of a commit are older than what was built of another.
    let taken = Command::new("tar")
        .args(["-x", "--touch"])
        .current_dir(source)
        .stdin(tar)
        .status()
        .expect("tar is installed");
    let given = archive.wait().expect("git was started");
    assert!(taken.success() && given.success(), "failed to take {revision} out of git");
}

/// False if it does not compile.
fn compile(source: &Path, target: &Path, programs: &Path) -> bool {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--locked", "--bins", "--target-dir"]).arg(target);
    cargo.args(PROGRAMS.iter().flat_map(|package| ["--package", package]));
    if program::is_release() {
        cargo.arg("--release");
    }
    let built = cargo.current_dir(source).stdin(Stdio::null()).status().expect("cargo is installed");
    if !built.success() {
        return false;
    }
    fs::create_dir_all(programs).expect("the target directory can be written");
    let profile = target.join(if program::is_release() { "release" } else { "debug" });
    for name in PROGRAMS {
        // Whole or not at all: a copy that was broken off is not taken for the program.
        let unfinished = programs.join(format!("{name}.unfinished"));
        let copied = fs::copy(profile.join(name), &unfinished)
            .and_then(|_| fs::rename(&unfinished, programs.join(name)));
        copied.unwrap_or_else(|error| panic!("failed to keep {name}: {error}"));
    }
    true
}

fn git(arguments: &[&str]) -> String {
    ask(arguments).unwrap_or_else(|error| {
        panic!(
            "the previous version is not to be had: {error}; in a shallow clone, run `git fetch --unshallow --tags`, or name a revision with --previous"
        )
    })
}

fn ask(arguments: &[&str]) -> Result<String, String> {
    let output = Command::new("git").args(arguments).current_dir(root()).output();
    let output = output.map_err(|error| format!("git does not run: {error}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    match text(&output.stdout) {
        answer if output.status.success() && !answer.is_empty() => Ok(answer),
        _ => Err(format!("git {} says {:?}", arguments.join(" "), text(&output.stderr))),
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("this package is a directory of the workspace")
}
