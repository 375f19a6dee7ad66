//! Tables on disk, so that a file's `.eh_frame` is read once and not in every run.
//!
//! A table is named by a digest of everything that it was made from: what a file
//! calls itself (its build-id) is its own word, and a hostile one could speak for
//! another. The folder belongs to the tracer's user alone; what doesn't is not
//! read. A table that was damaged is made anew.
//!
//! A file in the cache: [`MAGIC`], the digest of what follows, then, each number
//! little-endian: rules, rows, the rules (24 bytes each), the rows (8 bytes each).

use super::info::UnwindInfo;
use super::table::{MAX_ROWS, Row, Table};
use crate::files::BuildId;
use crate::files::identity::hexadecimal;
use sha2::{Digest, Sha256};
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Read, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use tracer_ebpf::tables::{MAX_RULES, Rule};

/// Changes whenever the same file would give another table, or another format.
pub const MAGIC: [u8; 8] = *b"trcunw05";

/// Where tables are kept when `TRACER_CACHE` says nothing.
const DEFAULT: &str = "/var/cache/tracer";

/// Bytes that all tables may have; the oldest go first.
const MAX_BYTES: u64 = 256 << 20;

/// Tables of smaller files are made as quickly as they are read.
const MIN_EH_FRAME: usize = 16 << 10;

const DIGEST: usize = 32;
const HEADER: usize = MAGIC.len() + DIGEST + 16;
const RULE: usize = 24;
const ROW: usize = 8;

/// A folder of tables.
#[derive(Clone, Debug)]
pub struct Cache {
    folder: PathBuf,
}

/// The table of an image, from the cache where there is one.
pub(crate) fn table_of(image: &UnwindInfo<'_>, cache: Option<&Cache>) -> Table {
    match cache {
        Some(cache) => cache.table(image),
        None => Table::build(image),
    }
}

impl Cache {
    /// The folder that the environment variable `TRACER_CACHE` names, by default
    /// `/var/cache/tracer`; made if need be. None where it is empty, or where the
    /// folder can't be made or is open to others: the tracer works without.
    #[must_use]
    pub fn open() -> Option<Self> {
        let named = std::env::var_os("TRACER_CACHE");
        match named {
            Some(named) if named.is_empty() => None,
            Some(named) => Self::at(Path::new(&named)).ok(),
            None => Self::at(Path::new(DEFAULT)).ok(),
        }
    }

    /// The cache in a folder.
    ///
    /// # Errors
    ///
    /// If it can't be made, or others may write to it.
    pub fn at(folder: &Path) -> io::Result<Self> {
        let folder = folder.join("unwind");
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&folder)?;
        let found = fs::symlink_metadata(&folder)?;
        if !found.is_dir() || !is_ours(&found) {
            return Err(io::Error::from(io::ErrorKind::PermissionDenied));
        }
        Ok(Self { folder })
    }

    /// The table of a file, made if it is not there.
    #[must_use]
    pub fn table(&self, image: &UnwindInfo<'_>) -> Table {
        if image.eh_frame.data.len() < MIN_EH_FRAME {
            return Table::build(image);
        }
        let name = self.folder.join(name(image));
        // What is made of instructions would need a digest of all the code.
        let mut table = self.read(&name).unwrap_or_else(|| {
            let table = super::cfi::table(image);
            // A cache that can't be written costs the next run some time.
            let _ = self.write(&name, &table);
            table
        });
        table.fill(image);
        table
    }

    fn read(&self, name: &Path) -> Option<Table> {
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
            .open(name)
            .ok()?;
        let found = file.metadata().ok()?;
        let most = HEADER + MAX_RULES as usize * RULE + MAX_ROWS * ROW;
        if !found.is_file() || !is_ours(&found) || found.len() > most as u64 {
            return None;
        }
        let mut bytes = Vec::with_capacity(usize::try_from(found.len()).ok()?);
        file.take(most as u64).read_to_end(&mut bytes).ok()?;
        decode(&bytes)
    }

    fn write(&self, name: &Path, table: &Table) -> io::Result<()> {
        let bytes = encode(table);
        self.make_room(bytes.len() as u64)?;
        let mut file = tempfile::NamedTempFile::new_in(&self.folder)?;
        file.write_all(&bytes)?;
        file.persist(name).map_err(|error| error.error)?;
        Ok(())
    }

    /// Removes the oldest tables until one more has room.
    fn make_room(&self, wanted: u64) -> io::Result<()> {
        let mut files: Vec<(SystemTime, u64, PathBuf)> = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            let found = entry.metadata()?;
            files.push((found.modified()?, found.len(), entry.path()));
        }
        files.sort();
        let mut sum: u64 = files.iter().map(|(_, size, _)| size).sum::<u64>() + wanted;
        for (_, size, path) in files {
            if sum <= MAX_BYTES {
                break;
            }
            fs::remove_file(path)?;
            sum -= size;
        }
        Ok(())
    }
}

