//! Notices every change of one small file by looking at it, twice a second.
//!
//! Change events miss files that are renamed over, folders that are replaced and volumes that send none.
//! A look costs some microseconds and sees: other content, another file of the same name, another mode
//! or owner, no file, no folder. Touching the file, or writing the same bytes into it, is no change.

use std::{
    fs::{self, File, Metadata},
    io::{self, Read},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    thread::{self, JoinHandle},
    time::Duration,
};

use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;

/// How long a change may go unnoticed. A look itself costs some microseconds, but each wakes a processor
/// that may be asleep.
pub const INTERVAL: Duration = Duration::from_millis(500);

/// The most that is read of a file. More than this is a difference in itself.
const MAX_LEN: u64 = 64 * 1024;

/// What a file is at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingerprint {
    device: u64,
    inode: u64,
    mode: u32,
    owner: (u32, u32),
    len: u64,
    digest: [u8; 32],
}

impl Fingerprint {
    /// Looks at `path`, following symlinks.
    ///
    /// # Errors
    ///
    /// Those of opening and reading it; `InvalidInput` where it is no regular file.
    pub fn take(path: &Path) -> io::Result<Self> {
        // A FIFO in the file's place must not block the look.
        let file = File::options()
            .read(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(path)?;
        let meta = file.metadata()?;
        if !meta.is_file() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "not a regular file",
            ));
        }
        let mut content = Vec::with_capacity(256);
        file.take(MAX_LEN).read_to_end(&mut content)?;
        Ok(Self::new(&meta, Sha256::digest(&content).into()))
    }

    fn new(meta: &Metadata, digest: [u8; 32]) -> Self {
        Self {
            device: meta.dev(),
            inode: meta.ino(),
            mode: meta.mode(),
            owner: (meta.uid(), meta.gid()),
            len: meta.len(),
            digest,
        }
    }

    /// Whether the file at `path` is this one as far as can be seen from outside.
    fn is_like(&self, path: &Path) -> bool {
        fs::metadata(path).is_ok_and(|meta| Self::new(&meta, self.digest) == *self)
    }
}

/// Watches `path` on a thread of its own and cancels `changed` when it is no longer what `known` says.
///
/// The thread ends then, or once `changed` is cancelled by someone else.
///
/// # Errors
///
/// If the thread cannot be started.
pub fn watch(
    path: PathBuf,
    known: Fingerprint,
    changed: CancellationToken,
) -> io::Result<JoinHandle<()>> {
    watch_every(INTERVAL, path, known, changed)
}

fn watch_every(
    interval: Duration,
    path: PathBuf,
    known: Fingerprint,
    changed: CancellationToken,
) -> io::Result<JoinHandle<()>> {
    thread::Builder::new()
        .name("file-watch".into())
        .stack_size(128 * 1024)
        .spawn(move || {
            while !changed.is_cancelled() {
                match Fingerprint::take(&path) {
                    Ok(seen) if seen == known => thread::sleep(interval),
                    // Without a free descriptor the content cannot be read, but the rest can be seen.
                    Err(error)
                        if matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
                            && known.is_like(&path) =>
                    {
                        thread::sleep(interval);
                    }
                    _ => changed.cancel(),
                }
            }
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    /// Whether `change`, which gets the path of a watched file in a folder of its own, is noticed.
    async fn notices(change: impl FnOnce(&Path)) -> bool {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        fs::create_dir(&data).unwrap();
        let path = data.join("key");
        fs::write(&path, "content").unwrap();
        let changed = CancellationToken::new();
        let known = Fingerprint::take(&path).unwrap();
        let often = Duration::from_millis(2);
        watch_every(often, path.clone(), known, changed.clone()).unwrap();
        change(&path);
        let patience = Duration::from_secs(10);
        tokio::time::timeout(patience, changed.cancelled())
            .await
            .is_ok()
    }

    #[tokio::test]
    async fn notices_an_edit_in_place() {
        assert!(notices(|path| fs::write(path, "c0ntent").unwrap()).await);
    }

    #[tokio::test]
    async fn notices_a_truncation() {
        assert!(notices(|path| drop(File::create(path).unwrap())).await);
    }

    #[tokio::test]
    async fn notices_a_deletion() {
        assert!(notices(|path| fs::remove_file(path).unwrap()).await);
    }

    #[tokio::test]
    async fn notices_a_rename_over_it_even_with_the_same_content() {
        let replaced = notices(|path| {
            let other = path.with_extension("new");
            fs::copy(path, &other).unwrap();
            fs::rename(other, path).unwrap();
        });
        assert!(replaced.await);
    }

    #[tokio::test]
    async fn notices_a_mode_change() {
        let opened =
            |path: &Path| fs::set_permissions(path, fs::Permissions::from_mode(0o666)).unwrap();
        assert!(notices(opened).await);
    }

    #[tokio::test]
    async fn notices_that_the_folder_is_gone() {
        assert!(notices(|path| fs::remove_dir_all(path.parent().unwrap()).unwrap()).await);
    }

    #[tokio::test]
    async fn notices_that_the_folder_was_replaced() {
        let replaced = notices(|path| {
            let folder = path.parent().unwrap();
            fs::rename(folder, folder.with_extension("old")).unwrap();
            fs::create_dir(folder).unwrap();
            fs::write(path, "content").unwrap();
        });
        assert!(replaced.await);
    }

    #[test]
    fn a_touch_is_no_change() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        fs::write(&path, "content").unwrap();
        let known = Fingerprint::take(&path).unwrap();
        let file = File::options().write(true).open(&path).unwrap();
        let hour = Duration::from_secs(3600);
        file.set_modified(std::time::SystemTime::now() + hour)
            .unwrap();
        assert_eq!(Fingerprint::take(&path).unwrap(), known);
    }
}
