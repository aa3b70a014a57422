//! Checks that the project's own tests run too.

pub mod codes;
pub mod graph;

use std::path::PathBuf;

/// Returns the root of the workspace.
pub fn root() -> PathBuf {
    let mut path = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    path.pop();
    path
}
