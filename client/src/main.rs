//! The binary `marabunta`: see [`marabunta::cli`].

use std::process::ExitCode;

use marabunta::{cli::command, exec::supervisor};

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1).peekable();
    // Started for commands, and to be there at once: before anything else is looked at.
    if arguments.next_if(|word| word == supervisor::SUBCOMMAND).is_some() {
        return supervisor::main(arguments);
    }
    command::main()
}
