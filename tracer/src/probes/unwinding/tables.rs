//! Gives tables to the BPF programs: those known before the target runs, and
//! those of the files that they report as they meet them.

use super::large::{Job, Large};
use crate::files::{Elf, FileId, Mapping, Source, regular, vdso};
use crate::probes::bpf;
use crate::unwind::cache::table_of;
use crate::unwind::info::UnwindInfo;
use crate::unwind::known::file_of;
use crate::unwind::pack::{Packed, pack};
use crate::unwind::{Cache, Error, Known, Table};
use aya::Ebpf;
use aya::maps::{Array, HashMap, Map, MapData, MapError};
use aya_obj::generated::bpf_map_type::BPF_MAP_TYPE_ARRAY;
use rustc_hash::FxHashMap;
use std::fs::{File, Metadata};
use std::os::fd::{AsFd as _, AsRawFd as _, RawFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tracer_ebpf::tables::{Chunk, FileKey, FileTable, MAX_RULES, MAX_TABLES, Rule, Sighting, VDSO};
use zerocopy::{FromBytes, IntoBytes};

/// A value that the kernel copies as it is.
#[derive(Clone, Copy)]
#[repr(transparent)]
struct Raw<T>(T);

// SAFETY: any bytes are a value of such a type, and it has no padding: zerocopy has checked both.
unsafe impl<T: FromBytes + IntoBytes + Copy + 'static> aya::Pod for Raw<T> {}

/// Bytes of a file whose table may take a while to make.
const LARGE: u64 = 4 << 20;

/// Bytes that all tables together may take in the kernel. Python with TileDB-SOMA
/// takes 14 MiB, but files that mean harm are cheap to make.
pub const MAX_BYTES: u64 = 256 << 20;

/// Why a table could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The object lacks a map, or has another than expected.
    #[error("the BPF object has no usable map {0}")]
    Map(&'static str),
    /// The kernel refused it.
    #[error("an unwind table can't be loaded: {0}")]
    Refused(#[from] MapError),
    /// More was mapped than there is room for.
    #[error(
        "{0} files have no unwind table: all together would be more than {MAX_TABLES} or take \
         more than {mib} MiB in the kernel",
        mib = MAX_BYTES >> 20
    )]
    Full(u64),
    /// The thread that follows the target could not be started.
    #[error("no thread can be started: {0}")]
    Thread(#[source] std::io::Error),
}

/// What was prepared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prepared {
    /// The file.
    pub path: PathBuf,
    /// Rows of its table; 0 if it has none.
    pub rows: u64,
    /// Bytes that its table takes in the kernel.
    pub bytes: u64,
    /// Why it has no table, if that is not simply so.
    pub problem: Option<String>,
}

/// The tables in the kernel.
pub struct Tables {
    tables: MapData,
    rules: Array<MapData, Raw<Rule>>,
    files: HashMap<MapData, Raw<FileKey>, Raw<FileTable>>,
    unknown: HashMap<MapData, Raw<FileKey>, Raw<Sighting>>,
    numbers: FxHashMap<Rule, u32>,
    entries: FxHashMap<FileKey, FileTable>,
    known: Known,
    cache: Option<Cache>,
    /// Made, and not yet published; the last has the number before `next`.
    large: Large,
    made: Vec<MapData>,
    /// Files whose tables were made, or that have none; not yet published.
    told: Vec<(FileKey, FileTable)>,
    next: u32,
    next_rule: u32,
    /// Taken in the kernel by all tables.
    bytes: u64,
    /// Files whose tables found no room.
    left_out: u64,
}

