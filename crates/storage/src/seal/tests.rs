//! The sealer's keyring on disk: made late, kept through rotations and arriving snapshots, let go when nothing needs it.

use std::os::unix::fs::PermissionsExt;

use super::*;

fn sealing(dir: &Path) -> Sealing {
    Sealing {
        keyring: dir.join("pki").join(KEYRING),
        resources: Resources::default(),
    }
}

fn seal(sealer: &Sealer) -> Vec<u8> {
    let mut out = Vec::new();
    sealer.seal(b"place", b"plain", &mut out);
    out
}

#[test]
fn a_keyring_is_private_and_survives_a_rotation_in_each_of_its_steps() {
    let temp = tempfile::tempdir().unwrap();
    let sealing = sealing(temp.path());
    let sealer = Sealer::open(&sealing).unwrap();
    assert!(!sealing.keyring.exists(), "not before it is needed");
    sealer.save().unwrap();
    let mode = std::fs::metadata(&sealing.keyring).unwrap().permissions();
    assert_eq!(mode.mode() & 0o777, 0o600);
    assert!(sealer.settle(sealer.epoch()).unwrap());
    let old = seal(&sealer);
    assert!(Sealer::open(&sealing).unwrap().is_settled());

    sealer.rotate(1).unwrap();
    let again = Sealer::open(&sealing).unwrap();
    for sealer in [&sealer, &again] {
        assert_eq!((sealer.rotation(), sealer.keys().len()), (1, 2));
        assert!(!sealer.is_settled());
        assert_eq!(sealer.unseal(b"place", &old).unwrap(), b"plain");
        assert!(!sealer.is_of_writer(&old) && sealer.is_of_writer(&seal(sealer)));
    }
    assert!(again.settle(again.epoch()).unwrap());
    let last = Sealer::open(&sealing).unwrap();
    assert!(last.is_settled());
    let refusal = last.unseal(b"place", &old).unwrap_err();
    let gone = sealer.keys()[1].id;
    assert_eq!(refusal, Refusal::NoKey(gone));
    let error = last.refused(refusal, Path::new("state"), "secrets/default/x");
    let error = error.to_string();
    assert!(
        error.contains(&gone.to_string()) && error.contains(KEYRING) && !error.contains('\n'),
        "{error}"
    );
}

#[test]
fn other_resources_than_last_time_are_still_to_be_sealed() {
    let temp = tempfile::tempdir().unwrap();
    let sealing = sealing(temp.path());
    let sealer = Sealer::open(&sealing).unwrap();
    assert!(sealer.settle(sealer.epoch()).unwrap());
    for resources in [
        Resources::NONE,
        Resources::exactly(["secrets", "configmaps"]),
    ] {
        let other = Sealing {
            resources,
            ..sealing.clone()
        };
        assert!(!Sealer::open(&other).unwrap().is_settled());
    }
}

#[test]
fn keys_of_an_arriving_snapshot_stay_until_it_is_in_place_and_looked_through() {
    let temp = tempfile::tempdir().unwrap();
    let (one, two) = (temp.path().join("1"), temp.path().join("2"));
    let source = Sealer::open(&sealing(&one)).unwrap();
    let target = Sealer::open(&sealing(&two)).unwrap();
    let record = seal(&source);
    let epoch = target.epoch();
    let arriving = target.arriving(source.export().as_bytes()).unwrap();
    assert!(!target.settle(target.epoch()).unwrap(), "while it arrives");
    assert_eq!(target.unseal(b"place", &record).unwrap(), b"plain");
    assert!(target.is_of_writer(&seal(&target)), "its own key seals on");
    drop(arriving);
    assert!(!target.settle(epoch).unwrap(), "nor by an older look");
    let reopened = Sealer::open(&sealing(&two)).unwrap();
    assert_eq!(reopened.unseal(b"place", &record).unwrap(), b"plain");
    assert!(target.settle(target.epoch()).unwrap());
    assert!(target.unseal(b"place", &record).is_err());
    drop(target.arriving(b"").unwrap());
    assert!(!target.is_settled(), "plain files arrived");
    assert!(target.arriving(b"kontiki-keyring 9").is_err());
    assert!(target.arriving(&vec![b'x'; KEYRING_BYTES + 1]).is_err());
}
