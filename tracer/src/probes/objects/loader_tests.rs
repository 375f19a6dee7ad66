use super::*;

#[test]
fn tokens_are_expanded() {
    let directory = tempfile::tempdir().unwrap();
    let object = directory.path().join("program");
    std::fs::write(&object, "").unwrap();
    let origin = std::fs::canonicalize(directory.path()).unwrap();
    for (text, expected) in [
        ("$ORIGIN/../lib", origin.join("../lib")),
        (
            "${ORIGIN}x",
            PathBuf::from(format!("{}x", origin.display())),
        ),
        ("/usr/$LIB/a", "/usr/lib/x86_64-linux-gnu/a".into()),
        ("/opt/${PLATFORM}", "/opt/x86_64".into()),
        ("/a$b$", "/a$b$".into()),
    ] {
        assert_eq!(expand(text.as_bytes(), &object), Some(expected), "{text}");
    }
    assert_eq!(expand(b"$ORIGIN", Path::new("/nonexistent/file")), None);
}

#[test]
fn lists_are_split_at_colons_and_semicolons() {
    let paths = ["/a", ".", "/b"].map(PathBuf::from);
    assert_eq!(split(b"/a::/b", Path::new("/")), paths);
    assert_eq!(split(b"/a;;/b", Path::new("/")), paths);
}

/// A cache with entries (flags, name, path), as ldconfig writes it.
fn cache(entries: &[(u32, &str, &str)]) -> Vec<u8> {
    let mut bytes = b"glibc-ld.so.cache1.1".to_vec();
    bytes.extend((entries.len() as u32).to_le_bytes());
    bytes.resize(48, 0);
    let mut strings = Vec::new();
    let start = 48 + entries.len() * 24;
    for (flags, name, path) in entries {
        bytes.extend(flags.to_le_bytes());
        for text in [name, path] {
            bytes.extend(((start + strings.len()) as u32).to_le_bytes());
            strings.extend(text.bytes().chain([0]));
        }
        bytes.extend([0; 12]);
    }
    [bytes, strings].concat()
}

#[test]
fn only_entries_for_this_machine_are_taken() {
    let bytes = cache(&[
        (0x0303, "liba.so", "/v3/liba.so"),
        (0x0303, "liba.so", "/liba.so"),
        (0x0003, "liba.so", "/i386/liba.so"),
        (0x0803, "libb.so", "/x32/libb.so"),
    ]);
    let libraries = parse_cache(&bytes);
    let expected = ["/v3/liba.so", "/liba.so"].map(PathBuf::from);
    assert_eq!(libraries.len(), 1);
    assert_eq!(libraries[b"liba.so".as_slice()], expected);

    let mut old = b"ld.so-1.7.0\0\x01\0\0\0".to_vec();
    old.resize(32, 0);
    assert_eq!(parse_cache(&[old, bytes].concat()), libraries);
}

proptest::proptest! {
    #[test]
    fn any_cache_is_survived(tail in proptest::collection::vec(proptest::num::u8::ANY, 0..256)) {
        parse_cache(&[b"glibc-ld.so.cache1.1".to_vec(), tail.clone()].concat());
        parse_cache(&[b"ld.so-1.7.0\0".to_vec(), tail].concat());
    }
}
