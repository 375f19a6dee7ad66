//! Which frames only pass a request for memory on: allocators and containers; and which
//! only move bytes for others.
//!
//! [`table`] has the names, with their languages and modules. Besides, whatever an
//! allocator's function calls in its own file is its inside, under whatever name: in a
//! stack `brk, sbrk, …, malloc, asker` all of the C library's frames are passed over.

mod names;
mod table;

use super::{Frame, Reason};
use names::{is_library_file, readings};
use rustc_hash::FxBuildHasher;
use std::borrow::Borrow;
use std::hash::BuildHasher;
use table::{ALLOCATORS, Kind, Names, Pattern, ROWS};

/// The first frame, from the inside out, that does more than pass a request on, as allocators and
/// containers do.
///
/// Where every frame passes it on (an allocation by the runtime itself), it is
/// the outermost of them, the one nearest to whoever asked; where a stack is
/// nothing but the reason why there is none, that reason. A frame without a
/// name passes nothing on, unless an allocator's own file has it: who it is is not
/// known, and whoever called it did not ask for the memory himself.
#[must_use]
pub fn location<'a>(frames: &[&'a Frame]) -> &'a Frame {
    let classes: Vec<Class> = frames.iter().map(|frame| Class::of(frame)).collect();
    at(frames, reserving(&classes))
}

/// Likewise of memory that was touched: functions that move bytes for others (`memcpy`,
/// `read`) are passed over, too.
#[must_use]
pub fn toucher<'a>(frames: &[&'a Frame]) -> &'a Frame {
    let classes: Vec<Class> = frames.iter().map(|frame| Class::of(frame)).collect();
    at(frames, touching(&classes))
}

fn at<'a>(frames: &[&'a Frame], found: Option<usize>) -> &'a Frame {
    const NONE: &Frame = &Frame {
        function: None,
        file: None,
        line: None,
        module: None,
        offset: 0,
        inlined: false,
    };
    found.and_then(|at| frames.get(at).copied()).unwrap_or(NONE)
}

/// What matters of a frame here: it is the same in every stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// It says where the stack ends.
    End,
    /// A real one.
    Frame {
        kind: Option<Kind>,
        /// The module's name in small; nothing where it is not known.
        module: Option<u64>,
    },
}

impl Class {
    pub(super) fn of(frame: &Frame) -> Self {
        if is_end(frame) {
            return Self::End;
        }
        Self::Frame {
            kind: kind(frame),
            module: frame
                .module
                .as_ref()
                .map(|name| FxBuildHasher.hash_one(name)),
        }
    }

    fn kind(&self) -> Option<Kind> {
        match self {
            Self::End => None,
            Self::Frame { kind, .. } => *kind,
        }
    }

    fn module(&self) -> Option<u64> {
        match self {
            Self::End => None,
            Self::Frame { module, .. } => *module,
        }
    }
}

/// Which frame of a stack asked for memory: see [`location`].
pub(super) fn reserving<C: Borrow<Class>>(classes: &[C]) -> Option<usize> {
    first(classes, |kind| matches!(kind, Kind::Entry | Kind::Plumbing))
}

/// Which frame of a stack touched memory: see [`toucher`].
pub(super) fn touching<C: Borrow<Class>>(classes: &[C]) -> Option<usize> {
    first(classes, |_| true)
}

fn first<C: Borrow<Class>>(classes: &[C], passes: impl Fn(Kind) -> bool) -> Option<usize> {
    let real = classes
        .iter()
        .position(|class| *class.borrow() == Class::End);
    let real = &classes[..real.unwrap_or(classes.len())];
    let asks = |at: &usize| !real[*at].borrow().kind().is_some_and(&passes);
    let found = (insides(real)..real.len()).find(asks);
    found
        .or(real.len().checked_sub(1))
        .or((!classes.is_empty()).then_some(0))
}

/// How many of the first frames are an allocator's: up to the outermost of its functions
/// from which all further inside are in the same file, or pass it on for others.
fn insides<C: Borrow<Class>>(classes: &[C]) -> usize {
    let mut inside = 0;
    for (at, entry) in classes.iter().enumerate() {
        let entry: &Class = entry.borrow();
        if entry.kind() != Some(Kind::Entry) {
            continue;
        }
        let own = |class: &C| {
            let class: &Class = class.borrow();
            class.kind().is_some() || class.module().is_some() && class.module() == entry.module()
        };
        if !classes[inside..at].iter().all(own) {
            break;
        }
        inside = at + 1;
    }
    inside
}

/// Whether the frame says where the stack ends.
fn is_end(frame: &Frame) -> bool {
    let name = frame.function.as_deref();
    frame.module.is_none()
        && Reason::ALL
            .iter()
            .any(|r| r.is_end() && name == Some(r.text()))
}

