//! Where frames are: in the [`Log`] of a directory, or in memory, for a worker that may forget when it ends.

use std::{collections::BTreeMap, io, path::Path};

use super::log::{Location, Log, LogError};

/// Frames that have not been released.
#[derive(Debug)]
pub enum Frames {
    Disk(Log),
    Memory(Memory),
}

/// Frames by the number in which they came.
#[derive(Debug, Default)]
pub struct Memory {
    frames: BTreeMap<u64, Vec<u8>>,
    next: u64,
    bytes: u64,
}

impl Frames {
    /// Opens the log in `directory`, handing every frame that it has to `each`; or an empty memory.
    pub fn open(directory: Option<&Path>, each: impl FnMut(Location, &[u8])) -> Result<Self, LogError> {
        Ok(match directory {
            Some(directory) => Self::Disk(Log::open(directory, each)?),
            None => Self::Memory(Memory::default()),
        })
    }

    /// True if its methods wait for a disk.
    pub fn blocks(&self) -> bool {
        matches!(self, Self::Disk(_))
    }

    /// Keeps a frame; it is safe only after [`Frames::sync`].
    pub fn append(&mut self, body: &[u8]) -> io::Result<Location> {
        match self {
            Self::Disk(log) => log.append(body),
            Self::Memory(memory) => {
                memory.next += 1;
                memory.bytes += body.len() as u64;
                memory.frames.insert(memory.next, body.to_vec());
                Ok(Location { segment: memory.next, offset: 0, length: body.len() as u32 })
            }
        }
    }

    /// Returns once all that was appended is as safe as it gets.
    pub fn sync(&mut self) -> io::Result<()> {
        match self {
            Self::Disk(log) => log.sync(),
            Self::Memory(_) => Ok(()),
        }
    }

    /// The body of a frame that has not been released.
    pub fn read(&self, location: Location) -> io::Result<Vec<u8>> {
        match self {
            Self::Disk(log) => log.read(location),
            Self::Memory(memory) => {
                memory.frames.get(&location.segment).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
            }
        }
    }

    /// The frame is not needed any more.
    pub fn release(&mut self, location: Location) {
        match self {
            Self::Disk(log) => log.release(location),
            Self::Memory(memory) => {
                let body = memory.frames.remove(&location.segment);
                memory.bytes -= body.map_or(0, |body| body.len() as u64);
            }
        }
    }

    /// How much it takes.
    pub fn bytes(&self) -> u64 {
        match self {
            Self::Disk(log) => log.bytes(),
            Self::Memory(memory) => memory.bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_keeps_a_frame_until_it_is_released() {
        let mut frames = Frames::open(None, |_, _| panic!("there is nothing yet")).unwrap();
        let places = ["a", "bb"].map(|body| frames.append(body.as_bytes()).unwrap());
        assert_eq!((frames.read(places[1]).unwrap(), frames.bytes()), (b"bb".to_vec(), 3));
        frames.release(places[0]);
        frames.release(places[0]);
        assert_eq!(frames.bytes(), 2, "releasing twice changes nothing");
        assert!(frames.read(places[0]).is_err());
        assert_eq!(frames.read(places[1]).unwrap(), b"bb");
    }
}
