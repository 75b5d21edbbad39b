//! Writing a server's frames: one a message, unmasked.

use tokio::io::{AsyncWrite, AsyncWriteExt as _};

use super::{BINARY, CLOSE, PONG, TEXT};

/// The writing half.
pub struct Writer<W> {
    io: W,
    /// A frame in the making: header and payload leave in one write.
    frame: Vec<u8>,
}

impl<W: AsyncWrite + Unpin> Writer<W> {
    /// Writes to `io`.
    pub fn new(io: W) -> Self {
        Self {
            io,
            frame: Vec::new(),
        }
    }

    /// A message of bytes, in parts.
    pub async fn binary(&mut self, parts: &[&[u8]]) -> std::io::Result<()> {
        self.send(BINARY, parts).await
    }

    /// A message of text, in parts.
    pub async fn text(&mut self, parts: &[&[u8]]) -> std::io::Result<()> {
        self.send(TEXT, parts).await
    }

    /// The answer to a ping.
    pub async fn pong(&mut self, data: &[u8]) -> std::io::Result<()> {
        self.send(PONG, &[data]).await
    }

    /// The last frame.
    pub async fn close(&mut self, code: u16) -> std::io::Result<()> {
        self.send(CLOSE, &[&code.to_be_bytes()]).await
    }

    /// Ends the connection.
    pub async fn shutdown(&mut self) {
        // A client that has gone away needs no end.
        let _ = self.io.shutdown().await;
    }

    async fn send(&mut self, opcode: u8, parts: &[&[u8]]) -> std::io::Result<()> {
        let n_bytes: usize = parts.iter().map(|part| part.len()).sum();
        self.frame.clear();
        self.frame.push(0x80 | opcode);
        match n_bytes {
            short @ 0..=125 => self.frame.push(short as u8),
            medium @ 126..=0xFFFF => {
                self.frame.push(126);
                self.frame.extend_from_slice(&(medium as u16).to_be_bytes());
            }
            long => {
                self.frame.push(127);
                self.frame.extend_from_slice(&(long as u64).to_be_bytes());
            }
        }
        for part in parts {
            self.frame.extend_from_slice(part);
        }
        self.io.write_all(&self.frame).await?;
        self.io.flush().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lengths_are_written_in_their_shortest_form() {
        for (n_bytes, header) in [
            (0, vec![0x82, 0]),
            (125, vec![0x82, 125]),
            (126, vec![0x82, 126, 0, 126]),
            (65_535, vec![0x82, 126, 0xFF, 0xFF]),
            (65_536, vec![0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let mut written = Vec::new();
            let payload = vec![1; n_bytes];
            let parts = payload.split_at(n_bytes / 2);
            Writer::new(&mut written)
                .binary(&[parts.0, parts.1])
                .await
                .unwrap();
            assert_eq!(written[..header.len()], header);
            assert_eq!(written[header.len()..], payload);
        }
    }
}
