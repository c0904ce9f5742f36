//! The key of the cookies that Serin gives, where the configuration has none: drawn once, and kept with the state.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use crate::adapters::config_file::Source;
use crate::app::state;
use crate::config::StateConfig;
use crate::domain::cookie_key::{COOKIE_KEY_BYTES_MIN, CookieKey};

/// The file in the folder of the state.
const FILE: &str = "cookie.key";

/// The key that is kept with the state.
pub(crate) fn of(state: &StateConfig, source: Option<&Source>) -> Arc<CookieKey> {
    let folder = source.and_then(|source| state::folder(state, source));
    Arc::new(of_folder(folder.as_deref()))
}

/// The key of a folder, which is drawn if there is none; without a folder that can be used, one that is good
/// for as long as the process lives.
pub(crate) fn of_folder(folder: Option<&Path>) -> CookieKey {
    let kept = folder.map(|folder| read(folder).or_else(|_| draw_into(folder)));
    match kept {
        Some(Ok(key)) => key,
        Some(Err(error)) => {
            tracing::warn!(%error, "the key of cookies cannot be kept: browsers are given new ones after a restart");
            drawn().0
        }
        None => drawn().0,
    }
}

/// The key of a folder, if there is one.
///
/// # Errors
/// When there is none, or it cannot be read.
pub(crate) fn read(folder: &Path) -> io::Result<CookieKey> {
    let secret = fs::read(folder.join(FILE))?;
    if secret.len() < COOKIE_KEY_BYTES_MIN {
        return Err(io::Error::other("it is too short"));
    }
    Ok(CookieKey::new(&secret))
}

fn draw_into(folder: &Path) -> io::Result<CookieKey> {
    let (key, secret) = drawn();
    let beside = folder.join("cookie.key.new");
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&beside)?;
    file.write_all(&secret)?;
    file.sync_all()?;
    fs::rename(&beside, folder.join(FILE))?;
    File::open(folder)?.sync_all()?;
    Ok(key)
}

fn drawn() -> (CookieKey, [u8; COOKIE_KEY_BYTES_MIN]) {
    let secret: [u8; COOKIE_KEY_BYTES_MIN] = rand::random();
    (CookieKey::new(&secret), secret)
}
