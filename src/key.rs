//! The auth key: read, checked, or made on first start.

use std::{
    fmt,
    fs::{self, File, Permissions},
    io::{self, Read, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use middleware::auth::KeyDigest;
use zeroize::Zeroizing;

/// The key's file in the data folder.
pub const FILE: &str = "_auth.key";

const PREFIX: &str = "docker_ps_";
const RANDOM_BYTES: usize = 64;
const LEN: usize = PREFIX.len() + 2 * RANDOM_BYTES;

/// The most that is read of a key file; a longer one holds no key.
const MAX_LEN: u64 = 4096;

/// How long a bad file may stay as it is before it is deleted: it may just be being written.
const WRITING: Duration = Duration::from_secs(1);

/// How often it is looked at before that, while it changes.
const LOOKS: usize = 5;

/// An auth key: `docker_ps_` and 128 hex digits. It is wiped from memory when dropped.
#[derive(Clone)]
pub struct Key(Zeroizing<String>);

impl Key {
    /// The key itself, to be shown or sent, never logged.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// What requests' keys are compared with.
    pub fn digest(&self) -> KeyDigest {
        KeyDigest::of(self.0.as_bytes())
    }

    /// A new key from the operating system's random numbers.
    fn generate() -> Result<Self, KeyError> {
        let mut random = Zeroizing::new([0; RANDOM_BYTES]);
        getrandom::fill(random.as_mut_slice()).map_err(|error| KeyError::Random(error.into()))?;
        let mut key = Zeroizing::new(String::with_capacity(LEN));
        key.push_str(PREFIX);
        key.push_str(&Zeroizing::new(hex::encode(random.as_slice())));
        Ok(Self(key))
    }

    /// The key in a file's content, white space around it aside.
    fn parse(content: &[u8]) -> Result<Self, &'static str> {
        let text = std::str::from_utf8(content)
            .map_err(|_| "it is not text")?
            .trim();
        let digits = text
            .strip_prefix(PREFIX)
            .ok_or("it does not begin with docker_ps_")?;
        if text.len() != LEN {
            return Err("its length is wrong: docker_ps_ and 128 hex digits are expected");
        }
        if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err("it holds other characters than hex digits");
        }
        Ok(Self(Zeroizing::new(text.into())))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(redacted)")
    }
}

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file holds no key; it has been deleted, so that the next start makes a new one.
    #[error("The auth key in {} is invalid: {reason}. The file has been deleted; the next start makes a new key.", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The file holds no key and cannot be deleted.
    #[error("The auth key in {} is invalid: {reason}. The file cannot be deleted: {error}", path.display())]
    InvalidAndStuck {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
        /// Why it is still there.
        error: io::Error,
    },
    /// The file is there and cannot be read; nothing has been changed.
    #[error("Cannot read the auth key in {}: {error}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// The key cannot be kept; there is none.
    #[error("Cannot write the auth key to {}: {error}. Is the folder writable for this user, and on a volume that is not full?", path.display())]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// The operating system has no random numbers.
    #[error("Cannot make an auth key: {0}")]
    Random(io::Error),
}

/// The key of the data folder; made, with the folder, where there is none.
///
/// # Errors
///
/// If the file is bad (then it is deleted), or cannot be read or written.
pub fn load_or_create(folder: &Path) -> Result<Key, KeyError> {
    let path = folder.join(FILE);
    if let Some(key) = load(&path)? {
        return Ok(key);
    }
    let key = Key::generate()?;
    match create(folder, &path, &key) {
        Ok(()) => Ok(key),
        // Another agent was faster; its key is the key.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            load(&path)?.ok_or(KeyError::Unwritable { path, error })
        }
        Err(error) => Err(KeyError::Unwritable { path, error }),
    }
}

/// The key in the file, if there is a file. Nothing is made, and a bad file that stays as it is is deleted.
///
/// # Errors
///
/// If it is bad or cannot be read.
pub fn load(path: &Path) -> Result<Option<Key>, KeyError> {
    load_patiently(path, || thread::sleep(WRITING))
}

/// The same, with what comes between two looks at a bad file.
fn load_patiently(path: &Path, mut pause: impl FnMut()) -> Result<Option<Key>, KeyError> {
    let mut seen = Vec::new();
    let reason = loop {
        let content = match read(path) {
            Ok(content) => content,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                let path = path.into();
                return Err(KeyError::Unreadable { path, error });
            }
        };
        match Key::parse(&content) {
            Ok(key) => {
                keep_private(path);
                return Ok(Some(key));
            }
            Err(reason) if seen.last() == Some(&content) || seen.len() == LOOKS => break reason,
            Err(_) => {
                seen.push(content);
                pause();
            }
        }
    };
    let path = PathBuf::from(path);
    Err(match fs::remove_file(&path) {
        Ok(()) => KeyError::Invalid { path, reason },
        Err(error) => KeyError::InvalidAndStuck {
            path,
            reason,
            error,
        },
    })
}

/// The key in the file; nothing is made and nothing deleted.
///
/// # Errors
///
/// If the file cannot be read or holds no key.
pub fn peek(path: &Path) -> io::Result<Key> {
    let invalid = |reason| io::Error::new(io::ErrorKind::InvalidData, reason);
    Key::parse(&read(path)?).map_err(invalid)
}

/// The file's content, without waiting for a writer where it is a FIFO.
fn read(path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    let file = File::options()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut content = Zeroizing::new(Vec::with_capacity(MAX_LEN as usize));
    file.take(MAX_LEN).read_to_end(&mut content)?;
    Ok(content)
}

/// Takes the file, which the original agent made readable for everyone, away from all but its owner.
fn keep_private(path: &Path) {
    let is_open = |mode: u32| mode & 0o077 != 0;
    let Ok(meta) = fs::metadata(path) else { return };
    if is_open(meta.permissions().mode())
        && let Err(error) = fs::set_permissions(path, Permissions::from_mode(0o600))
    {
        tracing::warn!(path = %path.display(), %error, "the auth key's file is open to other users");
    }
}

/// Writes the file so that it is there whole or not at all, even after a power cut, and never over
/// another.
fn create(folder: &Path, path: &Path, key: &Key) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    // Not by the process's number: in containers that is 1 for all.
    let draft = folder.join(format!("{FILE}.{:016x}", getrandom::u64()?));
    let written = write(&draft, key).and_then(|()| match fs::hard_link(&draft, path) {
        // Some volumes have no hard links. What they have is a rename, which would replace.
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists && !path.exists() => {
            fs::rename(&draft, path)
        }
        linked => linked,
    });
    let _gone_already_if_renamed = fs::remove_file(&draft);
    written?;
    match File::open(folder)?.sync_all() {
        // Some volumes cannot do that to a folder.
        Err(error) if matches!(error.raw_os_error(), Some(libc::EINVAL | libc::ENOTSUP)) => Ok(()),
        synced => synced,
    }
}

fn write(path: &Path, key: &Key) -> io::Result<()> {
    let mut file = File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(key.reveal().as_bytes())?;
    file.sync_all()
}

#[cfg(test)]
mod tests;
