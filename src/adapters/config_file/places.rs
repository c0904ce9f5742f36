//! Which directories show that a file has changed.
//!
//! A file is replaced by renaming another over it, so its own inode tells nothing; its directory
//! does. Where a part of the way is a symbolic link (Kubernetes mounts `serin.yaml` as a link to
//! `..data/serin.yaml`, and swaps the link `..data`), the link can be replaced as well, so each
//! directory that holds a link on the way counts too.

use std::collections::{BTreeSet, VecDeque};
use std::ffi::OsString;
use std::fs;
use std::path::{Component, Path, PathBuf};

/// Most links followed on the way to one file, as in Linux (`path_resolution(7)`).
const LINKS_MAX: usize = 40;

/// The directories to watch for a file: those that hold it and each link on the way to it. Where
/// the way ends early, the directory that would hold the next part, so that it is seen coming.
pub(super) fn directories(path: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let Ok(absolute) = std::path::absolute(path) else {
        return found;
    };
    let mut here = PathBuf::from("/");
    let mut rest = parts(&absolute);
    let mut links = 0;
    while let Some(part) = rest.pop_front() {
        if part == ".." {
            here.pop();
            continue;
        }
        let next = here.join(&part);
        let Ok(metadata) = fs::symlink_metadata(&next) else {
            found.insert(here);
            return found;
        };
        if metadata.is_symlink() {
            found.insert(here.clone());
            links += 1;
            match fs::read_link(&next) {
                Ok(target) if links <= LINKS_MAX => {
                    if target.is_absolute() {
                        here = PathBuf::from("/");
                    }
                    let mut way = parts(&target);
                    way.append(&mut rest);
                    rest = way;
                }
                _ => return found,
            }
        } else {
            here = next;
        }
    }
    found.extend(here.parent().map(Path::to_owned));
    found
}

fn parts(path: &Path) -> VecDeque<OsString> {
    path.components()
        .filter(|part| matches!(part, Component::Normal(_) | Component::ParentDir))
        .map(|part| part.as_os_str().to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// The directories below a root, without it.
    fn below(root: &Path, file: &str) -> Vec<String> {
        directories(&root.join(file))
            .into_iter()
            .filter_map(|found| Some(found.strip_prefix(root).ok()?.display().to_string()))
            .collect()
    }

    #[test]
    fn each_link_on_the_way_can_be_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        for directory in ["a/..v1", "b"] {
            fs::create_dir_all(root.join(directory)).unwrap();
        }
        fs::write(root.join("a/..v1/f"), "").unwrap();
        fs::write(root.join("b/g"), "").unwrap();
        symlink("..v1", root.join("a/..data")).unwrap();
        symlink("..data/f", root.join("a/f")).unwrap();
        symlink(root.join("b/g"), root.join("a/g")).unwrap();
        symlink("../b", root.join("a/up")).unwrap();
        symlink("loop", root.join("a/loop")).unwrap();

        assert_eq!(below(&root, "b/g"), ["b"]);
        assert_eq!(below(&root, "b/../b/g"), ["b"]);
        assert_eq!(below(&root, "a/f"), ["a", "a/..v1"]);
        assert_eq!(below(&root, "a/g"), ["a", "b"]);
        assert_eq!(below(&root, "a/up/g"), ["a", "b"]);
        assert_eq!(below(&root, "b/none"), ["b"]);
        assert_eq!(below(&root, "none/deep/f"), [""]);
        assert_eq!(below(&root, "a/loop"), ["a"], "a circle ends");
    }
}
