//! Kubernetes' channels on a WebSocket: the first byte of a message says which, as a number or, where the rest is
//! base64, as a digit.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Buf as _, Bytes};
use tokio::io::AsyncWrite;

use super::{Error, Piece, Writer};

/// In v5: the second byte names a channel that the client closes.
const CLOSE_CHANNEL: u8 = 255;
/// Characters of base64 that stand for whole bytes together.
const GROUP: usize = 4;

/// What a piece says.
#[derive(Debug, PartialEq, Eq)]
pub enum Said {
    /// Bytes of a channel.
    Data(u8, Bytes),
    /// The client closes a channel.
    Closed(u8),
}

/// Takes messages apart.
pub struct Channels {
    is_base64: bool,
    /// The channel of the message under way; none before its first byte.
    channel: Option<u8>,
    /// Characters that wait for the rest of their group.
    rest: Vec<u8>,
}

impl Channels {
    /// `is_base64`: contents are text.
    pub fn new(is_base64: bool) -> Self {
        Self {
            is_base64,
            channel: None,
            rest: Vec::with_capacity(GROUP),
        }
    }

    /// Takes a piece of a message.
    pub fn take(&mut self, piece: Piece) -> Result<Option<Said>, Error> {
        let mut data = piece.data;
        if piece.is_first {
            self.channel = None;
            self.rest.clear();
        }
        if self.channel.is_none() && !data.is_empty() {
            let first = data.get_u8();
            self.channel = Some(match first {
                digit if self.is_base64 => digit.wrapping_sub(b'0'),
                number => number,
            });
        }
        let Some(channel) = self.channel else {
            return Ok(None);
        };
        if channel == CLOSE_CHANNEL && !self.is_base64 {
            return Ok(data.first().map(|closed| Said::Closed(*closed)));
        }
        let data = if self.is_base64 {
            self.decode(&data, piece.is_last)?
        } else {
            data
        };
        // An empty message says nothing but that its sender is there.
        Ok((!data.is_empty()).then_some(Said::Data(channel, data)))
    }

    fn decode(&mut self, text: &[u8], is_last: bool) -> Result<Bytes, Error> {
        let mut all = std::mem::take(&mut self.rest);
        all.extend_from_slice(text);
        if !is_last {
            self.rest = all.split_off(all.len() / GROUP * GROUP);
        }
        let decoded = STANDARD.decode(&all);
        let decoded = decoded.map_err(|_| Error::Protocol("the content is not base64"))?;
        Ok(decoded.into())
    }
}

/// Writes a message of a channel.
pub async fn write<W: AsyncWrite + Unpin>(
    writer: &mut Writer<W>,
    is_base64: bool,
    channel: u8,
    data: &[u8],
) -> std::io::Result<()> {
    if is_base64 {
        let text = STANDARD.encode(data);
        let digit = b'0'.wrapping_add(channel);
        return writer.text(&[&[digit], text.as_bytes()]).await;
    }
    writer.binary(&[&[channel], data]).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(channels: &mut Channels, message: &[u8], step: usize) -> Vec<Said> {
        let n_pieces = message.len().div_ceil(step);
        let pieces = message.chunks(step).enumerate().map(|(idx, data)| Piece {
            data: Bytes::copy_from_slice(data),
            is_first: idx == 0,
            is_last: idx + 1 == n_pieces,
        });
        let said: Result<Vec<_>, _> = pieces.map(|piece| channels.take(piece)).collect();
        said.unwrap().into_iter().flatten().collect()
    }

    fn joined(said: Vec<Said>) -> (u8, Vec<u8>) {
        let mut all = (u8::MAX, Vec::new());
        for said in said {
            let Said::Data(channel, data) = said else {
                panic!("{said:?}");
            };
            all.0 = channel;
            all.1.extend_from_slice(&data);
        }
        all
    }

    #[test]
    fn contents_are_the_same_in_both_forms_and_any_pieces() {
        let text = b"\x00some\xFFbytes";
        let base64 = format!("0{}", STANDARD.encode(text));
        for step in 1..20 {
            let mut channels = Channels::new(false);
            let binary = [&[0], &text[..]].concat();
            assert_eq!(
                joined(pieces(&mut channels, &binary, step)),
                (0, text.to_vec())
            );
            let mut channels = Channels::new(true);
            let said = pieces(&mut channels, base64.as_bytes(), step);
            assert_eq!(joined(said), (0, text.to_vec()), "{step}");
        }
    }

    #[test]
    fn a_channel_is_closed_by_its_own_message_and_nonsense_is_refused() {
        let mut channels = Channels::new(false);
        assert_eq!(pieces(&mut channels, &[255, 0], 2), [Said::Closed(0)]);
        assert_eq!(pieces(&mut channels, &[0], 1), []);
        let mut channels = Channels::new(true);
        let nonsense = Piece {
            data: Bytes::from_static(b"0!!!!"),
            is_first: true,
            is_last: true,
        };
        assert!(channels.take(nonsense).is_err());
    }
}
