//! The ground truth: what the tasks themselves wrote down, a line when one begins and a line when it ends.
//!
//! A worker's tasks share a file, `DIRECTORY/WORKER`. A line is written by one append, which nothing tears apart, and lives in the kernel from
//! then on: it survives the death of every process. That is enough, as no fault takes the machine down; so nothing is flushed, and a
//! thousand lines a second cost next to nothing.
//!
//! Beside it, `WORKER.lock` is held, at the byte that the run's id gives, for as long as a task is alive. Who finds it held has found the
//! same run alive on the same host, and says so. The lock ends with the process, however that ends.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;

use super::moment::Moment;

/// What a task says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    Starts,
    /// It starts while the same run is alive on the same host.
    Doubles,
    Done,
    Failed,
    /// It was told to stop.
    Stopped,
    /// It kills its process now.
    Dies,
}

const WORDS: [(Word, &str); 6] = [
    (Word::Starts, "starts"),
    (Word::Doubles, "doubles"),
    (Word::Done, "done"),
    (Word::Failed, "failed"),
    (Word::Stopped, "stopped"),
    (Word::Dies, "dies"),
];

/// A task, as it writes.
#[derive(Debug)]
pub struct Witness {
    file: File,
    lock: File,
    run: u128,
    attempt: u32,
    op: u64,
}

impl Witness {
    /// One attempt of a run on a worker.
    pub fn new(directory: &Path, worker: &str, run: u128, attempt: u32, op: u64) -> Self {
        let open = |name: &str| {
            let path = directory.join(name);
            let file = File::options().create(true).append(true).open(&path);
            file.unwrap_or_else(|error| panic!("failed to open {}: {error}", path.display()))
        };
        Self { file: open(worker), lock: open(&format!("{worker}{LOCK}")), run, attempt, op }
    }

    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Says that it starts, and whether it is alone.
    pub fn begin(&self) {
        self.say(if self.alone() { Word::Starts } else { Word::Doubles });
    }

    pub fn say(&self, word: Word) {
        let (_, text) = WORDS.iter().find(|(known, _)| *known == word).expect("every word has a text");
        let (moment, pid) = (Moment::now().0, process::id());
        let line = format!("{moment} {:032x} {} {pid} {} {text}\n", self.run, self.attempt, self.op);
        (&self.file).write_all(line.as_bytes()).expect("the disk of the testimony has room");
    }

    fn alone(&self) -> bool {
        let mask = u128::from(i64::MAX.unsigned_abs() >> 1);
        let byte = i64::try_from(self.run & mask).expect("62 bits fit");
        let lock = libc::flock {
            l_type: i16::try_from(libc::F_WRLCK).expect("a small number"),
            l_whence: i16::try_from(libc::SEEK_SET).expect("a small number"),
            l_start: byte,
            l_len: 1,
            l_pid: 0,
        };
        // Of the open file, not of the process: two attempts in one process are two as well.
        match fcntl(&self.lock, FcntlArg::F_OFD_SETLK(&lock)) {
            Ok(_) => true,
            Err(Errno::EAGAIN | Errno::EACCES) => false,
            Err(error) => panic!("failed to lock a byte: {error}"),
        }
    }
}

const LOCK: &str = ".lock";

/// One execution, as its task told of it. Small: an hour has millions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Execution {
    pub run: u128,
    pub start: Moment,
    /// [`Moment::NEVER`] where it told of no end.
    pub end: Moment,
    pub op: u32,
    pub pid: u32,
    pub attempt: u16,
    /// The place of the worker's name in [`Testimony::workers`].
    pub worker: u16,
    /// What it said at its end.
    pub word: Option<Word>,
    /// The same run was alive on the same host when it began.
    pub doubled: bool,
}

/// All that was written down.
#[derive(Clone, Debug, Default)]
pub struct Testimony {
    pub workers: Vec<String>,
    /// By run, and in the order in which they began.
    pub executions: Vec<Execution>,
}

