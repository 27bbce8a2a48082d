//! Words that are too many for memory, in a file without a name: it is gone with its supervisor, however that ends.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::PathBuf;

/// A queue of bytes on disk. There is no file while it is empty.
#[derive(Debug)]
pub(super) struct Spill {
    directory: PathBuf,
    file: Option<File>,
    read: u64,
    written: u64,
}

impl Spill {
    pub fn new(directory: PathBuf) -> Self {
        Self { directory, file: None, read: 0, written: 0 }
    }

    pub fn len(&self) -> u64 {
        self.written - self.read
    }

    /// All of it or nothing.
    ///
    /// # Errors
    /// The disk is full, for example.
    pub fn push(&mut self, bytes: &[u8]) -> io::Result<()> {
        let file = match &self.file {
            Some(file) => file,
            None => self.file.insert(self.create()?),
        };
        file.write_all_at(bytes, self.written)?;
        self.written += bytes.len() as u64;
        Ok(())
    }

    /// The oldest bytes, so many at most.
    ///
    /// # Errors
    /// They cannot be read; all is dropped.
    pub fn pop(&mut self, count: usize) -> io::Result<Vec<u8>> {
        let count = usize::try_from(self.len()).unwrap_or(usize::MAX).min(count);
        let mut bytes = vec![0; count];
        let done = self.file.as_ref().map_or(Ok(()), |file| file.read_exact_at(&mut bytes, self.read));
        self.read += count as u64;
        if done.is_err() || self.len() == 0 {
            (self.file, self.read, self.written) = (None, 0, 0);
        }
        done.map(|()| bytes)
    }

    fn create(&self) -> io::Result<File> {
        let path = self.directory.join(format!("{}.words", std::process::id()));
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(true).mode(0o600).open(&path)?;
        match fs::remove_file(&path) {
            // A daemon that looks for doors has swept it away.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(file),
            removed => removed.map(|()| file),
        }
    }
}
