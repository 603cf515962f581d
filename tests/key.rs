//! The auth key: made, shown, kept, checked, and watched.

mod bad;
mod made;
mod symlink;
mod watched;
mod watching;

/// Whether a text is a key as the agent makes it.
fn is_key(text: &str) -> bool {
    let digits = text.strip_prefix("docker_ps_").unwrap_or_default();
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    digits.len() == 128 && digits.bytes().all(is_digit)
}