impl Tables {
    /// Takes the maps of the unwinder out of a loaded object.
    ///
    /// # Errors
    ///
    /// If it lacks one.
    pub fn new(ebpf: &mut Ebpf) -> Result<Self, LoadError> {
        fn take<M: TryFrom<aya::maps::Map>>(
            ebpf: &mut Ebpf,
            name: &'static str,
        ) -> Result<M, LoadError> {
            let map = ebpf.take_map(name).ok_or(LoadError::Map(name))?;
            M::try_from(map).map_err(|_| LoadError::Map(name))
        }
        let Some(Map::ArrayOfMaps(tables)) = ebpf.take_map("TABLES") else {
            return Err(LoadError::Map("TABLES"));
        };
        Ok(Self {
            tables,
            rules: take(ebpf, "RULES")?,
            files: take(ebpf, "FILES")?,
            unknown: take(ebpf, "UNKNOWN_FILES")?,
            numbers: FxHashMap::default(),
            entries: FxHashMap::default(),
            known: Known::default(),
            cache: None,
            large: Large::default(),
            made: Vec::new(),
            told: Vec::new(),
            // Table 0 and rule 0 stand for none.
            next: 1,
            next_rule: 1,
            bytes: 0,
            left_out: 0,
        })
    }

    /// Keeps tables on disk, and takes from there those of files seen before.
    pub fn keep_in(&mut self, cache: Option<Cache>) {
        self.cache = cache;
    }

    /// The tables in memory, for walks in user space.
    #[must_use]
    pub fn known(&self) -> Known {
        self.known.clone()
    }

