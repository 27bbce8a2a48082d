//! Who a command is when it runs, and why it may not run.

use std::time::Duration;

use marabunta::exec::{Command, Ending};

use crate::attempt::{any_containment, command, containments, ended, sh};

#[tokio::test]
async fn endings_have_the_exit_codes_of_shells() {
    let rows = [
        (sh("exit 0"), 0),
        (sh("exit 3"), 3),
        (sh("exit 255"), 255),
        (sh("kill -KILL $$"), 137),
        (sh("kill -SEGV $$"), 139),
        (Command { timeout: Some(Duration::from_millis(1)), ..sh("sleep 1000") }, 124),
        (command(&["no-such-program"]), 127),
        (command(&["/no/such/program"]), 127),
        (command(&["/etc/passwd"]), 126),
        (command(&["/etc"]), 126),
        (command(&[]), 126),
        (command(&["true", "a\0b"]), 126),
        (command(&["true", &"x".repeat(1 << 20)]), 126),
        (Command { cwd: Some("/no/such/directory".into()), ..sh("true") }, 126),
        (Command { cwd: Some("/etc/passwd".into()), ..sh("true") }, 126),
        (Command { user: Some("no-such-user".parse().unwrap()), ..sh("true") }, 126),
    ];
    let containment = any_containment();
    for (command, code) in rows {
        let words = format!("{command:.200?}");
        let ended = ended(&containment, command).await;
        assert_eq!(ended.exit.ending.code(), code, "{words}: {:?}", ended.exit.ending);
    }
}

#[tokio::test]
async fn a_missing_directory_is_not_taken_for_a_missing_program() {
    let command = Command { cwd: Some("/no/such/directory".into()), ..sh("true") };
    let ended = ended(&any_containment(), command).await;
    let Ending::NotStarted { code: 126, error } = ended.exit.ending else {
        panic!("{ended:?}");
    };
    assert!(error.to_string().contains("\"/no/such/directory\""));
}

#[tokio::test]
async fn the_environment_is_built_anew() {
    let mut command = command(&["env"]);
    command.env.insert("MARABUNTA_RUN".into(), "1".into());
    command.env.insert("HOME".into(), "/elsewhere".into());
    let text = ended(&any_containment(), command).await.text();
    let mut names: Vec<&str> = text.lines().filter_map(|line| Some(line.split_once('=')?.0)).collect();
    names.sort_unstable();
    assert_eq!(names, ["HOME", "LOGNAME", "MARABUNTA_RUN", "MARABUNTA_TREE", "PATH", "USER"]);
    assert!(text.contains("HOME=/elsewhere\n"));
}

#[tokio::test]
async fn arguments_reach_the_program_as_they_are() {
    let words = ["a b", "", "$(id)", "*", "'\"", "-n", "ä\n"];
    let argv = [&["printf", "<%s>"], &words[..]].concat();
    let ended = ended(&any_containment(), command(&argv)).await;
    assert_eq!(ended.text(), words.map(|word| format!("<{word}>")).concat());
}

#[tokio::test]
async fn a_program_is_looked_up_in_the_path_of_the_command() {
    let mut command = command(&["sh", "-c", "exit 0"]);
    command.env.insert("PATH".into(), "/no/such/directory".into());
    let ended = ended(&any_containment(), command).await;
    assert!(matches!(ended.exit.ending, Ending::NotStarted { code: 127, .. }), "{ended:?}");
}

#[tokio::test]
async fn a_command_runs_as_its_user_without_the_groups_of_the_worker() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("not tested: only root may become somebody else");
        return;
    }
    for containment in containments() {
        let command =
            Command { user: Some("nobody".parse().unwrap()), ..sh("id -un; id -G; echo $HOME $USER; pwd") };
        let ended = ended(&containment, command).await;
        let group = nix::unistd::User::from_name("nobody").unwrap().unwrap();
        let home = group.dir.display();
        assert_eq!(ended.text(), format!("nobody\n{}\n{home} nobody\n/\n", group.gid), "{ended:?}");
    }
}

#[tokio::test]
async fn memory_is_limited_per_process_where_no_cgroup_counts_it() {
    for containment in containments().iter().filter(|containment| !containment.limits_memory_of_trees()) {
        // The input is fed after the limit is set: whoever has read it runs under the limit.
        let mut command = sh("read line; ulimit -v");
        command.stdin = "go\n".into();
        command.limits.memory = Some(256 << 20);
        assert_eq!(ended(containment, command).await.text(), format!("{}\n", 256 << 10));
    }
}
