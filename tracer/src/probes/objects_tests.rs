use super::*;
use std::process::Command as Tool;

/// Compiles C, as the README's prerequisites allow.
fn compile(directory: &Path, name: &str, source: &str, flags: &[&str]) -> PathBuf {
    let file = directory.join(format!("{name}.c"));
    let out = directory.join(name);
    std::fs::write(&file, source).unwrap();
    let status = Tool::new("cc")
        .args(["-o".as_ref(), out.as_os_str(), file.as_os_str()])
        .args(flags)
        .status()
        .expect("cc, a C compiler, is needed");
    assert!(status.success());
    out
}

fn find(path: &Path) -> Found {
    find_with(path, &Environment::current())
}

fn find_with(path: &Path, environment: &Environment) -> Found {
    let command = Command::new(&[path.into()]).unwrap();
    Finder::default().command(&command, environment).unwrap()
}

fn names(found: &Found) -> Vec<String> {
    let name = |object: &Object| object.path.file_name().unwrap().display().to_string();
    found.objects.iter().map(name).collect()
}

const EMPTY: &str = "int main(void) { return 0; }";
const OWN_MALLOC: &str = "
    #include <stddef.h>
    static char heap[1 << 20]; static size_t used;
    void *malloc(size_t n) { void *p = heap + used; used += (n + 15) & -16; return p; }
    void free(void *p) { (void)p; }";

#[test]
fn the_c_librarys_family_is_found_once_per_address() {
    let found = find(Path::new("/bin/true"));
    assert_eq!(names(&found), ["libc.so.6"]);
    let sites = &found.objects[0].sites;
    assert!(found.objects[0].has_heap());
    let mut offsets: Vec<_> = sites.iter().map(|site| site.offset).collect();
    offsets.sort_unstable();
    offsets.dedup();
    assert_eq!(offsets.len(), sites.len());
    for function in [Function::Malloc, Function::Free, Function::Realloc] {
        let named = sites.iter().filter(|site| site.function == function);
        assert_eq!(named.count(), 1);
    }
    assert!(sites.iter().all(|site| site.offset >= site.entry));
    assert!(found.notes.is_empty(), "{:?}", found.notes);
}

#[test]
fn a_program_with_its_own_malloc_is_probed_too() {
    let directory = tempfile::tempdir().unwrap();
    let source = format!("{OWN_MALLOC} {EMPTY}");
    let program = compile(directory.path(), "program", &source, &[]);
    assert_eq!(names(&find(&program)), ["program", "libc.so.6"]);
}

#[test]
fn static_programs_are_probed_by_their_symbols() {
    let directory = tempfile::tempdir().unwrap();
    let source = "#include <stdlib.h>\nint main(void) { free(malloc(1)); return 0; }";
    for (name, flags) in [("plain", &["-static"][..]), ("pie", &["-static-pie"])] {
        let program = compile(directory.path(), name, source, flags);
        let found = find(&program);
        assert_eq!(names(&found), [name]);
        assert!(found.objects[0].has_heap());
        assert!(found.notes.is_empty());
    }
    let stripped = compile(directory.path(), "stripped", source, &["-static", "-s"]);
    let found = find(&stripped);
    assert!(found.objects.is_empty());
    assert!(matches!(&found.notes[..], [Note::NoHeap(path)] if *path == stripped));
}

/// Builds `program` → `liba` (by `flags`) and `liba` → `libmine`, which has a malloc.
fn chain(directory: &Path, program_flags: &[&str], liba_flags: &[&str]) -> PathBuf {
    let at = directory.display();
    let (sub, search) = (directory.join("sub"), format!("-L{at}/sub"));
    std::fs::create_dir_all(&sub).unwrap();
    compile(&sub, "libmine.so", OWN_MALLOC, &["-shared", "-fPIC"]);
    let liba_source = "void *malloc(unsigned long); void *a(void) { return malloc(1); }";
    let mut flags = vec![
        "-shared",
        "-fPIC",
        &search,
        "-Wl,--no-as-needed",
        "-l:libmine.so",
    ];
    flags.extend(liba_flags);
    compile(&sub, "liba.so", liba_source, &flags);
    let mut flags = vec![&*search, "-Wl,--no-as-needed", "-l:liba.so"];
    let link = format!("-Wl,-rpath-link,{at}/sub");
    flags.push(&link);
    flags.extend(program_flags);
    compile(directory, "program", EMPTY, &flags)
}

/// What the dynamic linker itself says it loads.
fn ldd(program: &Path, environment: &Environment) -> bool {
    let mut tool = Tool::new(program);
    tool.env("LD_TRACE_LOADED_OBJECTS", "1");
    tool.env_remove("LD_LIBRARY_PATH");
    tool.envs(
        environment
            .library_path
            .as_ref()
            .map(|path| ("LD_LIBRARY_PATH", path)),
    );
    tool.envs(
        environment
            .preload
            .as_ref()
            .map(|path| ("LD_PRELOAD", path)),
    );
    let output = tool.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines()
        .any(|line| line.contains("libmine.so") && !line.contains("not found"))
}

