//! Finding and writing files.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// The files in a folder and below whose names end in `.ending`, by name. Folders are entered where `enters` says so.
pub(crate) fn below(
    folder: &Path,
    ending: &str,
    enters: impl Fn(&OsStr) -> bool,
) -> Result<Vec<PathBuf>, String> {
    let (mut found, mut folders) = (Vec::new(), vec![folder.to_path_buf()]);
    while let Some(folder) = folders.pop() {
        let cannot = |error| format!("{}: {error}", folder.display());
        for entry in std::fs::read_dir(&folder).map_err(cannot)? {
            let entry = entry.map_err(cannot)?;
            // The entry's own type: a link to a folder is not followed, so that there is no circle.
            if entry.file_type().map_err(cannot)?.is_dir() {
                if enters(&entry.file_name()) {
                    folders.push(entry.path());
                }
            } else if entry.path().extension().is_some_and(|e| e == ending) {
                found.push(entry.path());
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Writes a file, and makes its folder where there is none.
pub(crate) fn write(path: &Path, text: &str) -> Result<(), String> {
    let folder = path.parent().map_or(Ok(()), std::fs::create_dir_all);
    folder.and_then(|()| std::fs::write(path, text)).map_err(|error| format!("{}: {error}", path.display()))
}
