//! SPDY/3.1 on the server's side, as far as Kubernetes' clients speak it (client-go by `moby/spdystream`): several streams
//! over one connection, opened by the client, each with headers and two directions that end by themselves.
//!
//! Flow control by windows is part of the protocol and not of its clients: theirs neither announces room nor waits for
//! it, and a server that did would stop after 64 KiB. Window updates are read and dropped; a full queue stops the reading
//! of the whole connection instead, as upstream.
//!
//! Deliberately absent: what streams are for (`remote_command`, `port_forward`).

mod dictionary;
mod frame;
mod headers;
mod read;
#[cfg(test)]
pub mod testing;
mod write;

pub use read::{Event, Reader};
pub use write::{Gone, Sender, channel};

/// Number of a stream; a client's are odd.
pub type StreamId = u32;

/// Why a connection cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The peer does not speak the protocol.
    #[error("protocol error: {0}")]
    Protocol(&'static str),
    /// The connection broke.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// Reasons to reset a stream.
pub mod reset {
    /// The stream is not wanted.
    pub const REFUSED_STREAM: u32 = 3;
}
