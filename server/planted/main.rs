//! `marabunta-server` with the feature `planted`, under a name of its own: so the build for the proof of the checker never takes the place of
//! the right program.

#[path = "../src/main.rs"]
mod program;

fn main() -> std::process::ExitCode {
    program::main()
}