/// What the table says of a frame; nothing of those who ask and touch themselves.
fn kind(frame: &Frame) -> Option<Kind> {
    let module = frame.module.as_deref().unwrap_or_default();
    if ALLOCATORS.iter().any(|name| module.starts_with(name)) {
        return Some(Kind::Plumbing);
    }
    let function = frame.function.as_deref()?;
    if frame.file.as_deref().is_some_and(is_library_file) {
        return Some(Kind::Plumbing);
    }
    let readings = readings(frame, function);
    let matches = |row: &&Pattern| {
        let here = row.modules.is_empty() || row.modules.iter().any(|m| module.starts_with(m));
        let of_language = readings
            .iter()
            .filter(|(language, _)| *language == row.language);
        here && of_language
            .into_iter()
            .any(|(_, name)| has(row.names, name))
    };
    ROWS.iter().find(matches).map(|row| row.kind)
}

fn has(names: Names, name: &str) -> bool {
    match names {
        Names::Whole(whole) => whole.contains(&name),
        Names::Each(first, then) => first
            .iter()
            .filter_map(|first| name.strip_prefix(first))
            .any(|rest| then.contains(&rest)),
        Names::Within(parts) => parts.iter().any(|part| name.starts_with(part)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(name: &str) -> Frame {
        Frame {
            function: Some(name.to_owned()),
            ..Frame::default()
        }
    }

    fn location_of(names: &[&str]) -> String {
        let frames: Vec<_> = names.iter().map(|name| frame(name)).collect();
        location(&frames.iter().collect::<Vec<_>>()).to_string()
    }

    #[test]
    fn what_passes_requests_on_is_passed_over() {
        for name in [
            "malloc",
            "__libc_malloc",
            "__GI___libc_malloc",
            "_int_malloc",
            "sysmalloc",
            "__mmap",
            "mmap64",
            "__posix_memalign",
            "operator new(unsigned long)",
            "operator new[](unsigned long, std::align_val_t)",
            "__rust_alloc",
            "__rustc::__rust_alloc_zeroed",
            "__rdl_alloc",
            "alloc::raw_vec::RawVecInner<A>::try_allocate_in",
            "alloc::vec::Vec<T>::with_capacity",
            "<alloc::raw_vec::RawVec<T,A> as core::ops::drop::Drop>::drop",
            "<T as alloc::vec::spec_from_elem::SpecFromElem>::from_elem",
            "<u8 as alloc::vec::spec_from_elem::SpecFromElem>::from_elem",
            "<&mut alloc::vec::Vec<u8> as std::io::Write>::write",
            "std::collections::hash::map::HashMap<K,V,S>::insert",
            "hashbrown::raw::RawTable<T,A>::reserve_rehash",
            "std::vector<int, std::allocator<int> >::reserve(unsigned long)",
            "std::__1::vector<int>::push_back(int&&)",
            "std::_Rb_tree<int>::_M_insert_node(int)",
            "std::__cxx11::basic_string<char>::_M_create(unsigned long&, unsigned long)",
            "__gnu_cxx::new_allocator<int>::allocate(unsigned long, void const*)",
            "_PyMem_RawMalloc",
            "_PyObject_Malloc",
            "je_malloc",
            "_rjem_je_mallocx",
            "mi_malloc_aligned",
            "tc_newarray",
            "void std::vector<int>::emplace_back<int>(int&&)",
            "tcache_init.part.0",
        ] {
            assert_eq!(location_of(&[name, "asker", "main"]), "asker", "{name}");
        }
    }

    #[test]
    fn what_asked_is_not_plumbing() {
        for name in [
            "main",
            "mmap_region_of_mine",
            "__libc_start_main",
            "_start",
            "tiledb::sm::Buffer::realloc(unsigned long)",
            "workload::reserved::Reserved::with_capacity",
            "<workload::Table as core::clone::Clone>::clone",
            "allocate_columns",
            "mallocate",
            "std::fs::read",
            "std::thread::spawn",
            "corelib::f",
            "new_heap_of_mine",
            "[file is gone: libfoo.so+0x10]",
            "[not a known module: 0x10]",
            // Names that begin like those of allocators and of standard libraries.
            "core::load()",
            "alloc::budget()",
            "mimalloc_bench::go()",
            "mimalloc_bench::go",
            "tc_parse",
            "mi_read_table",
            "je_suis",
            "rust_allocate_columns",
            "PyMem_cache_of_mine",
            "new_arena",
            "alloc_slot",
            "hashbrown_of_mine::f",
            "std::thread::thread(int)",
            "memcpy_columns",
            "memcpy",
        ] {
            assert_eq!(location_of(&["malloc", name, "main"]), name);
        }
    }

    #[test]
    fn a_stack_of_plumbing_alone_is_its_outermost_frame() {
        assert_eq!(
            location_of(&["malloc", "operator new(unsigned long)"]),
            "operator new(unsigned long)"
        );
        assert_eq!(
            location_of(&["malloc", "calloc", "[cut: too many frames]"]),
            "calloc"
        );
        assert_eq!(location_of(&["[no stack]"]), "[no stack]");
        assert_eq!(location_of(&[]), "[unknown]");
    }

    #[test]
    fn inlined_plumbing_without_its_module_is_known_by_its_file() {
        let inlined = |file: &str| Frame {
            file: Some(file.to_owned()),
            inlined: true,
            ..frame("with_capacity<u8>")
        };
        let own = inlined("/home/me/library/src/lib.rs");
        let frames = [
            inlined("/rustc/5980/library/alloc/src/vec/mod.rs"),
            own.clone(),
            frame("main"),
        ];
        assert_eq!(location(&frames.each_ref()), &own);
    }

    #[test]
    fn a_frame_without_a_name_is_a_location() {
        let stripped = Frame {
            module: Some("libfoo.so".to_owned()),
            offset: 0x1234,
            ..Frame::default()
        };
        let frames = [frame("malloc"), stripped, frame("main")];
        assert_eq!(location(&frames.each_ref()).to_string(), "libfoo.so+0x1234");
    }

    /// `function@module`
    fn of_module(text: &str) -> Frame {
        let (function, module) = text.split_once('@').expect("a module");
        Frame {
            module: Some(module.to_owned()),
            ..frame(function)
        }
    }

    fn names_of(of: fn(&[&Frame]) -> String, stack: &str) -> String {
        let frames: Vec<Frame> = stack.split(' ').map(of_module).collect();
        of(&frames.iter().collect::<Vec<_>>())
    }

    fn reserver_of(stack: &str) -> String {
        names_of(|frames| location(frames).to_string(), stack)
    }

    fn toucher_of(stack: &str) -> String {
        names_of(|frames| toucher(frames).to_string(), stack)
    }

    #[test]
    fn what_an_allocator_calls_in_its_own_file_is_its_inside() {
        for stack in [
            "brk_call@libc.so.6 __brk@libc.so.6 sbrk@libc.so.6 unheard_of@libc.so.6 malloc@libc.so.6 asker@prog",
            "mremap@libc.so.6 mremap_chunk@libc.so.6 realloc@libc.so.6 asker@prog",
            "munmap@libc.so.6 shrink_heap@libc.so.6 free@libc.so.6 asker@prog",
            "pages_map@libjemalloc.so.2 arena_new@libjemalloc.so.2 malloc@libjemalloc.so.2 asker@prog",
            "mmap@libc.so.6 os_pages_map@prog extent_alloc@prog _rjem_malloc@prog asker@prog",
            "__mmap@libc.so.6 anything@libmimalloc.so.2 asker@prog",
            "__minimal_malloc@ld-linux-x86-64.so.2 asker@ld-linux-x86-64.so.2",
            "new_arena@libpython3.11.so.1.0 _PyObject_Malloc@libpython3.11.so.1.0 asker@prog",
        ] {
            assert_eq!(reserver_of(stack), "asker", "{stack}");
        }
    }

    #[test]
    fn a_hook_between_two_allocators_asked_itself() {
        let stack = "mmap@libc.so.6 hook@plugin.so malloc@libc.so.6 main@prog";
        assert_eq!(reserver_of(stack), "hook");
        let stack = "malloc@libc.so.6 asker@prog callback@prog free@libc.so.6 main@prog";
        assert_eq!(reserver_of(stack), "asker");
    }

    #[test]
    fn who_moves_bytes_touches_for_others() {
        for stack in [
            "__memcpy_avx512_unaligned_erms@libc.so.6 asker@prog",
            "__memset_evex_unaligned_erms@libc.so.6 calloc@libc.so.6 asker@prog",
            "__memmove_avx_unaligned_erms@libc.so.6 std::vector<int>::push_back(int&&)@prog asker@prog",
            "__strcpy_chk@libc.so.6 asker@prog",
            "__GI___libc_read@libc.so.6 _IO_new_file_underflow@libc.so.6 getdelim@libc.so.6 asker@prog",
        ] {
            assert_eq!(toucher_of(stack), "asker", "{stack}");
        }
        // Whoever reserves by them asked himself.
        assert_eq!(
            reserver_of("mmap@libc.so.6 fread@libc.so.6 main@prog"),
            "fread"
        );
        assert_eq!(
            toucher_of("memset_columns@prog main@prog"),
            "memset_columns"
        );
        assert_eq!(toucher_of("_IO_of_mine@prog main@prog"), "_IO_of_mine");
    }

    #[test]
    fn files_of_standard_libraries_are_known_by_their_whole_place() {
        for file in [
            "/rustc/59807616e1fa2540724bfbac14d7976d7e4a3860/library/core/src/ptr/mod.rs",
            "/usr/src/rustc-1.85.0/library/alloc/src/vec/mod.rs",
            "/home/me/.rustup/toolchains/stable/lib/rustlib/src/rust/library/alloc/src/string.rs",
            "/home/me/.cargo/registry/src/index/hashbrown-0.15.2/src/raw/mod.rs",
            "/usr/include/c++/12/bits/stl_vector.h",
            "/usr/lib/llvm-18/include/c++/v1/vector",
        ] {
            assert!(is_library_file(file), "{file}");
        }
        for file in [
            "/home/me/library/core/src/load.rs",
            "/home/me/library/core/src/load.c",
            "/home/me/include/c++/mine.h",
            "/home/me/hashbrown-mine/src/lib.rs",
            "/srv/library/alloc/src/lib.rs",
        ] {
            assert!(!is_library_file(file), "{file}");
        }
    }
}
