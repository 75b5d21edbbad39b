//! Bytes on disk that must be read for ever: `tests/golden/storage-*`. Sealed bytes differ with each seal, so only reading is
//! compared. Only `KONTIKI_GOLDEN=write` writes files, and only those that are missing.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use kontiki_state::{Header, Key, Object};

use crate::seal::{Resources, Sealer, Sealing};
use crate::{Entry, LogId, log, state};

fn golden(name: &str, make: impl FnOnce() -> Vec<u8>) -> Vec<u8> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden");
    let path = folder.join(format!("storage-{name}"));
    if !path.exists() && std::env::var_os("KONTIKI_GOLDEN").is_some_and(|value| value == "write") {
        std::fs::write(&path, make()).unwrap();
    }
    std::fs::read(&path).unwrap_or_else(|error| {
        let path = path.display();
        panic!("{path}: {error}; KONTIKI_GOLDEN=write writes it")
    })
}

#[test]
fn sealed_and_plain_bytes_of_older_builds_are_read() {
    let fresh = Sealer::off();
    let keyring = golden("v1-keyring.txt", || fresh.export().into_bytes());
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("ring");
    std::fs::write(&path, keyring).unwrap();
    let sealer = Sealer::open(&Sealing {
        keyring: path,
        resources: Resources::default(),
    })
    .unwrap();
    let here = Path::new("golden");

    let header = Header {
        uid: "0b8c".into(),
        ..Header::default()
    };
    let bytes = Bytes::from_static(br#"{"metadata":{"name":"web"}}"#);
    let object = Object::new(
        Key::new("secrets", "default", "web"),
        300,
        12,
        header,
        bytes,
    );
    let key = state::record::key(&object.key);
    for (name, by) in [("v1-object.bin", &fresh), ("v1-object-sealed.bin", &sealer)] {
        let record = golden(name, || state::record::encode(by, &key, &object));
        assert_eq!(
            state::record::decode(&sealer, here, &key, &record).unwrap(),
            object
        );
    }

    let entry = Entry {
        id: LogId { term: 7, index: 42 },
        payload: Bytes::from_static(b"payload \x07secrets"),
    };
    let key = log::record::key(42);
    for (name, by) in [("v1-entry.bin", &fresh), ("v2-entry-sealed.bin", &sealer)] {
        let record = golden(name, || log::record::encode(by, &entry));
        assert_eq!(
            log::record::decode(&sealer, here, &key, &record).unwrap(),
            entry
        );
    }
}