#[test]
fn libraries_are_searched_as_ld_so_does() {
    let old = "-Wl,--disable-new-dtags,-rpath,$ORIGIN/sub";
    let new = "-Wl,--enable-new-dtags,-rpath,$ORIGIN/sub";
    let own = "-Wl,--enable-new-dtags,-rpath,$ORIGIN";
    let elsewhere = "-Wl,--enable-new-dtags,-rpath,/nonexistent";
    for (program, liba, by_variable, expected) in [
        (&[old][..], &[][..], false, true),
        (&[new], &[], false, false),
        (&[new], &[own], false, true),
        (&[old], &[elsewhere], false, false),
        (&[], &[], false, false),
        (&[], &[], true, true),
        (&[elsewhere], &[], true, true),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let file = chain(directory.path(), program, liba);
        let sub = directory.path().join("sub");
        let environment = Environment {
            library_path: by_variable.then(|| sub.into()),
            ..Environment::default()
        };
        let case = format!("{program:?} {liba:?} {by_variable}");
        assert_eq!(ldd(&file, &environment), expected, "{case}: ld.so");
        let found = names(&find_with(&file, &environment));
        assert_eq!(found.contains(&"libmine.so".to_owned()), expected, "{case}");
        assert!(found.contains(&"libc.so.6".to_owned()), "{case}");
    }
}

#[test]
fn preloaded_libraries_are_found() {
    let directory = tempfile::tempdir().unwrap();
    let library = compile(
        directory.path(),
        "libmine.so",
        OWN_MALLOC,
        &["-shared", "-fPIC"],
    );
    let environment = Environment {
        preload: Some(library.into()),
        ..Environment::default()
    };
    let program = Path::new("/bin/true");
    assert!(ldd(program, &environment));
    assert_eq!(
        names(&find_with(program, &environment)),
        ["libmine.so", "libc.so.6"]
    );
}

#[test]
fn functions_chosen_at_run_time_are_named_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let source = "
        static void *mine(unsigned long n) { (void)n; return 0; }
        static void *choose(void) { return (void *)mine; }
        void *malloc(unsigned long n) __attribute__((ifunc(\"choose\")));
        void free(void *p) { (void)p; }";
    let library = compile(
        directory.path(),
        "libmine.so",
        source,
        &["-shared", "-fPIC", "-fno-builtin"],
    );
    let object = inspect(&library).unwrap();
    assert_eq!(object.indirect, [Function::Malloc]);
    let functions: Vec<_> = object.sites.iter().map(|site| site.function).collect();
    assert_eq!(functions, [Function::Free]);
}

#[test]
fn both_hash_tables_are_read() {
    let directory = tempfile::tempdir().unwrap();
    for style in ["gnu", "sysv", "both"] {
        let hash = format!("-Wl,--hash-style={style}");
        let library = compile(
            directory.path(),
            style,
            OWN_MALLOC,
            &["-shared", "-fPIC", &hash],
        );
        let object = inspect(&library).unwrap();
        let functions: Vec<_> = object.sites.iter().map(|site| site.function).collect();
        assert_eq!(functions, [Function::Malloc, Function::Free], "{style}");
    }
}

#[test]
fn what_is_no_program_for_this_machine_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let mut elf = std::fs::read("/bin/true").unwrap();
    let path = directory.path().join("file");
    let mut error = |at: usize, value: u8| {
        let before = std::mem::replace(&mut elf[at], value);
        std::fs::write(&path, &elf).unwrap();
        elf[at] = before;
        inspect(&path).unwrap_err()
    };
    assert!(matches!(error(0, 0), ObjectError::NotElf));
    assert!(matches!(error(18, 183), ObjectError::Machine(183)));
    assert!(matches!(error(4, 1), ObjectError::Bits32));
    assert!(matches!(
        inspect(directory.path()),
        Err(ObjectError::NotElf)
    ));
    assert!(matches!(
        inspect(Path::new("/dev/zero")),
        Err(ObjectError::NotElf)
    ));
    let fifo = directory.path().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert!(matches!(inspect(&fifo), Err(ObjectError::NotElf)));
}

#[test]
fn a_32_bit_command_is_an_error() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("program");
    let mut elf = std::fs::read("/bin/true").unwrap();
    (elf[4], elf[18]) = (1, 3);
    std::fs::write(&path, &elf).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    let command = Command::new(&[path.clone().into()]).unwrap();
    let error = Finder::default()
        .command(&command, &Environment::current())
        .unwrap_err();
    let text = "a 32-bit program: only x86-64 programs can be traced";
    assert_eq!(error.to_string(), format!("{}: {text}", path.display()));
}

#[test]
fn a_file_is_searched_once() {
    let mut finder = Finder::default();
    let mut found = Found::default();
    let object = find(Path::new("/bin/true")).objects.remove(0);
    for _ in 0..2 {
        finder.file(&object.path, &mut found);
    }
    assert_eq!(found.objects, [object]);
}

/// A small program, to be damaged.
fn victim() -> Vec<u8> {
    let directory = tempfile::tempdir().unwrap();
    let source = format!("{OWN_MALLOC} void _start(void) {{}}");
    let flags = [
        "-pie",
        "-fPIE",
        "-nostartfiles",
        "-rdynamic",
        "-Wl,--hash-style=both",
    ];
    let program = compile(directory.path(), "victim", &source, &flags);
    std::fs::read(program).unwrap()
}

#[test]
fn damaged_files_are_survived() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    let good = victim();
    std::fs::write(&path, &good).unwrap();
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&path, executable).unwrap();
    assert!(inspect(&path).unwrap().has_heap());
    let look = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        if let Ok(object) = inspect(&path) {
            let length = bytes.len() as u64;
            assert!(object.sites.iter().all(|site| site.offset < length));
        }
        let command = Command::new(&[path.clone().into()]).unwrap();
        let _ = Finder::default().command(&command, &Environment::default());
    };
    for length in (0..good.len()).step_by(61) {
        look(&good[..length]);
    }
    // Headers, dynamic section and symbol tables lie in the first pages and
    // around the data segment: damage bytes all over, two ways.
    for at in (0..0x400).chain((0x400..good.len()).step_by(29)) {
        for value in [0xff, good[at] ^ 0x41] {
            let mut bad = good.clone();
            bad[at] = value;
            look(&bad);
        }
    }
}
