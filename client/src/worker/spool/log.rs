//! An append-only log in segment files. A frame is its length, the CRC-32C of its body (both 32 bits, little endian), and the body.
//! A segment is removed once all its frames have been released.

use std::{
    collections::BTreeMap,
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io,
    os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use crc::{CRC_32_ISCSI, Crc, Table};

static CRC32C: Crc<u32, Table<1>> = Crc::<u32, Table<1>>::new(&CRC_32_ISCSI);

/// Bytes after which a new segment is begun.
const SEGMENT: u64 = 4 << 20;
const HEADER: usize = 8;
/// A length beyond this was never written: the frame is damaged. Bodies hold at most a result and a batch of messages.
const LARGEST_BODY: u32 = 8 << 20;

/// Why a worker cannot use its directory.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error("use the spool directory {}: another worker with this name is running on this host", .0.display())]
    InUse(PathBuf),
    #[error("use the spool directory {path}: {1}", path = .0.display())]
    Io(PathBuf, #[source] io::Error),
}

/// Where a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Location {
    pub(super) segment: u64,
    pub(super) offset: u64,
    pub(super) length: u32,
}

#[derive(Debug)]
struct Segment {
    file: File,
    length: u64,
    /// Frames that have not been released.
    live: u64,
}

/// The log of one worker. Its directory is locked as long as this value lives.
#[derive(Debug)]
pub struct Log {
    directory: PathBuf,
    segments: BTreeMap<u64, Segment>,
    /// The segment that is appended to; begun at the first need.
    active: Option<u64>,
    _lock: File,
}

impl Log {
    /// Opens the log and hands every undamaged frame to `each`, oldest first. What follows the first damaged frame of a segment, such
    /// as a tail torn by a crash, is cut off.
    pub fn open(directory: &Path, mut each: impl FnMut(Location, &[u8])) -> Result<Self, LogError> {
        let failed = |error| LogError::Io(directory.to_owned(), error);
        DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(failed)?;
        let lock = create(&directory.join("lock")).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(LogError::InUse(directory.to_owned())),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        let mut log =
            Self { directory: directory.to_owned(), segments: BTreeMap::new(), active: None, _lock: lock };
        for id in log.on_disk().map_err(failed)? {
            let segment = log.read_segment(id, &mut each).map_err(failed)?;
            log.segments.insert(id, segment);
        }
        Ok(log)
    }

    /// Writes a frame, which is on disk for certain only after [`Log::sync`]. If it fails nothing of the frame stays.
    pub fn append(&mut self, body: &[u8]) -> io::Result<Location> {
        let id = self.active_segment()?;
        let segment = self.segments.get_mut(&id).expect("the active segment exists");
        let mut frame = Vec::with_capacity(HEADER + body.len());
        frame.extend((body.len() as u32).to_le_bytes());
        frame.extend(CRC32C.checksum(body).to_le_bytes());
        frame.extend(body);
        if let Err(error) = segment.file.write_all_at(&frame, segment.length) {
            // A part of it may be there. Should cutting fail too, the next frame is written over it, or a reader finds it torn.
            if let Err(cut) = segment.file.set_len(segment.length) {
                tracing::warn!(segment = id, error = %cut, "cannot cut a torn frame");
            }
            return Err(error);
        }
        let location = Location { segment: id, offset: segment.length, length: body.len() as u32 };
        segment.length += frame.len() as u64;
        segment.live += 1;
        Ok(location)
    }

    /// Returns once all that was appended is on disk.
    pub fn sync(&mut self) -> io::Result<()> {
        match self.active.and_then(|id| self.segments.get(&id)) {
            Some(segment) => segment.file.sync_data(),
            None => Ok(()),
        }
    }

    /// The body of a frame that has not been released.
    pub fn read(&self, location: Location) -> io::Result<Vec<u8>> {
        let segment = self.segments.get(&location.segment).ok_or(io::ErrorKind::NotFound)?;
        let mut body = vec![0; location.length as usize];
        segment.file.read_exact_at(&mut body, location.offset + HEADER as u64)?;
        Ok(body)
    }

    /// The frame is not needed any more.
    pub fn release(&mut self, location: Location) {
        let Some(segment) = self.segments.get_mut(&location.segment) else { return };
        segment.live = segment.live.saturating_sub(1);
        if segment.live == 0 && self.active != Some(location.segment) {
            self.remove(location.segment);
        }
    }

    /// Bytes on disk, those of released frames in segments that are still needed included.
    pub fn bytes(&self) -> u64 {
        self.segments.values().map(|segment| segment.length).sum()
    }

    fn active_segment(&mut self) -> io::Result<u64> {
        if let Some(id) = self.active {
            let segment = &self.segments[&id];
            if segment.length < SEGMENT {
                return Ok(id);
            }
            // Reports rely on the ends in it, and from now on only the new segment is synced.
            segment.file.sync_data()?;
            let empty = segment.live == 0;
            self.active = None;
            if empty {
                self.remove(id);
            }
        }
        let id = self.segments.last_key_value().map_or(1, |(id, _)| id + 1);
        let file = create(&self.path(id))?;
        File::open(&self.directory)?.sync_all()?;
        self.segments.insert(id, Segment { file, length: 0, live: 0 });
        self.active = Some(id);
        Ok(id)
    }

