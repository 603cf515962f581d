//! A key file in every state it can be found in.

use std::{sync::Barrier, thread};

use super::*;

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

#[test]
fn makes_a_key_once_and_for_its_owner_only() {
    let folder = folder();
    let data = folder.path().join("a/b");
    let made = load_or_create(&data).unwrap();
    let read = load_or_create(&data).unwrap();
    assert_eq!(made.reveal(), read.reveal());
    assert_eq!(made.reveal().len(), 138);
    let meta = fs::metadata(data.join(FILE)).unwrap();
    assert_eq!(meta.permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::read_dir(&data).unwrap().count(), 1, "the draft is left");
}

/// Each is process 1 of its own container.
#[test]
fn two_that_start_at_once_have_one_key() {
    for _ in 0..50 {
        let folder = folder();
        let start = Barrier::new(2);
        let made = thread::scope(|scope| {
            let both = [(); 2].map(|()| {
                scope.spawn(|| {
                    start.wait();
                    load_or_create(folder.path()).unwrap()
                })
            });
            both.map(|one| one.join().unwrap())
        });
        assert_eq!(made[0].reveal(), made[1].reveal());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}

#[test]
fn two_keys_differ() {
    let (one, other) = (Key::generate().unwrap(), Key::generate().unwrap());
    assert_ne!(one.reveal(), other.reveal());
}

#[test]
fn trims_white_space_and_closes_an_open_file() {
    let folder = folder();
    let path = folder.path().join(FILE);
    let key = Key::generate().unwrap();
    fs::write(&path, format!("\n  {}\r\n", key.reveal())).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
    assert_eq!(
        load_or_create(folder.path()).unwrap().reveal(),
        key.reveal()
    );
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn deletes_a_bad_file_and_says_why() {
    let good = Key::generate().unwrap();
    let good = good.reveal();
    let cases: [(Vec<u8>, &str); 7] = [
        (vec![], "does not begin"),
        (
            good.replace("docker_ps_", "docker-ps-").into(),
            "does not begin",
        ),
        (good[..137].into(), "length"),
        (format!("{good}0").into(), "length"),
        (format!("{}g", &good[..137]).into(), "hex"),
        (vec![0xff; 138], "not text"),
        (vec![b' '; 10_000], "does not begin"),
    ];
    for (content, reason) in cases {
        let folder = folder();
        let path = folder.path().join(FILE);
        fs::write(&path, content).unwrap();
        let error = load_or_create(folder.path()).unwrap_err();
        assert!(matches!(error, KeyError::Invalid { .. }), "{error}");
        assert!(error.to_string().contains(reason), "{error}");
        assert!(!path.exists());
    }
}

/// It is emptied, and filled from its beginning on, where a shell or an editor writes it in place.
#[test]
fn waits_for_a_file_that_is_being_written() {
    let folder = folder();
    let path = folder.path().join(FILE);
    let good = Key::generate().unwrap();
    let mut written = ["", "docker_", "docker_ps_0", good.reveal()].into_iter();
    let mut write = || fs::write(&path, written.next().unwrap()).unwrap();
    write();
    let key = load_patiently(&path, &mut write).unwrap().unwrap();
    assert_eq!(key.reveal(), good.reveal());

    // One that never is what it is to be is a bad one.
    let mut len = 0;
    fs::write(&path, "").unwrap();
    let error = load_patiently(&path, || {
        len += 1;
        fs::write(&path, vec![b'x'; len]).unwrap();
    });
    assert!(matches!(error, Err(KeyError::Invalid { .. })));
    assert!(!path.exists());
}

#[test]
fn leaves_alone_what_it_cannot_read() {
    let folder = folder();
    let path = folder.path().join(FILE);
    fs::create_dir(&path).unwrap();
    let error = load_or_create(folder.path()).unwrap_err();
    assert!(matches!(error, KeyError::Unreadable { .. }), "{error}");
    assert!(path.exists());
}

#[test]
fn says_where_it_cannot_write() {
    let folder = folder();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let error = load_or_create(&file.join("data")).unwrap_err();
    assert!(error.to_string().contains("file/data/_auth.key"), "{error}");
}

#[test]
fn never_replaces_a_key_that_came_in_between() {
    let folder = folder();
    let path = folder.path().join(FILE);
    let first = Key::generate().unwrap();
    create(folder.path(), &path, &first).unwrap();
    let error = create(folder.path(), &path, &Key::generate().unwrap()).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
    assert_eq!(load(&path).unwrap().unwrap().reveal(), first.reveal());
}

#[test]
fn is_never_shown_by_debug() {
    let key = Key::generate().unwrap();
    assert_eq!(format!("{key:?}"), "Key(redacted)");
}
