//! A tarball that depends on nothing but its files.

use anyhow::{Context, Result};
use flate2::{Compression, GzBuilder};
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Packs the folder `from` as `name`: in the order of names, all dated `time` (seconds
/// since 1970).
pub(super) fn pack(from: &Path, name: &str, time: u64, to: &Path) -> Result<()> {
    let failed = || format!("can't write {}", to.display());
    let file = File::create(to).with_context(failed)?;
    let gzip = GzBuilder::new().write(file, Compression::best());
    let mut tar = tar::Builder::new(gzip);
    for path in files(from)? {
        let inner = Path::new(name).join(path.strip_prefix(from)?);
        let content = fs::read(&path).with_context(|| format!("can't read {}", path.display()))?;
        let executable = fs::metadata(&path)?.permissions().mode() & 0o100 != 0;
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(if executable { 0o755 } else { 0o644 });
        header.set_mtime(time);
        // Root's, as whoever unpacks it as root will have it.
        header.set_uid(0);
        header.set_gid(0);
        tar.append_data(&mut header, inner, content.as_slice())
            .with_context(failed)?;
    }
    let gzip = tar.into_inner().with_context(failed)?;
    gzip.finish().with_context(failed)?;
    Ok(())
}

/// All files below a folder, in order.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let entries = fs::read_dir(folder);
    for entry in entries.with_context(|| format!("can't read {}", folder.display()))? {
        let path = entry?.path();
        match path.is_dir() {
            true => found.extend(files(&path)?),
            false => found.push(path),
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_files_make_the_same_tarball_whenever_and_by_whomever_they_were_written() {
        let pack_again = |names: [&str; 2]| {
            let folder = tempfile::tempdir().unwrap();
            let stage = folder.path().join("stage");
            fs::create_dir_all(stage.join("bin")).unwrap();
            for name in names {
                fs::write(stage.join(name), name).unwrap();
            }
            let program = stage.join("bin/b");
            fs::set_permissions(program, PermissionsExt::from_mode(0o700)).unwrap();
            let to = folder.path().join("a.tar.gz");
            pack(&stage, "x-1", 1_000_000, &to).unwrap();
            fs::read(to).unwrap()
        };
        let tarball = pack_again(["a", "bin/b"]);
        assert_eq!(tarball, pack_again(["bin/b", "a"]));
        let mut tar = tar::Archive::new(flate2::read::GzDecoder::new(tarball.as_slice()));
        let told: Vec<String> = tar
            .entries()
            .unwrap()
            .map(|entry| {
                let entry = entry.unwrap();
                let header = entry.header();
                let path = entry.path().unwrap().display().to_string();
                let (mode, time) = (header.mode().unwrap(), header.mtime().unwrap());
                format!("{path} {mode:o} {time} {}", header.uid().unwrap())
            })
            .collect();
        assert_eq!(told, ["x-1/a 644 1000000 0", "x-1/bin/b 755 1000000 0"]);
    }
}