impl Testimony {
    /// Reads a directory of testimonies.
    pub fn read(directory: &Path) -> anyhow::Result<Self> {
        let mut testimony = Self::default();
        for entry in fs::read_dir(directory)? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if !name.ends_with(LOCK) {
                testimony.add(name, &path)?;
            }
        }
        testimony.executions.sort_unstable_by_key(|execution| (execution.run, execution.start));
        Ok(testimony)
    }

    /// The executions of a run, in the order in which they began.
    pub fn of(&self, run: u128) -> &[Execution] {
        let from = self.executions.partition_point(|execution| execution.run < run);
        let rest = &self.executions[from..];
        &rest[..rest.partition_point(|execution| execution.run == run)]
    }

    pub fn worker(&self, execution: &Execution) -> &str {
        &self.workers[usize::from(execution.worker)]
    }

    fn add(&mut self, name: &str, path: &PathBuf) -> anyhow::Result<()> {
        let worker = u16::try_from(self.workers.len())?;
        self.workers.push(name.to_owned());
        let mut open: HashMap<(u128, u16, u32), usize> = HashMap::new();
        for line in BufReader::new(File::open(path)?).lines() {
            let line = line?;
            let (said, word) = parse(&line, worker)
                .ok_or_else(|| anyhow::anyhow!("{}: no testimony: {line:?}", path.display()))?;
            let key = (said.run, said.attempt, said.pid);
            match word {
                Word::Starts | Word::Doubles => {
                    open.insert(key, self.executions.len());
                    self.executions.push(said);
                }
                end => {
                    let started = open.remove(&key);
                    let started =
                        started.ok_or_else(|| anyhow::anyhow!("an end without a start: {line:?}"))?;
                    let execution = &mut self.executions[started];
                    (execution.end, execution.word) = (said.start, Some(end));
                }
            }
        }
        Ok(())
    }
}

fn parse(line: &str, worker: u16) -> Option<(Execution, Word)> {
    let mut fields = line.split(' ');
    let start = Moment(fields.next()?.parse().ok()?);
    let run = u128::from_str_radix(fields.next()?, 16).ok()?;
    let attempt = fields.next()?.parse().ok()?;
    let pid = fields.next()?.parse().ok()?;
    let op = fields.next()?.parse().ok()?;
    let text = fields.next()?;
    let (word, _) = *WORDS.iter().find(|(_, known)| *known == text)?;
    let doubled = word == Word::Doubles;
    let execution =
        Execution { run, start, end: Moment::NEVER, op, pid, attempt, worker, word: None, doubled };
    Some((execution, word))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::support::scratch::Scratch;

    #[test]
    fn what_tasks_say_is_read_as_executions() {
        let scratch = Scratch::new("testimony");
        let first = Witness::new(scratch.path(), "w-1", 7, 1, 3);
        first.begin();
        let elsewhere = Witness::new(scratch.path(), "w-2", 7, 2, 3);
        elsewhere.begin();
        elsewhere.say(Word::Done);
        let other = Witness::new(scratch.path(), "w-1", 8, 1, 4);
        other.begin();
        other.say(Word::Failed);
        let read = Testimony::read(scratch.path()).unwrap();
        let seven: Vec<_> =
            read.of(7).iter().map(|one| (read.worker(one), one.attempt, one.word, one.doubled)).collect();
        assert_eq!(seven, [("w-1", 1, None, false), ("w-2", 2, Some(Word::Done), false)]);
        assert_eq!(read.of(7)[0].end, Moment::NEVER);
        assert_eq!(read.of(8)[0].word, Some(Word::Failed));
        assert!(read.of(9).is_empty());
    }

    #[test]
    fn the_same_run_alive_twice_on_a_host_is_seen_until_the_first_is_gone() {
        let scratch = Scratch::new("testimony");
        let attempt = |attempt| {
            let witness = Witness::new(scratch.path(), "w-1", 7, attempt, 0);
            witness.begin();
            witness
        };
        let first = attempt(1);
        attempt(2);
        drop(first);
        attempt(3);
        let read = Testimony::read(scratch.path()).unwrap();
        let doubled: Vec<bool> = read.of(7).iter().map(|one| one.doubled).collect();
        assert_eq!(doubled, [false, true, false]);
    }
}
