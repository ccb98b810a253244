//! What the program and its helper say to each other, and how it is framed.

use crate::changes::Captured;
use crate::error::Fault;
use crate::event::Status;
use crate::probe::Check;
use crate::session::Session;
use crate::wire::{Malformed, Wire, decode, wire_enum};
use rustix::io::Errno;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

/// From the program to the helper.
#[derive(Debug)]
pub(crate) enum Order {
    /// The id maps have been written.
    Mapped,
    /// Run these steps, the commands in this control group.
    Run { session: Session, group: Option<PathBuf> },
    /// Try everything and report; nothing is kept.
    Probe,
    /// Empty this scratch directory.
    Sweep { scratch: PathBuf },
}

/// From the helper to the program.
#[derive(Debug)]
pub(crate) enum Report {
    /// The helper is in its user namespace and waits for its id maps.
    NeedMaps,
    Started {
        index: usize,
    },
    Line {
        index: usize,
        err: bool,
        text: Vec<u8>,
    },
    Ended {
        index: usize,
        status: Status,
        seconds: f64,
    },
    Captured(Captured),
    Checked {
        checks: Vec<Check>,
    },
    Swept,
    Failed(Fault),
}

wire_enum!(Order { 0 => Mapped, 1 => Run { session, group }, 2 => Probe, 3 => Sweep { scratch } });
wire_enum!(Report {
    0 => NeedMaps,
    1 => Started { index },
    2 => Line { index, err, text },
    3 => Ended { index, status, seconds },
    4 => Captured(captured),
    5 => Checked { checks },
    6 => Swept,
    7 => Failed(fault)
});

/// Largest message, in bytes: a session that places big files, or a capture of a million
/// entries; far below what would hurt.
const MAX_MESSAGE: u64 = 1 << 30;

/// Why no message came.
#[derive(Debug)]
pub(crate) enum Broken {
    /// The other side closed its end.
    Closed,
    /// A system call failed.
    Failed(Errno),
    /// The bytes make no sense.
    Malformed,
}

impl From<Malformed> for Broken {
    fn from(_: Malformed) -> Broken {
        Broken::Malformed
    }
}

/// One end of the stream socket between the two.
#[derive(Debug)]
pub(crate) struct Control(pub(crate) OwnedFd);

impl AsFd for Control {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Control {
    /// Sends a message; blocks while the other side is busy.
    pub(crate) fn send<T: Wire>(&self, message: &T) -> Result<(), Broken> {
        let mut bytes = vec![0; 8];
        message.put(&mut bytes);
        let len = (bytes.len() - 8) as u64;
        bytes[..8].copy_from_slice(&len.to_le_bytes());
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            // No signal: a program that goes away shows as EPIPE.
            match rustix::net::send(&self.0, rest, rustix::net::SendFlags::NOSIGNAL) {
                Ok(n) => rest = &rest[n..],
                Err(Errno::INTR) => {}
                Err(Errno::PIPE | Errno::CONNRESET) => return Err(Broken::Closed),
                Err(errno) => return Err(Broken::Failed(errno)),
            }
        }
        Ok(())
    }

    fn fill(&self, buffer: &mut [u8]) -> Result<(), Broken> {
        let mut done = 0;
        while done < buffer.len() {
            match rustix::io::read(&self.0, &mut buffer[done..]) {
                Ok(0) | Err(Errno::CONNRESET) => return Err(Broken::Closed),
                Ok(n) => done += n,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(Broken::Failed(errno)),
            }
        }
        Ok(())
    }

    /// Waits for a whole message.
    pub(crate) fn receive<T: Wire>(&self) -> Result<T, Broken> {
        let mut header = [0; 8];
        self.fill(&mut header)?;
        let len = u64::from_le_bytes(header);
        if len > MAX_MESSAGE {
            return Err(Broken::Malformed);
        }
        let mut bytes = vec![0; usize::try_from(len).map_err(|_| Broken::Malformed)?];
        self.fill(&mut bytes)?;
        Ok(decode(&bytes)?)
    }

    /// Whether the other side has closed its end, without waiting.
    pub(crate) fn is_closed(&self) -> bool {
        let mut byte = [0u8];
        let flags = rustix::net::RecvFlags::PEEK | rustix::net::RecvFlags::DONTWAIT;
        match rustix::net::recv(&self.0, &mut byte, flags) {
            Ok((0, _)) => true,
            Ok(_) | Err(Errno::AGAIN | Errno::INTR) => false,
            Err(_) => true,
        }
    }
}
