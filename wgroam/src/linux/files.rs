// SPDX-License-Identifier: GPL-2.0-only
//! Small files: read with a limit, replaced as a whole, set aside when they are broken.

use std::ffi::{OsStr, OsString};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

/// Reads a file of at most `max` bytes. A larger one is [`io::ErrorKind::FileTooLarge`], and is not read when its
/// size is known beforehand; a folder is [`io::ErrorKind::IsADirectory`]. Follows symbolic links, takes pipes. No other
/// copy of the content is left in memory than the one given back, which is wiped when it is dropped.
pub fn read_limited(path: &Path, max: usize) -> io::Result<Zeroizing<Vec<u8>>> {
    let too_large = || io::Error::new(io::ErrorKind::FileTooLarge, format!("larger than {max} bytes"));
    let mut file = File::open(path)?;
    let metadata = file.metadata()?;
    if metadata.is_dir() {
        return Err(io::Error::new(io::ErrorKind::IsADirectory, "it is a folder"));
    }
    if metadata.len() > max as u64 {
        return Err(too_large());
    }
    // One byte more than there should be: it tells the end, a file that grew, and a pipe that gives too much.
    let mut bytes = Zeroizing::new(vec![0; metadata.len() as usize + 1]);
    let mut filled = 0;
    loop {
        match file.read(&mut bytes[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        if filled > max {
            return Err(too_large());
        }
        if filled == bytes.len() {
            // Not by Vec's own growing, which leaves the old copy behind.
            let mut larger = Zeroizing::new(vec![0; (2 * filled).max(4096).min(max + 1)]);
            larger[..filled].copy_from_slice(&bytes);
            bytes = larger;
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

/// As [`read_limited`], but only what is a file: a symbolic link, a pipe or a device is
/// [`io::ErrorKind::InvalidInput`]. For files of our own, in folders where nobody else should have put anything.
pub fn read_limited_file(path: &Path, max: usize) -> io::Result<Zeroizing<Vec<u8>>> {
    let kind = fs::symlink_metadata(path)?.file_type();
    if kind.is_file() || kind.is_dir() {
        return read_limited(path, max);
    }
    Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a file"))
}

/// Replaces a file as a whole: whoever reads it sees the old or the new one, never half of one. The new file has
/// `mode` (less the umask's bits, never more). A symbolic link at `path` is replaced, not followed. With `sync` the
/// new content is on the disk before the old one goes: for flash, where power is cut; without, for tmpfs.
/// One writer at a time.
pub fn write_atomically(path: &Path, bytes: &[u8], mode: u32, sync: bool) -> io::Result<()> {
    let (temporary, mut file) = create_beside(path, mode)?;
    let written = file.write_all(bytes).and_then(|()| if sync { file.sync_all() } else { Ok(()) });
    drop(file);
    let renamed = written.and_then(|()| fs::rename(&temporary, path));
    if renamed.is_err() {
        // The first error is the one to tell; at worst a small file stays behind.
        let _ = fs::remove_file(&temporary);
        return renamed;
    }
    if sync {
        // The rename is in the folder. Some file systems can't sync a folder; the file's content is safe there.
        let _ = File::open(beside(path, ".")).and_then(|folder| folder.sync_all());
    }
    Ok(())
}

/// A new file NAME.new beside `path`, in place of one that a crash left there: a name of its own for each try would
/// fill the flash. O_EXCL: a link laid there in advance is removed, not followed.
fn create_beside(path: &Path, mode: u32) -> io::Result<(PathBuf, File)> {
    let temporary = with_suffix(path, ".new")?;
    let create = || OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary);
    let file = match create() {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            fs::remove_file(&temporary)?;
            create()?
        }
        other => other?,
    };
    Ok((temporary, file))
}

/// Moves a broken file (or whatever is in its place) to NAME.corrupt in the same folder, over an older one, for a
/// person to look at; gives that name. A filled folder there is left as it is and takes it in: NAME.corrupt/NAME.
/// Regular files lose the rights of others.
pub fn set_aside(path: &Path) -> io::Result<PathBuf> {
    let mut aside = with_suffix(path, ".corrupt")?;
    if let Err(error) = fs::rename(path, &aside) {
        // A folder is in the way of a file, or a file or a filled folder in the way of a folder.
        match fs::symlink_metadata(&aside) {
            Ok(old) if old.is_dir() => aside.push(OsStr::from_bytes(split(path).1)),
            Ok(_) if error.kind() != io::ErrorKind::NotFound => fs::remove_file(&aside)?,
            _ => return Err(error),
        }
        fs::rename(path, &aside)?;
    }
    if fs::symlink_metadata(&aside)?.is_file() {
        fs::set_permissions(&aside, fs::Permissions::from_mode(0o600))?;
    }
    Ok(aside)
}

fn with_suffix(path: &Path, suffix: &str) -> io::Result<PathBuf> {
    let (_, name) = split(path);
    if matches!(name, b"" | b"." | b"..") {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "a file's name is missing"));
    }
    let mut longer = OsString::from(path);
    longer.push(suffix);
    Ok(longer.into())
}

/// The file of that name in the folder that `path` is in.
pub fn beside(path: &Path, name: &str) -> PathBuf {
    let (folder, _) = split(path);
    let mut other = OsString::from(OsStr::from_bytes(folder));
    other.push(name);
    other.into()
}

/// Makes the folder that a file of ours goes into, mode 0750, with what is missing above it.
pub fn make_folder_of(path: &Path) -> io::Result<()> {
    let (folder, _) = split(path);
    if fs::metadata(OsStr::from_bytes(folder)).is_ok_and(|found| found.is_dir()) {
        return Ok(());
    }
    for slash in (1..folder.len()).filter(|at| folder[*at] == b'/') {
        let above = OsStr::from_bytes(&folder[..slash]);
        match DirBuilder::new().mode(0o750).create(above) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// The folder, with its slash, and the name in there. By hand: what `Path` knows of paths is 2 KB on MIPS.
fn split(path: &Path) -> (&[u8], &[u8]) {
    let bytes = path.as_os_str().as_bytes();
    bytes.split_at(bytes.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_beside_another_is_in_its_folder() {
        for (path, wanted) in [
            ("/etc/config/wgroam", "/etc/config/network"),
            ("x", "network"),
            ("./a/x", "./a/network"),
            ("/x", "/network"),
        ] {
            assert_eq!(beside(Path::new(path), "network"), Path::new(wanted), "{path}");
        }
        for path in ["/etc/", "", ".", "/a/.."] {
            assert!(with_suffix(Path::new(path), ".new").is_err(), "{path}");
        }
    }

    #[test]
    fn folders_that_are_missing_are_made_and_others_are_left_as_they_are() {
        let top = std::env::temp_dir().join(format!("wgroam-folders-{}", std::process::id()));
        let file = top.join("a/b//c/state");
        // The second time they are there.
        for _ in 0..2 {
            make_folder_of(&file).unwrap();
            let mode = fs::metadata(top.join("a/b/c")).unwrap().permissions().mode();
            assert_eq!(mode & 0o027, 0, "closed to others");
        }
        fs::set_permissions(top.join("a"), fs::Permissions::from_mode(0o755)).unwrap();
        make_folder_of(&file).unwrap();
        assert_eq!(fs::metadata(top.join("a")).unwrap().permissions().mode() & 0o777, 0o755);
        fs::write(top.join("a/file"), "").unwrap();
        assert!(make_folder_of(&top.join("a/file/b/state")).is_err());
        make_folder_of(Path::new("state")).unwrap();
        fs::remove_dir_all(&top).unwrap();
    }
}