/// Whether nobody else could have written it.
fn is_ours(found: &fs::Metadata) -> bool {
    found.uid() == nix::unistd::Uid::effective().as_raw() && found.mode() & 0o022 == 0
}

/// The name of a file's table: its build-id, for people, and the digest of what
/// the table is made from.
fn name(image: &UnwindInfo<'_>) -> String {
    let mut digest = Sha256::new();
    digest.update(MAGIC);
    for segment in &image.segments {
        for number in [segment.address.0, segment.size.0, segment.offset.0] {
            digest.update(number.to_le_bytes());
        }
    }
    let is_program = image.is_program.into();
    for number in [image.text.0, image.got.0, image.entry.0, is_program] {
        digest.update(number.to_le_bytes());
    }
    let whole = [&image.eh_frame, &image.debug_frame];
    for section in whole.into_iter().chain(&image.pieced) {
        digest.update(section.address.0.to_le_bytes());
        digest.update((section.data.len() as u64).to_le_bytes());
        digest.update(&section.data);
    }
    let build_id = image.build_id.as_ref().map_or("", BuildId::as_str);
    format!("{build_id}-{}", hexadecimal(&digest.finalize()))
}

fn encode(table: &Table) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER + table.rules.len() * RULE + table.rows.len() * ROW);
    bytes.extend(MAGIC);
    bytes.extend([0; DIGEST]);
    bytes.extend((table.rules.len() as u64).to_le_bytes());
    bytes.extend((table.rows.len() as u64).to_le_bytes());
    for rule in &table.rules {
        bytes.extend([rule.cfa, rule.ra, rule.bp, rule.signal]);
        for number in [
            rule.cfa_offset,
            rule.cfa_add,
            rule.ra_offset,
            rule.bp_offset,
            rule.bx_offset,
        ] {
            bytes.extend(number.to_le_bytes());
        }
    }
    for row in &table.rows {
        bytes.extend(row.offset.to_le_bytes());
        bytes.extend(row.rule.to_le_bytes());
    }
    let digest = Sha256::digest(&bytes[MAGIC.len() + DIGEST..]);
    bytes[MAGIC.len()..MAGIC.len() + DIGEST].copy_from_slice(&digest);
    bytes
}

/// A table as it was encoded; `None` if anything about it is wrong.
///
/// Public for fuzzing.
#[must_use]
pub fn decode(bytes: &[u8]) -> Option<Table> {
    let rest = bytes.strip_prefix(&MAGIC)?;
    let (digest, rest) = rest.split_first_chunk::<DIGEST>()?;
    if Sha256::digest(rest).as_slice() != digest {
        return None;
    }
    decode_checked(rest)
}

/// What follows the digest. A digest proves that nothing was damaged, not that
/// it makes sense.
fn decode_checked(bytes: &[u8]) -> Option<Table> {
    let (rules, bytes) = bytes.split_first_chunk::<8>()?;
    let (rows, bytes) = bytes.split_first_chunk::<8>()?;
    let rules = usize::try_from(u64::from_le_bytes(*rules)).ok()?;
    let rows = usize::try_from(u64::from_le_bytes(*rows)).ok()?;
    if rules == 0 || rules > MAX_RULES as usize || rows > MAX_ROWS {
        return None;
    }
    if bytes.len() != rules * RULE + rows * ROW {
        return None;
    }
    let (rule_bytes, row_bytes) = bytes.split_at(rules * RULE);
    let decoded = rule_bytes.as_chunks::<RULE>().0.iter().map(rule);
    let rows = row_bytes.as_chunks::<ROW>().0.iter().map(|bytes| Row {
        offset: number(&bytes[..4]) as u32,
        rule: number(&bytes[4..]) as u32,
    });
    let mut table = Table {
        rows: rows.collect(),
        rules: decoded.collect(),
        ..Table::default()
    };
    let sorted = table.rows.is_sorted_by(|a, b| a.offset < b.offset);
    let named = table.rows.iter().all(|row| (row.rule as usize) < rules);
    if !sorted || !named || table.rules[0] != Rule::default() {
        return None;
    }
    table.coverage.rows = table.rows.len() as u64;
    table.coverage.rules = table.rules.len() as u64;
    Some(table)
}

