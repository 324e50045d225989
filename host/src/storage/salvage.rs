//! What can be saved of copies whose database is damaged.
//!
//! One wrong byte in a journal says nothing against what was written before it: up to there the
//! database is what it once was, as after a power loss. So are the copies in it, each of which has
//! checksums of its own. But any of them may miss what came after, acknowledged calls among it, and
//! nothing in the engine's files says which. So all that is saved counts as not trusted, and a person
//! may name it to `host recover`. Damage elsewhere leaves nothing that could be told apart.
//!
//! The damaged files are not changed: those that the engine never writes again are shared.

use std::fs;
use std::io;
use std::path::Path;

use super::files::remove_folder;
use super::journal;

/// Makes a database in the folder `into` of what stands in `damaged` before the damage.
///
/// # Errors
///
/// What the system says.
pub(super) fn salvage(damaged: &Path, into: &Path) -> io::Result<()> {
    remove_folder(into)?;
    share(damaged, into)?;
    journal::cut_at_damage(into)
}

fn share(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (path, to) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            share(&path, &to)?;
        } else if path.extension().is_some_and(|end| end == "jnl") {
            // The engine goes on writing to it.
            fs::copy(&path, &to)?;
        } else if fs::hard_link(&path, &to).is_err() {
            // Not every file system has links.
            fs::copy(&path, &to)?;
        }
    }
    Ok(())
}
