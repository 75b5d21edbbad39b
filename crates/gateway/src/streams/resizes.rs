//! Sizes of a terminal out of a stream of JSON objects that may come in any pieces.

/// The longest object that is waited for.
const OBJECT_BYTES: usize = 256;

/// Collects pieces.
#[derive(Default)]
pub struct Resizes(Vec<u8>);

impl Resizes {
    /// Takes a piece and gives the last whole object, if one has come; what is too long to be a size is dropped.
    pub fn take(&mut self, piece: &[u8]) -> Option<Vec<u8>> {
        let mut last = None;
        for byte in piece {
            if self.0.len() < OBJECT_BYTES {
                self.0.push(*byte);
            }
            if *byte == b'}' {
                last = Some(std::mem::take(&mut self.0));
            }
        }
        last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_whole_object_counts_and_nothing_grows() {
        let mut resizes = Resizes::default();
        assert_eq!(resizes.take(b"{\"Width\":1"), None);
        let whole = resizes.take(b",\"Height\":2}\n{\"Width\":3,\"Height\":4}\n{");
        assert_eq!(whole.as_deref(), Some(&b"\n{\"Width\":3,\"Height\":4}"[..]));
        for _ in 0..100 {
            assert_eq!(resizes.take(&[b'x'; 1024]), None);
        }
        assert!(resizes.0.capacity() <= 2 * OBJECT_BYTES);
    }
}
