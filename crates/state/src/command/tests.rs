//! Encodings: golden bytes that must decode for ever, limits, and garbage.

use std::path::PathBuf;

use kontiki_base::random::{Random, SeededRandom};

use super::*;
use crate::{Object, OpResult};

fn header() -> Header {
    Header {
        uid: Arc::from("0b8c"),
        labels: vec![(Arc::from("app"), Arc::from("web"))],
        fields: vec![(Arc::from("spec.nodeName"), Arc::from("n1"))],
        owners: vec![Arc::from("77aa")],
        deleting: true,
    }
}

fn every_op() -> Vec<Op> {
    let key = Key::new("pods", "default", "web");
    let pre = Precondition {
        uid: Some(Arc::from("0b8c")),
        revision: Some(300),
    };
    let bytes = Bytes::from_static(br#"{"metadata":{"name":"web"}}"#);
    vec![
        Op::Create {
            key: key.clone(),
            header: header(),
            bytes: bytes.clone(),
        },
        Op::Update {
            key: key.clone(),
            pre: pre.clone(),
            header: header(),
            bytes,
        },
        Op::Delete {
            key: key.clone(),
            pre,
        },
        Op::Check {
            key,
            pre: Precondition::NONE,
            not_deleting: true,
        },
    ]
}

fn batch() -> Command {
    let proposal = Proposal {
        ops: every_op(),
        atomic: true,
        fence: Some(7),
        id: 1 << 40,
    };
    Command::Batch {
        proposals: vec![proposal, Proposal::default()],
    }
}

/// Compares with `tests/golden/state-v1-NAME.bin`. Only `KONTIKI_GOLDEN=write` writes a file that is missing; one that
/// exists is never rewritten.
fn golden(name: &str, encoded: &[u8]) -> Vec<u8> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden");
    let path = folder.join(format!("state-v1-{name}.bin"));
    if !path.exists() && std::env::var_os("KONTIKI_GOLDEN").is_some_and(|value| value == "write") {
        std::fs::write(&path, encoded).unwrap();
    }
    let stored = std::fs::read(&path).unwrap_or_else(|error| {
        panic!(
            "{}: {error}; KONTIKI_GOLDEN=write writes it",
            path.display()
        )
    });
    assert_eq!(
        stored, encoded,
        "{name}: version 1 changed; append, or take another version byte"
    );
    stored
}

#[test]
fn golden_bytes_of_version_1_decode() {
    let compact = Command::Compact { below: 12 };
    let value = Bytes::from_static(b"{\"level\":1}");
    let configure = Command::Configure {
        name: Arc::from("level"),
        value,
    };
    for (name, command) in [
        ("batch", batch()),
        ("compact", compact),
        ("configure", configure),
    ] {
        assert_eq!(
            Command::decode(&golden(name, &command.encode())).unwrap(),
            command
        );
    }
    let bytes = Bytes::from_static(br#"{"metadata":{"name":"web"}}"#);
    let object = Object::new(Key::new("pods", "default", "web"), 300, 12, header(), bytes);
    assert_eq!(
        Object::decode(&golden("object", &object.encode())).unwrap(),
        object
    );
    let results = vec![
        OpResult::Done {
            revision: 300,
            object: None,
        },
        OpResult::AlreadyExists { current: 2 },
        OpResult::NotFound,
        OpResult::Conflict {
            current: 3,
            uid_mismatch: true,
        },
        OpResult::Deleting,
        OpResult::Fenced { term: 4 },
        OpResult::Aborted,
    ];
    let stored = golden("results", &OpResult::encode_all(&results));
    assert_eq!(OpResult::decode_all(&stored).unwrap(), results);
}

#[test]
fn garbage_is_an_error_and_never_a_panic() {
    let good = batch().encode();
    assert!(
        batch().size_bytes() + 64 >= good.len(),
        "the estimate is on the safe side"
    );
    let random = SeededRandom::new(1);
    for _ in 0..20_000 {
        let mut bad = good.clone();
        let at = random.below(bad.len() as u64) as usize;
        bad[at] = random.bits() as u8;
        bad.truncate(1 + random.below(good.len() as u64) as usize);
        if let Ok(command) = Command::decode(&bad) {
            assert_eq!(Command::decode(&command.encode()).unwrap(), command);
        }
    }
    let mut long = good;
    long.push(0);
    let error = Command::decode(&long).unwrap_err().to_string();
    assert!(error.contains("1 bytes too many"), "{error}");
    assert_eq!(Command::decode(&[2]).unwrap_err(), DecodeError::Version(2));
}

#[test]
fn proposals_beyond_the_limits_are_refused() {
    let check = every_op().pop().unwrap();
    let many = Proposal::batch(vec![check; limits::PROPOSAL_OPS + 1]);
    assert!(
        Proposal::decode(&many.encode())
            .unwrap_err()
            .to_string()
            .contains("at most 4096")
    );
    let key = Key::new("configmaps", "default", "big");
    let bytes = Bytes::from(vec![b'x'; limits::OBJECT_BYTES + 1]);
    let big = Proposal::batch(vec![Op::Create {
        key,
        header: header(),
        bytes,
    }]);
    assert!(matches!(
        big.admissible(),
        Err(DecodeError::TooLarge { .. })
    ));
    let nameless = Op::Delete {
        key: Key::new("pods", "a", ""),
        pre: Precondition::NONE,
    };
    let nameless = Proposal::batch(vec![nameless]);
    assert!(matches!(
        nameless.admissible(),
        Err(DecodeError::Refused(_))
    ));
}
