//! Blocks of headers: names and values after their lengths, compressed by one zlib stream for the whole connection.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use super::Error;
use super::dictionary::DICTIONARY;

/// Largest block once it is decompressed: what a small frame may make of itself ends here.
const BLOCK_BYTES: usize = 64 * 1024;
/// Decompressed at once.
const STEP_BYTES: usize = 4 * 1024;
/// Headers of one block.
const HEADERS: u32 = 64;

/// Names (lower-case) and values; several values of a name are parted by NUL.
pub type Headers = Vec<(String, String)>;

/// Reads blocks.
pub struct Decoder(Decompress);

impl Default for Decoder {
    fn default() -> Self {
        Self(Decompress::new(true))
    }
}

impl Decoder {
    /// Reads a block. After an error the stream is broken, and so is the connection.
    pub fn decode(&mut self, block: &[u8]) -> Result<Headers, Error> {
        parse(&self.inflate(block)?)
    }

    fn inflate(&mut self, mut block: &[u8]) -> Result<Vec<u8>, Error> {
        let broken = Error::Protocol("headers are not compressed as agreed");
        let mut plain = Vec::new();
        let mut step = vec![0; STEP_BYTES];
        loop {
            let before = (self.0.total_in(), self.0.total_out());
            let outcome = self.0.decompress(block, &mut step, FlushDecompress::Sync);
            let n_taken = (self.0.total_in() - before.0) as usize;
            let n_made = (self.0.total_out() - before.1) as usize;
            block = block.get(n_taken..).unwrap_or_default();
            plain.extend_from_slice(&step[..n_made]);
            if plain.len() > BLOCK_BYTES {
                return Err(Error::Protocol("headers are too long"));
            }
            match outcome {
                Err(error) if error.needs_dictionary().is_some() => {
                    let set = self.0.set_dictionary(&DICTIONARY);
                    set.map_err(|_| Error::Protocol("headers use another dictionary"))?;
                }
                Err(_) | Ok(Status::StreamEnd) => return Err(broken),
                // Done once nothing is left to take and the last step had room to spare.
                Ok(_) if block.is_empty() && n_made < step.len() => return Ok(plain),
                Ok(_) if n_taken == 0 && n_made == 0 => return Err(broken),
                Ok(_) => {}
            }
        }
    }
}

fn parse(block: &[u8]) -> Result<Headers, Error> {
    let short = || Error::Protocol("headers end too early");
    let mut rest = block;
    let n_headers = take_number(&mut rest).ok_or_else(short)?;
    if n_headers > HEADERS {
        return Err(Error::Protocol("too many headers"));
    }
    let mut headers = Headers::new();
    for _ in 0..n_headers {
        let name = take_text(&mut rest).ok_or_else(short)?;
        let value = take_text(&mut rest).ok_or_else(short)?;
        headers.push((name.to_ascii_lowercase(), value));
    }
    Ok(headers)
}

fn take_number(rest: &mut &[u8]) -> Option<u32> {
    let (number, after) = rest.split_first_chunk::<4>()?;
    *rest = after;
    Some(u32::from_be_bytes(*number))
}

fn take_text(rest: &mut &[u8]) -> Option<String> {
    let n_bytes = take_number(rest)? as usize;
    let (text, after) = rest.split_at_checked(n_bytes)?;
    *rest = after;
    Some(String::from_utf8_lossy(text).into_owned())
}

/// Writes blocks.
pub struct Encoder(Compress);

impl Default for Encoder {
    fn default() -> Self {
        let mut compress = Compress::new(Compression::fast(), true);
        // It fails on a stream that has begun, which this one has not.
        let set = compress.set_dictionary(&DICTIONARY);
        debug_assert!(set.is_ok(), "a fresh stream takes a dictionary");
        Self(compress)
    }
}

impl Encoder {
    /// Writes a block.
    pub fn encode(&mut self, headers: &[(&str, &str)]) -> Vec<u8> {
        let mut plain = (headers.len() as u32).to_be_bytes().to_vec();
        for text in headers.iter().flat_map(|(name, value)| [name, value]) {
            plain.extend_from_slice(&(text.len() as u32).to_be_bytes());
            plain.extend_from_slice(text.as_bytes());
        }
        // Incompressible text grows by some bytes a block; a flush and the stream's head come on top.
        let mut packed = Vec::with_capacity(2 * plain.len() + 128);
        let done = self
            .0
            .compress_vec(&plain, &mut packed, FlushCompress::Sync);
        debug_assert!(done.is_ok() && packed.len() < packed.capacity());
        packed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_of_one_connection_are_read_in_order() {
        let (mut encoder, mut decoder) = (Encoder::default(), Decoder::default());
        for round in 0..3 {
            let value = round.to_string();
            let block = encoder.encode(&[("streamtype", "data"), ("port", &value)]);
            let headers = decoder.decode(&block).unwrap();
            assert_eq!(headers[0], ("streamtype".into(), "data".into()));
            assert_eq!(headers[1], ("port".into(), value));
        }
        assert_eq!(decoder.decode(&encoder.encode(&[])).unwrap(), []);
    }

    #[test]
    fn hostile_blocks_are_refused_at_their_limit() {
        let packed = |plain: &[u8]| {
            let mut compress = Compress::new(Compression::best(), true);
            compress.set_dictionary(&DICTIONARY).unwrap();
            let mut packed = Vec::with_capacity(plain.len() + 128);
            compress
                .compress_vec(plain, &mut packed, FlushCompress::Sync)
                .unwrap();
            packed
        };
        let bomb = packed(&vec![0; 8 * 1024 * 1024]);
        assert!(bomb.len() < 16 * 1024, "it fits into a control frame");
        for (why, block) in [
            ("a bomb", bomb),
            ("no zlib", vec![0xFF; 64]),
            ("nothing", Vec::new()),
            ("many", packed(&u32::MAX.to_be_bytes())),
            ("long name", packed(&[0, 0, 0, 1, 0xFF, 0xFF, 0xFF, 0xFF])),
            ("cut", packed(&[0, 0, 0, 1, 0, 0, 0, 1, b'a'])),
        ] {
            assert!(Decoder::default().decode(&block).is_err(), "{why}");
        }
    }
}
