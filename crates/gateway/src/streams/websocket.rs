//! WebSocket (RFC 6455) on the server's side: frames in and out, without extensions.
//!
//! Messages are never held whole: a reader gives the pieces as they come, so that a client may send a message of any
//! size and costs one buffer. Deliberately absent: what a message means (`channels`).

mod carry;
pub mod channels;
mod read;
mod write;

pub use carry::carry;
pub use read::{Event, Piece, Reader};
pub use write::Writer;

/// Codes of a close (RFC 6455, 7.4.1).
pub mod code {
    /// All is done.
    pub const NORMAL: u16 = 1000;
    /// The peer does not speak the protocol.
    pub const PROTOCOL: u16 = 1002;
}

const CONTINUATION: u8 = 0x0;
const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xA;

/// What the reading half has the writing half say.
#[derive(Debug)]
pub enum Answer {
    /// The answer to a ping.
    Pong(bytes::Bytes),
    /// The last word, with its code.
    Close(u16),
}

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
