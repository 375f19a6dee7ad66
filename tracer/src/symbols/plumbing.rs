//! Which frames only pass a request for memory on: allocators and containers.
//!
//! This is the one table of such names. Matching is by the beginning of the
//! demangled name, by the whole of it, or by the source file.

use super::{Frame, Reason};

/// Whole names of C functions.
const FUNCTIONS: &[&str] = &[
    "malloc",
    "calloc",
    "realloc",
    "reallocarray",
    "free",
    "cfree",
    "posix_memalign",
    "aligned_alloc",
    "memalign",
    "valloc",
    "pvalloc",
    "malloc_hook_ini",
    "malloc_consolidate",
    "malloc_usable_size",
    "strdup",
    "strndup",
    "wcsdup",
    "xmalloc",
    "xcalloc",
    "xrealloc",
    // System calls and their wrappers.
    "mmap",
    "mmap64",
    "mremap",
    "munmap",
    "brk",
    "sbrk",
    "shmat",
    "syscall",
    "madvise",
    // glibc
    "libc_malloc",
    "libc_calloc",
    "libc_realloc",
    "libc_free",
    "libc_memalign",
    "libc_valloc",
    "libc_pvalloc",
    "libc_reallocarray",
    "int_malloc",
    "int_realloc",
    "int_memalign",
    "int_free",
    "mid_memalign",
    "sysmalloc",
    "sysmalloc_mmap",
    "sysmalloc_mmap_fallback",
    "systrim",
    "default_morecore",
    "glibc_morecore",
    "new_heap",
    "alloc_new_heap",
    "grow_heap",
    "heap_trim",
    "arena_get2",
    "arena_get_retry",
    "get_free_list",
    "ptmalloc_init",
    "tcache_init",
    "tcache_key_initialize",
    "malloc_check",
    "malloc2",
    "calloc2",
    "memalign2",
    // musl
    "libc_malloc_impl",
    "simple_malloc",
    "alloc_slot",
    "alloc_group",
    "expand_heap",
    "malloc_alloc_meta",
    "try_avail",
    // CPython
    "pymalloc_alloc",
    "new_arena",
    "arena_map_get",
    "allocate_from_new_pool",
];

/// Beginnings of names.
const PREFIXES: &[&str] = &[
    // Rust: the allocator's entry points and the library's collections.
    "__rust_",
    "__rustc::__rust_",
    "__rdl_",
    "__rg_",
    "alloc::",
    "core::",
    "std::alloc::",
    "std::sys::alloc",
    "std::collections::",
    "hashbrown::",
    "indexmap::",
    "smallvec::",
    // C++
    "operator new",
    "std::_",
    "std::vector<",
    "std::basic_string<",
    "std::string::",
    "std::allocator<",
    "std::allocator_traits<",
    "std::deque<",
    "std::list<",
    "std::map<",
    "std::set<",
    "std::multimap<",
    "std::multiset<",
    "std::unordered_",
    "std::queue<",
    "std::stack<",
    "std::make_shared<",
    "std::make_unique<",
    "std::allocate_shared<",
    "std::shared_ptr<",
    "std::unique_ptr<",
    "std::function<",
    "std::optional<",
    "std::variant<",
    "std::tuple<",
    "std::pair<",
    "std::construct_at<",
    "std::uninitialized_",
    "std::fill",
    "std::copy",
    "std::move",
    "std::pmr::",
    "std::get_temporary_buffer",
    "std::back_insert_iterator<",
    "__gnu_cxx::",
    "absl::container_internal",
    "boost::container::",
    // Other allocators.
    "je_",
    "_rjem_",
    "jemalloc::",
    "tikv_jemallocator",
    "jemallocator",
    "tc_",
    "tcmalloc::",
    "mi_",
    "_mi_",
    "mimalloc::",
    "snmalloc::",
    "scudo::",
    // CPython's allocators.
    "PyMem_",
    "PyObject_Malloc",
];

