//! The data folder: one process at a time, and a note of where that process listens.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

const LOCK_FILE: &str = "lock";
const ADDRESS_FILE: &str = "address";
/// File with the first operator's password.
pub const OPERATOR_PASSWORD: &str = "admin-password";
/// File with the password of the demo shop's sellers.
pub const SELLER_PASSWORD: &str = "seller-password";

/// A data folder that belongs to this process until it is dropped.
pub struct Folder {
    path: PathBuf,
    _lock: File,
}

impl Folder {
    /// Takes the folder, making it when it is missing.
    ///
    /// # Errors
    /// Another process has it, or it cannot be written.
    pub fn take(path: &Path) -> anyhow::Result<Folder> {
        std::fs::create_dir_all(path).with_context(|| format!("data folder {} cannot be made", path.display()))?;
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path.join(LOCK_FILE))
            .with_context(|| format!("data folder {} cannot be written", path.display()))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                bail!("another mallard works in {}; stop it, or choose another folder with --data-dir", path.display())
            }
            Err(TryLockError::Error(error)) => bail!("data folder {} cannot be locked: {error}", path.display()),
        }
        // A note left by a process that was killed is no longer true.
        let _ = std::fs::remove_file(path.join(ADDRESS_FILE));
        Ok(Folder { path: path.to_owned(), _lock: lock })
    }

    /// Returns the folder's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Notes where this process listens, for tools.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn note_address(&self, address: SocketAddr) -> anyhow::Result<()> {
        Ok(std::fs::write(self.path.join(ADDRESS_FILE), address.to_string())?)
    }

    /// Returns the password to be of accounts that are about to be made: the one of a start that was cut short, or a new one, on
    /// disk before it is used. Says whether it is new. `name` is the file it will stand in.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn draft_password(&self, name: &str, new: impl FnOnce() -> String) -> anyhow::Result<(String, bool)> {
        let path = self.draft(name);
        if let Ok(draft) = std::fs::read_to_string(&path)
            && draft.ends_with('\n')
        {
            return Ok((draft.trim().to_owned(), false));
        }
        let password = new();
        let mut options = OpenOptions::new();
        options.create(true).truncate(true).write(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&path)?;
        writeln!(file, "{password}")?;
        file.sync_all()?;
        Ok((password, true))
    }

    /// Forgets the draft.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn drop_draft(&self, name: &str) -> anyhow::Result<()> {
        Ok(std::fs::remove_file(self.draft(name))?)
    }

    /// Makes the draft the password, once the accounts exist.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn keep_password(&self, name: &str) -> anyhow::Result<()> {
        Ok(std::fs::rename(self.draft(name), self.path.join(name))?)
    }

    /// Tells whether a password is written down, so that its accounts have been made.
    pub fn has_password(&self, name: &str) -> bool {
        self.path.join(name).exists()
    }

    fn draft(&self, name: &str) -> PathBuf {
        self.path.join(format!("{name}.draft"))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(self.path.join(ADDRESS_FILE));
    }
}

/// Returns where the mall that works in this folder listens, when one does.
pub fn running(path: &Path) -> Option<SocketAddr> {
    let lock = OpenOptions::new().write(true).open(path.join(LOCK_FILE)).ok()?;
    match lock.try_lock() {
        Err(TryLockError::WouldBlock) => std::fs::read_to_string(path.join(ADDRESS_FILE)).ok()?.trim().parse().ok(),
        _ => None,
    }
}

/// Reads the first operator's password.
pub fn password(path: &Path) -> Option<String> {
    Some(std::fs::read_to_string(path.join(OPERATOR_PASSWORD)).ok()?.trim().to_owned())
}