fn rule(bytes: &[u8; RULE]) -> Rule {
    let [cfa, ra, bp, signal, ..] = *bytes;
    Rule {
        cfa,
        ra,
        bp,
        signal,
        cfa_offset: number(&bytes[4..8]),
        cfa_add: number(&bytes[8..12]),
        ra_offset: number(&bytes[12..16]),
        bp_offset: number(&bytes[16..20]),
        bx_offset: number(&bytes[20..]),
    }
}

/// Four bytes, little-endian.
fn number(bytes: &[u8]) -> i32 {
    bytes
        .first_chunk()
        .map_or(0, |bytes| i32::from_le_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::{Elf, Source};
    use proptest::prelude::*;
    use std::fs::File;

    fn own() -> Elf {
        let file = File::open("/proc/self/exe").expect("our own file");
        Elf::parse(Source::of(file).expect("a length")).expect("an ELF file")
    }

    fn table() -> Table {
        let elf = own();
        Table::build(&UnwindInfo::of(&elf).expect("its parts"))
    }

    #[test]
    fn a_table_comes_back_as_it_was() {
        let table = table();
        assert!(table.rows.len() > 1000);
        let read = decode(&encode(&table)).expect("what was just written");
        assert_eq!((read.rows, read.rules), (table.rows, table.rules));
    }

    #[test]
    fn a_second_look_reads_what_the_first_one_wrote() {
        let folder = tempfile::tempdir().expect("a folder");
        let cache = Cache::at(folder.path()).expect("a cache");
        let elf = own();
        let image = UnwindInfo::of(&elf).expect("its parts");
        let made = cache.table(&image);
        let path = cache.folder.join(name(&image));
        // What is made of instructions is not kept.
        let kept = crate::unwind::cfi::table(&image).rows;
        assert_eq!(cache.read(&path).expect("kept").rows, kept);
        assert_eq!(cache.table(&image).rows, made.rows);
        // Damaged: made anew, and kept again.
        fs::write(&path, b"trcunw01 and nonsense").expect("written");
        assert_eq!(cache.read(&path), None);
        assert_eq!(cache.table(&image).rows, made.rows);
        assert_eq!(cache.read(&path).expect("kept again").rows, kept);
    }

    #[test]
    fn what_others_may_write_is_not_read() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().expect("a folder");
        let cache = Cache::at(folder.path()).expect("a cache");
        let name = cache.folder.join("table");
        cache.write(&name, &table()).expect("written");
        assert!(cache.read(&name).is_some());
        fs::set_permissions(&name, fs::Permissions::from_mode(0o666)).expect("opened");
        assert_eq!(cache.read(&name), None);
        fs::set_permissions(&cache.folder, fs::Permissions::from_mode(0o777)).expect("opened");
        assert!(Cache::at(folder.path()).is_err());
    }

    #[test]
    fn the_oldest_tables_make_room() {
        let folder = tempfile::tempdir().expect("a folder");
        let cache = Cache::at(folder.path()).expect("a cache");
        let old = cache.folder.join("old");
        let file = File::create(&old).expect("a file");
        file.set_len(MAX_BYTES).expect("sparse");
        cache
            .write(&cache.folder.join("new"), &table())
            .expect("written");
        assert!(!old.exists());
        assert!(cache.folder.join("new").exists());
    }

    proptest! {
        #[test]
        fn nonsense_with_a_right_digest_is_refused_or_in_order(
            mut body in prop::collection::vec(any::<u8>(), 0..400),
            rules in 0u64..4,
            rows in 0u64..8,
        ) {
            body.splice(0..0, rules.to_le_bytes().into_iter().chain(rows.to_le_bytes()));
            if let Some(table) = decode_checked(&body) {
                prop_assert!(table.rows.is_sorted_by(|a, b| a.offset < b.offset));
                prop_assert!(table.rows.iter().all(|row| u64::from(row.rule) < rules));
            }
        }
    }
}
