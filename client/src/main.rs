//! The binary `marabunta`: see [`marabunta::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    marabunta::cli::command::main()
}