    /// Prepares files, on as many threads as there are CPUs, and the vDSO.
    ///
    /// # Errors
    ///
    /// If the kernel refuses a table. A file without one is none.
    pub fn add_files(&mut self, paths: &[PathBuf]) -> Result<Vec<Prepared>, LoadError> {
        let next = std::sync::atomic::AtomicUsize::new(0);
        let cache = self.cache.as_ref();
        let built = std::sync::Mutex::new(Vec::new());
        let threads = std::thread::available_parallelism()
            .map_or(1, usize::from)
            .min(paths.len());
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    while let Some(path) =
                        paths.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed))
                    {
                        let result = build(path, cache);
                        if let Ok(mut built) = built.lock() {
                            built.push((path, result));
                        }
                    }
                });
            }
        });
        let built = built.into_inner().unwrap_or_default();
        let mut prepared = Vec::with_capacity(built.len() + 1);
        for (path, result) in built {
            prepared.push(self.add(path, None, result)?);
        }
        prepared.push(self.add(Path::new(vdso::NAME), Some(VDSO), vdso_table())?);
        self.publish()?;
        Ok(prepared)
    }

    /// Prepares the files that the programs met and did not know.
    ///
    /// # Errors
    ///
    /// If the kernel refuses a table.
    pub fn add_unknown(&mut self) -> Result<Vec<Prepared>, LoadError> {
        let mut met: Vec<_> = self.unknown.iter().filter_map(Result::ok).collect();
        met.retain(|(Raw(key), _)| !self.large.has(key));
        met.sort_unstable_by_key(|(Raw(key), _)| key.size);
        let mut prepared = Vec::with_capacity(met.len());
        let mut handled = Vec::with_capacity(met.len());
        for (Raw(key), Raw(seen)) in met {
            let (path, result) = if key == VDSO {
                (vdso::NAME.into(), vdso_table())
            } else {
                let path = Mapping::link(seen.pid, &(seen.start..seen.end));
                let Some(result) = self.build_here_or_apart(key, &path) else {
                    continue;
                };
                (path, result)
            };
            handled.push(key);
            // A process that ended took the path with it: another may show the file.
            let gone = matches!(&result, Err(Error::Io(_)));
            if !gone {
                prepared.push(self.add(&path, Some(key), result)?);
            }
        }
        for done in self.large.take() {
            handled.push(done.key);
            prepared.push(self.add(&done.path, Some(done.key), done.built)?);
        }
        self.publish_met(&handled)?;
        Ok(prepared)
    }

    /// Waits for the tables of large files.
    ///
    /// # Errors
    ///
    /// If the kernel refuses one.
    pub fn add_large(&mut self) -> Result<Vec<Prepared>, LoadError> {
        let mut prepared = Vec::new();
        while let Some(done) = self.large.wait() {
            prepared.push(self.add(&done.path, Some(done.key), done.built)?);
            self.publish_met(&[done.key])?;
        }
        Ok(prepared)
    }

    /// The table of a file that the programs met; nothing where another thread makes it, because
    /// the file is large.
    fn build_here_or_apart(
        &mut self,
        key: FileKey,
        path: &Path,
    ) -> Option<Result<(FileKey, Table), Error>> {
        let (own, file) = match open(path) {
            Ok(opened) => opened,
            Err(error) => return Some(Err(error)),
        };
        if key.size <= LARGE {
            return Some(built(own, file, self.cache.as_ref()));
        }
        let path = std::fs::read_link(path).unwrap_or_else(|_| path.to_path_buf());
        let job = Job {
            key,
            own,
            path,
            file,
        };
        let refused = self.large.push(job, self.cache.as_ref(), &self.known)?;
        Some(built(own, refused.file, self.cache.as_ref()))
    }

    /// Lets the programs have what was made of the files that they met.
    fn publish_met(&mut self, met: &[FileKey]) -> Result<(), LoadError> {
        self.publish()?;
        for &key in met {
            match self.unknown.remove(&Raw(key)) {
                Ok(()) | Err(MapError::KeyNotFound) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Prepares the files that were asked for ([`Known::want`]).
    ///
    /// # Errors
    ///
    /// If the kernel refuses a table.
    pub fn add_wanted(&mut self) -> Result<Vec<Prepared>, LoadError> {
        let mut prepared = Vec::new();
        for file in self.known.take_wanted() {
            let path = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
            let result = build(&path, self.cache.as_ref());
            prepared.push(self.add(&path, None, result)?);
        }
        if !prepared.is_empty() {
            self.publish()?;
        }
        Ok(prepared)
    }

    /// Loads what was built of a file, under `key` if the kernel has said it.
    fn add(
        &mut self,
        path: &Path,
        key: Option<FileKey>,
        built: Result<(FileKey, Table), Error>,
    ) -> Result<Prepared, LoadError> {
        let path = std::fs::read_link(path).unwrap_or_else(|_| path.to_path_buf());
        let mut prepared = Prepared {
            path,
            rows: 0,
            bytes: 0,
            problem: None,
        };
        let (own, table) = match built {
            Ok(built) => built,
            Err(error) => {
                prepared.problem = Some(error.to_string());
                if let Some(key) = key {
                    self.known.insert(file_of(&key), None);
                    self.told.push((key, FileTable::default()));
                }
                return Ok(prepared);
            }
        };
        let (entry, packed) = match self.entries.get(&own) {
            Some(&entry) => (entry, self.known.get(file_of(&own))),
            None => {
                let numbers = self.number(&table.rules)?;
                match pack(&table, &numbers).map(Arc::new) {
                    Some(packed) if self.has_room(&packed) => {
                        prepared.rows = table.coverage.rows;
                        prepared.bytes = packed.bytes();
                        (self.load(&packed)?, Some(packed))
                    }
                    Some(_) => {
                        self.left_out += 1;
                        prepared.problem = Some("there is no room for its table".into());
                        (FileTable::default(), None)
                    }
                    None => (FileTable::default(), None),
                }
            }
        };
        self.entries.insert(own, entry);
        for key in [Some(own), key].into_iter().flatten() {
            self.known.insert(file_of(&key), packed.clone());
            self.told.push((key, entry));
        }
        Ok(prepared)
    }

    /// The numbers of a table's rules; those for which there is no room become
    /// "no unwind information".
    fn number(&mut self, rules: &[Rule]) -> Result<Vec<u32>, LoadError> {
        let mut numbers = Vec::with_capacity(rules.len());
        for &rule in rules {
            let number = match self.numbers.get(&rule) {
                Some(&number) => number,
                None if rule == Rule::default() || self.next_rule >= MAX_RULES => 0,
                None => {
                    let number = self.next_rule;
                    self.rules.set(number, Raw(rule), 0)?;
                    self.known.set_rule(number, rule);
                    self.numbers.insert(rule, number);
                    self.next_rule += 1;
                    number
                }
            };
            numbers.push(number);
        }
        Ok(numbers)
    }

    fn has_room(&self, packed: &Packed) -> bool {
        self.next < MAX_TABLES && self.bytes + packed.bytes() <= MAX_BYTES
    }

    /// Whether each file that has unwind information could have its table.
    ///
    /// # Errors
    ///
    /// [`LoadError::Full`], if not.
    pub fn all_fit(&self) -> Result<(), LoadError> {
        match self.left_out {
            0 => Ok(()),
            files => Err(LoadError::Full(files)),
        }
    }

    fn load(&mut self, packed: &Packed) -> Result<FileTable, LoadError> {
        /// Tables differ in size (linux/bpf.h).
        const BPF_F_INNER_MAP: u32 = 1 << 12;
        let (key, value) = (size_of::<u32>() as u32, size_of::<Chunk>() as u32);
        let kind = BPF_MAP_TYPE_ARRAY as u32;
        let count = packed.chunks.len() as u32;
        let map = aya_obj::Map::new_from_params(kind, key, value, count, BPF_F_INNER_MAP);
        let table = MapData::create(map, "unwind_table", None)?;
        put(&table, 0, &packed.chunks)?;
        self.made.push(table);
        self.next += 1;
        self.bytes += packed.bytes();
        Ok(packed.entry(self.next - 1))
    }

    /// Lets the programs have what was made: the tables, then the files that
    /// name them.
    fn publish(&mut self) -> Result<(), LoadError> {
        let descriptor = |table: &MapData| table.fd().as_fd().as_raw_fd();
        let made: Vec<RawFd> = self.made.iter().map(descriptor).collect();
        put(&self.tables, self.next - made.len() as u32, &made)?;
        self.made.clear();
        for (key, entry) in self.told.drain(..) {
            self.files.insert(Raw(key), Raw(entry), 0)?;
        }
        Ok(())
    }
}

/// What the kernel knows a file by, as far as `stat(2)` tells.
fn key(found: &Metadata) -> FileKey {
    let file = FileId::of(found);
    FileKey {
        inode: file.inode,
        size: found.len(),
        device: file.kernel_device(),
        _pad: 0,
    }
}

/// A file's table.
fn build(path: &Path, cache: Option<&Cache>) -> Result<(FileKey, Table), Error> {
    let (own, file) = open(path)?;
    built(own, file, cache)
}

fn built(own: FileKey, file: File, cache: Option<&Cache>) -> Result<(FileKey, Table), Error> {
    let elf = Elf::parse(Source::of(file)?)?;
    Ok((own, table_of(&UnwindInfo::of(&elf)?, cache)))
}

fn open(path: &Path) -> Result<(FileKey, File), Error> {
    let file = regular(path)?;
    Ok((key(&file.metadata()?), file))
}

/// The table of the vDSO, which is the same for all processes.
fn vdso_table() -> Result<(FileKey, Table), Error> {
    let elf = Elf::parse(Source::Memory(vdso()?))?;
    Ok((VDSO, Table::build(&UnwindInfo::of(&elf)?)))
}

/// Sets the elements of a map that has numbered ones, from number `first` on.
///
/// # Errors
/// What the kernel says; and `InvalidInput` where the map has elements of another size.
fn put<T: aya::Pod>(map: &MapData, first: u32, values: &[T]) -> Result<(), MapError> {
    if values.is_empty() {
        return Ok(());
    }
    if map.info()?.value_size() as usize != size_of::<T>() {
        return Err(std::io::Error::from(std::io::ErrorKind::InvalidInput).into());
    }
    Ok(bpf::update_elements(map.fd().as_fd(), first, values)?)
}
