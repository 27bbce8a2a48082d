//! The ground truth of an execution: what the tasks themselves wrote down, and never what a server believes.

use std::fs;
use std::path::Path;

use anyhow::ensure;

use super::scratch::Scratch;
use super::wait::eventually;

/// A file to which tasks write, and gates at which they wait. Its scripts are for `sh -c`.
#[derive(Debug)]
pub struct Journal {
    directory: Scratch,
}

impl Journal {
    pub fn new() -> Self {
        let directory = Scratch::new("journal");
        directory.write("journal", "");
        Self { directory }
    }

    /// Where a test may leave more files for its tasks.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// A script that writes that it starts, does `body`, and writes that it ends.
    pub fn noting(&self, body: &str) -> String {
        format!("{}\n{body}\n{}", self.note("start"), self.note("end"))
    }

    /// A script that writes that it starts, waits until the gate is open, and writes that it ends.
    pub fn until(&self, gate: &Gate) -> String {
        self.noting(&gate.wait())
    }

    /// A script that writes a word.
    pub fn note(&self, word: &str) -> String {
        // A short line appended by one write is never torn apart.
        format!("echo \"$MARABUNTA_RUN {word}\" >>'{}'", self.directory.join("journal").display())
    }

    /// A closed gate.
    pub fn gate(&self, name: &str) -> Gate {
        Gate { path: self.directory.write(&format!("gate-{name}"), "") }
    }

    /// The runs that wrote this word, in the order in which they did.
    pub fn runs(&self, word: &str) -> Vec<String> {
        let lines =
            fs::read_to_string(self.directory.join("journal")).expect("the journal is there from the start");
        let run = |line: &str| Some(line.strip_suffix(word)?.strip_suffix(' ')?.to_owned());
        lines.lines().filter_map(run).collect()
    }

    /// How often a run was started.
    pub fn starts(&self, run: &str) -> usize {
        self.runs("start").iter().filter(|started| *started == run).count()
    }

    /// How often a run came to its end.
    pub fn ends(&self, run: &str) -> usize {
        self.runs("end").iter().filter(|ended| *ended == run).count()
    }

    /// Waits until a word was written so often.
    pub async fn noted(&self, word: &str, times: usize) {
        eventually(&format!("{times} tasks note `{word}`"), async || {
            let noted = self.runs(word).len();
            ensure!(noted >= times, "{noted} so far");
            Ok(())
        })
        .await;
    }

    /// Waits until a run was started so often. To be `Running` is less: then its worker has accepted it, and may die before the first line.
    pub async fn started(&self, run: &str, times: usize) {
        eventually(&format!("run {run} is started {times} times"), async || {
            let starts = self.starts(run);
            ensure!(starts >= times, "{starts} times so far");
            Ok(())
        })
        .await;
    }

    /// Waits until a run has come to its end.
    pub async fn ended(&self, run: &str) {
        eventually(&format!("the command of run {run} ends"), async || {
            ensure!(self.ends(run) > 0, "it was started {} times", self.starts(run));
            Ok(())
        })
        .await;
    }

    /// Demands that every one of these runs was started once and came to its end once, and that no other run was.
    #[track_caller]
    pub fn each_once(&self, runs: &[String]) {
        for word in ["start", "end"] {
            let (mut noted, mut expected) = (self.runs(word), runs.to_vec());
            noted.sort_unstable();
            expected.sort_unstable();
            assert_eq!(noted, expected, "what tasks noted as {word}, and what was to be run");
        }
    }
}

impl Default for Journal {
    fn default() -> Self {
        Self::new()
    }
}

/// Where tasks wait for a test. Gone with its journal, which opens it: no task waits for a test that has ended.
#[derive(Debug)]
pub struct Gate {
    path: std::path::PathBuf,
}

impl Gate {
    /// Lets everybody through, from now on.
    pub fn open(&self) {
        fs::remove_file(&self.path).expect("a gate is opened once");
    }

    /// A script that ends when the gate is open.
    pub fn wait(&self) -> String {
        format!("while [ -e '{}' ]; do sleep 0.05; done", self.path.display())
    }
}