/// Likewise, after underscores in front (`_PyMem_…`).
const INNER_PREFIXES: &[&str] = &[
    "PyMem_",
    "PyObject_Malloc",
    "PyObject_Calloc",
    "PyObject_Realloc",
    "PyObject_Free",
    "rust_alloc",
];

/// Parts of paths of source files. Line tables alone do not tell which module
/// an inlined function is from (`with_capacity`), but they tell its file.
const FILES: &[&str] = &[
    "/library/alloc/src/",
    "/library/core/src/",
    "/library/std/src/collections/",
    "/library/std/src/alloc.rs",
    "/library/std/src/sys/alloc/",
    "/hashbrown-",
    "/indexmap-",
    "/smallvec-",
    "/include/c++/",
    "/c++/v1/",
    "/bits/stl_",
];

/// The first frame, from the inside out, that is not allocator or container
/// plumbing.
///
/// Where every frame is plumbing (an allocation by the runtime itself), it is
/// the outermost of them, the one nearest to whoever asked; where a stack is
/// nothing but the reason why there is none, that reason. A frame without a
/// name is no plumbing: who it is is not known, and whoever called it did not
/// ask for the memory himself.
#[must_use]
pub fn location<'a>(frames: &[&'a Frame]) -> &'a Frame {
    const NONE: &Frame = &Frame {
        function: None,
        file: None,
        line: None,
        module: None,
        offset: 0,
        inlined: false,
    };
    let real = || frames.iter().copied().filter(|frame| !is_end(frame));
    let found = real().find(|frame| !is_plumbing(frame));
    found
        .or_else(|| real().next_back())
        .or(frames.first().copied())
        .unwrap_or(NONE)
}

/// Whether the frame says where the stack ends.
fn is_end(frame: &Frame) -> bool {
    let name = frame.function.as_deref();
    frame.module.is_none()
        && Reason::ALL
            .iter()
            .any(|r| r.is_end() && name == Some(r.text()))
}

/// Whether the frame is an allocator's or a container's.
fn is_plumbing(frame: &Frame) -> bool {
    let Some(function) = &frame.function else {
        return false;
    };
    let file = frame.file.as_deref().unwrap_or_default();
    if FILES.iter().any(|part| file.contains(part)) {
        return true;
    }
    let name = self_type(function);
    let bare = name.trim_start_matches('_');
    let c_name = bare
        .strip_prefix("GI_")
        .unwrap_or(bare)
        .trim_start_matches('_');
    FUNCTIONS.contains(&c_name)
        || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
        || INNER_PREFIXES.iter().any(|prefix| bare.starts_with(prefix))
}

/// `<alloc::vec::Vec<T> as Trait>::f` is about `alloc::vec::Vec`; where the type
/// is the trait's own parameter (`<T as alloc::…>::f`), it is about the trait.
fn self_type(function: &str) -> &str {
    let mut name = function.trim_start_matches('<');
    if name.len() == function.len() {
        return name;
    }
    loop {
        let shorter = ["&", "mut ", "*const ", "*mut ", "dyn ", "["];
        match shorter.iter().find_map(|prefix| name.strip_prefix(prefix)) {
            Some(rest) => name = rest,
            None => break,
        }
    }
    match name.split_once(" as ") {
        Some((own, of)) if own.len() <= 2 || is_primitive(own) => of,
        _ => name,
    }
}

fn is_primitive(name: &str) -> bool {
    const PRIMITIVES: [&str; 15] = [
        "u8", "u16", "u32", "u64", "u128", "usize", "i8", "i16", "i32", "i64", "i128", "isize",
        "str", "bool", "char",
    ];
    PRIMITIVES.contains(&name.trim_end_matches(']'))
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
    fn plumbing_is_passed_over() {
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
            "mi_malloc_aligned",
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
            "[file is gone]",
            "[not a known module]",
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
}
