//! The help of every command, kept word for word.

use clap::{Command, CommandFactory as _};

use crate::{marabunta::alone, snapshot};

#[test]
fn the_help_of_every_command_is_as_it_was() {
    let mut paths = Vec::new();
    collect(&marabunta::cli::command::Cli::command(), &mut Vec::new(), &mut paths);
    for path in paths {
        let arguments: Vec<&str> = path.iter().map(String::as_str).chain(["--help"]).collect();
        let help = alone(&arguments);
        assert_eq!((help.code, help.stderr.as_str()), (Some(0), ""));
        let name = if path.is_empty() { "marabunta".to_owned() } else { path.join("-") };
        snapshot::check(&format!("help/{name}.txt"), help.stdout());
    }
}

#[test]
fn every_command_shows_examples() {
    let mut paths = Vec::new();
    collect(&marabunta::cli::command::Cli::command(), &mut Vec::new(), &mut paths);
    let groups = [vec!["task"], vec!["runs"], vec!["workers"]];
    for path in paths.iter().filter(|path| !groups.iter().any(|group| group == *path)) {
        let arguments: Vec<&str> = path.iter().map(String::as_str).chain(["--help"]).collect();
        assert!(alone(&arguments).stdout().contains("Examples:"), "{path:?}");
    }
}

fn collect(command: &Command, path: &mut Vec<String>, paths: &mut Vec<Vec<String>>) {
    paths.push(path.clone());
    for child in command.get_subcommands().filter(|child| child.get_name() != "help") {
        path.push(child.get_name().to_owned());
        collect(child, path, paths);
        path.pop();
    }
}