    fn read_segment(&self, id: u64, each: &mut impl FnMut(Location, &[u8])) -> io::Result<Segment> {
        let path = self.path(id);
        let bytes = fs::read(&path)?;
        let file = create(&path)?;
        let mut segment = Segment { file, length: 0, live: 0 };
        while let Some(body) = frame(&bytes[segment.length as usize..]) {
            each(Location { segment: id, offset: segment.length, length: body.len() as u32 }, body);
            segment.length += (HEADER + body.len()) as u64;
            segment.live += 1;
        }
        let torn = bytes.len() as u64 - segment.length;
        if torn > 0 {
            tracing::warn!(segment = %path.display(), bytes = torn, "cut a torn tail off the spool");
            segment.file.set_len(segment.length)?;
        }
        Ok(segment)
    }

    fn on_disk(&self) -> io::Result<Vec<u64>> {
        let mut ids = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let name = entry?.file_name();
            ids.extend(name.to_str().and_then(|name| name.strip_suffix(".log")?.parse::<u64>().ok()));
        }
        ids.sort_unstable();
        Ok(ids)
    }

    fn remove(&mut self, id: u64) {
        self.segments.remove(&id);
        if let Err(error) = fs::remove_file(self.path(id)) {
            tracing::warn!(segment = id, %error, "cannot remove a segment of the spool; it is reported again at the next start");
        }
    }

    fn path(&self, id: u64) -> PathBuf {
        self.directory.join(format!("{id:010}.log"))
    }
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

fn frame(bytes: &[u8]) -> Option<&[u8]> {
    let (header, rest) = bytes.split_at_checked(HEADER)?;
    let number =
        |at: usize| u32::from_le_bytes(header[at..at + 4].try_into().expect("a header has two numbers"));
    let (length, crc) = (number(0), number(4));
    let body = rest.get(..length as usize)?;
    (length <= LARGEST_BODY && length > 0 && CRC32C.checksum(body) == crc).then_some(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(directory: &Path) -> (Log, Vec<Vec<u8>>) {
        let mut bodies = Vec::new();
        let log = Log::open(directory, |_, body| bodies.push(body.to_vec())).unwrap();
        (log, bodies)
    }

    #[test]
    fn frames_are_read_back_in_order_after_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        let (mut log, none) = open(directory.path());
        assert!(none.is_empty());
        let places: Vec<_> =
            ["a", "bb", "ccc"].iter().map(|body| log.append(body.as_bytes()).unwrap()).collect();
        log.sync().unwrap();
        assert_eq!(log.read(places[1]).unwrap(), b"bb");
        drop(log);
        let (log, bodies) = open(directory.path());
        assert_eq!(bodies, [b"a".to_vec(), b"bb".to_vec(), b"ccc".to_vec()]);
        assert_eq!(log.read(places[2]).unwrap(), b"ccc");
    }

    #[test]
    fn a_tail_torn_at_any_byte_is_cut_and_the_rest_kept() {
        let directory = tempfile::tempdir().unwrap();
        let (mut log, _) = open(directory.path());
        log.append(b"first").unwrap();
        log.append(b"second").unwrap();
        let path = log.path(1);
        drop(log);
        let whole = fs::read(&path).unwrap();
        for length in 0..whole.len() {
            fs::write(&path, &whole[..length]).unwrap();
            let (mut log, bodies) = open(directory.path());
            assert_eq!(bodies.len(), usize::from(length >= HEADER + 5), "cut after {length} bytes");
            log.append(b"third").unwrap();
            drop(log);
            assert_eq!(open(directory.path()).1.last().unwrap(), b"third");
            for id in open(directory.path()).0.segments.into_keys() {
                fs::remove_file(directory.path().join(format!("{id:010}.log"))).unwrap();
            }
        }
    }

    #[test]
    fn a_damaged_byte_is_noticed_wherever_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let (mut log, _) = open(directory.path());
        log.append(b"something").unwrap();
        let path = log.path(1);
        drop(log);
        let whole = fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x40;
            fs::write(&path, damaged).unwrap();
            assert!(open(directory.path()).1.is_empty(), "byte {at}");
        }
    }

    #[test]
    fn a_segment_goes_with_the_last_of_its_frames() {
        let directory = tempfile::tempdir().unwrap();
        let (mut log, _) = open(directory.path());
        let body = vec![7; SEGMENT as usize / 2];
        let places: Vec<_> = (0..6).map(|_| log.append(&body).unwrap()).collect();
        assert_eq!(log.segments.len(), 3);
        log.release(places[0]);
        assert_eq!(log.segments.len(), 3);
        log.release(places[1]);
        assert_eq!((log.segments.len(), log.path(1).exists()), (2, false));
        for place in &places[2..] {
            log.release(*place);
        }
        assert_eq!(log.segments.len(), 1, "the active one stays");
        log.append(b"x").unwrap();
        assert_eq!(log.bytes(), (HEADER + 1) as u64, "until it is full");
    }

    #[test]
    fn a_directory_serves_one_worker_at_a_time() {
        let directory = tempfile::tempdir().unwrap();
        let (log, _) = open(directory.path());
        assert!(matches!(Log::open(directory.path(), |_, _| ()), Err(LogError::InUse(_))));
        drop(log);
        open(directory.path());
    }
}
