//! Images that the project makes itself, from embedded static binaries: nothing is ever pulled for Kontiki's own
//! sake.
//!
//! An image is the archive that `docker load` takes. Its bytes depend on the content alone (no times, no names of
//! the machine), so every node gives it the same id.

use bytes::Bytes;
use serde_json::json;
use sha2::{Digest, Sha256};

/// Reference of the pause image.
pub const PAUSE_IMAGE: &str = "kontiki/pause:1";
/// Repository of the sample server's images, tagged `v1`, `v2`, ...
pub const SAMPLE_REPOSITORY: &str = "kontiki-sample";

const PAUSE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/pause"));
const SAMPLE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/sample"));

/// Archive of the pause image.
pub fn build_pause() -> Bytes {
    build(PAUSE_IMAGE, "pause", PAUSE, &[])
}

/// Archive of the sample server's image for a version, tagged `kontiki-sample:VERSION`.
pub fn build_sample(version: &str) -> Bytes {
    let reference = format!("{SAMPLE_REPOSITORY}:{version}");
    build(
        &reference,
        "kontiki-sample",
        SAMPLE,
        &[format!("VERSION={version}")],
    )
}

/// An image with one program at its root, as entry point.
pub fn build(reference: &str, program: &str, binary: &[u8], env: &[String]) -> Bytes {
    let mut layer = Tar::default();
    for folder in ["dev/", "etc/", "proc/", "sys/", "tmp/"] {
        layer.add(folder, 0o755, b'5', &[]);
    }
    layer.add(program, 0o755, b'0', binary);
    let layer = layer.finish();
    let layer_digest = hex(&layer);
    let env = [&["PATH=/".to_owned()], env].concat();
    let config = json!({
        "architecture": architecture(),
        "os": "linux",
        "config": {
            "Entrypoint": [format!("/{program}")],
            "Env": env,
            "WorkingDir": "/",
        },
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{layer_digest}")] },
    })
    .to_string();
    let config_name = format!("{}.json", hex(config.as_bytes()));
    let layer_name = format!("{layer_digest}/layer.tar");
    let manifest =
        json!([{ "Config": config_name, "RepoTags": [reference], "Layers": [layer_name] }]);

    let mut archive = Tar::default();
    archive.add(&format!("{layer_digest}/"), 0o755, b'5', &[]);
    archive.add(&layer_name, 0o644, b'0', &layer);
    archive.add(&config_name, 0o644, b'0', config.as_bytes());
    archive.add(
        "manifest.json",
        0o644,
        b'0',
        manifest.to_string().as_bytes(),
    );
    Bytes::from(archive.finish())
}

/// Docker's word for this machine's processor.
pub const fn architecture() -> &'static str {
    if cfg!(target_arch = "aarch64") {
        "arm64"
    } else {
        "amd64"
    }
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// A minimal writer of ustar archives: root's files, time zero.
#[derive(Default)]
struct Tar(Vec<u8>);

impl Tar {
    fn add(&mut self, path: &str, mode: u32, kind: u8, content: &[u8]) {
        assert!(path.len() <= 100, "paths of our images are short");
        let mut header = [0u8; 512];
        header[..path.len()].copy_from_slice(path.as_bytes());
        octal(&mut header[100..108], u64::from(mode));
        octal(&mut header[108..116], 0);
        octal(&mut header[116..124], 0);
        octal(&mut header[124..136], content.len() as u64);
        octal(&mut header[136..148], 0);
        header[148..156].fill(b' ');
        header[156] = kind;
        header[257..265].copy_from_slice(b"ustar\x0000");
        let sum: u64 = header.iter().map(|byte| u64::from(*byte)).sum();
        octal(&mut header[148..155], sum);
        self.0.extend_from_slice(&header);
        self.0.extend_from_slice(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
    }

    fn finish(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 1024, 0);
        self.0
    }
}

/// Octal digits with a closing NUL, as tar wants its numbers.
fn octal(field: &mut [u8], number: u64) {
    let width = field.len() - 1;
    let digits = format!("{number:0width$o}");
    field[..width].copy_from_slice(digits.as_bytes());
    field[width] = 0;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_content_gives_the_same_image() {
        assert_eq!(build_sample("v1"), build_sample("v1"));
        assert_ne!(build_sample("v1"), build_sample("v2"));
    }

    #[test]
    fn embedded_programs_are_static_binaries() {
        for binary in [PAUSE, SAMPLE] {
            assert!(binary.starts_with(b"\x7fELF"));
            let number = |at: usize, n_bytes: usize| {
                binary[at..at + n_bytes]
                    .iter()
                    .rev()
                    .fold(0, |sum, byte| sum << 8 | *byte as usize)
            };
            let (table, entry_size, n_entries) = (number(32, 8), number(54, 2), number(56, 2));
            let kinds = (0..n_entries).map(|idx| number(table + idx * entry_size, 4));
            // Type 3 names a dynamic loader.
            assert!(kinds.clone().count() > 0 && kinds.clone().all(|kind| kind != 3));
        }
    }

    #[test]
    fn archives_are_whole_blocks_with_checked_headers() {
        let archive = build("x:1", "x", b"binary", &[]);
        assert_eq!(archive.len() % 512, 0);
        let mut header = archive[..512].to_vec();
        let stored = std::str::from_utf8(&header[148..154]).unwrap();
        let stored = u64::from_str_radix(stored, 8).unwrap();
        header[148..156].fill(b' ');
        assert_eq!(
            stored,
            header.iter().map(|byte| u64::from(*byte)).sum::<u64>()
        );
    }
}
