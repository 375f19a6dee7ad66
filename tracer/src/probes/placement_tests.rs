use super::*;

const BASE: u64 = 0x1000;

/// Places one probe in `code`, whose first byte is the entry.
fn place_in(code: &[u8], arguments: u8) -> (u64, bool) {
    let text = Text {
        bytes: code,
        address: BASE,
    };
    let entry = Entry {
        address: BASE,
        arguments,
    };
    let placement = place(text, &[entry])[0];
    (placement.address - BASE, placement.emulated)
}

/// Each instruction as hexadecimal, for the tables below.
fn code(hex: &str) -> Vec<u8> {
    hex.split_whitespace()
        .flat_map(|word| {
            (0..word.len())
                .step_by(2)
                .map(|at| u8::from_str_radix(&word[at..at + 2], 16).unwrap())
        })
        .collect()
}

#[test]
fn emulated_instructions_are_taken_where_they_stand() {
    for (hex, what) in [
        ("55", "push rbp"),
        ("4154 55", "push r12"),
        ("54", "push rsp"),
        ("90", "nop"),
        ("eb10", "jmp short"),
        ("e910000000", "jmp near"),
        ("e810000000", "call near"),
        ("7410", "je short"),
        ("0f8410000000", "je near"),
        ("f2e910000000", "bnd jmp"),
    ] {
        assert_eq!(place_in(&code(hex), 3), (0, true), "{what}");
    }
}

#[test]
fn single_stepped_instructions_are_passed_over() {
    for (hex, at, what) in [
        ("4885ff 0f84bf000000 55", 3, "glibc's free: je before push"),
        ("f30f1efa 4154 55", 4, "endbr64, then push"),
        ("f30f1efa 4885ff 7410", 7, "endbr64, test, je"),
        ("803d0102140000 4154", 7, "posix_memalign: cmpb, push"),
        ("0f1f440000 55", 5, "nopl is single-stepped before 6.18"),
        (
            "6690 55",
            2,
            "xchg ax,ax is refused by branch_setup_xol_ops",
        ),
        ("f390 55", 2, "pause"),
        ("488b0510000000 4885c0 75f0", 10, "a hook, then jne"),
    ] {
        assert_eq!(place_in(&code(hex), 3), (at, true), "{what}");
    }
}

#[test]
fn nothing_that_a_program_reads_may_have_changed() {
    for (hex, what) in [
        ("4883ec18 55", "sub rsp"),
        ("4889fd 90 90", "mov rbp, rdi"),
        ("31ff 55", "xor edi, edi: the upper half counts too"),
        ("40b701 55", "mov dil, 1"),
        ("4889d6 55", "mov rsi, rdx"),
        ("48f7e6 55", "mul writes rdx"),
        ("c8000000 55", "enter"),
        ("50", "push, at the entry: fine"),
    ] {
        let fine = what.ends_with("fine");
        assert_eq!(place_in(&code(hex), 3), (0, fine), "{what}");
    }
    let mul = code("4889f0 48f7e2 7005");
    assert_eq!(place_in(&mul, 2), (6, true), "two arguments: rdx is free");
    assert_eq!(place_in(&mul, 3), (0, false), "three arguments: it is not");
    let mov = code("4889fe 55");
    assert_eq!(place_in(&mov, 1), (3, true), "one argument: rsi is free");
}

#[test]
fn no_path_from_the_entry_is_skipped() {
    for (hex, what) in [
        ("4885ff c3 55", "ret"),
        ("4885ff e3f0 55", "jrcxz"),
        ("ff2510000000 55", "jmp through memory"),
        ("ffe0 55", "jmp rax"),
        ("ffd0 55", "call rax"),
        ("0f05 55", "syscall"),
        ("cc 55", "int3"),
        ("0f0b 55", "ud2"),
        ("06 55", "not an instruction"),
        ("4885", "cut short"),
        ("", "nothing"),
    ] {
        assert_eq!(place_in(&code(hex), 3), (0, false), "{what}");
    }
}

#[test]
fn a_branch_into_the_prologue_forbids_it() {
    let loops = code("4885ff 55 ebfd");
    assert_eq!(place_in(&loops, 1), (0, false), "short, to the push");
    let loops = code("4885ff 55 ebfa");
    assert_eq!(
        place_in(&loops, 1),
        (3, true),
        "short, to the entry: a call"
    );
    let loops = code("4885ff 55 ebfc");
    assert_eq!(
        place_in(&loops, 1),
        (0, false),
        "short, into an instruction"
    );
    let loops = code("4885ff 55 ebfe");
    assert_eq!(place_in(&loops, 1), (3, true), "short, behind the push");
    let at_entry = code("55 ebfd");
    assert_eq!(place_in(&at_entry, 1), (0, true), "nothing lies between");
}

#[test]
fn a_near_branch_from_anywhere_forbids_it() {
    for (opcode, what) in [("e9", "jmp"), ("e8", "call"), ("0f84", "je")] {
        let mut text = code("4885ff 55");
        text.resize(4096, 0xcc);
        text.extend(code(opcode));
        let next = text.len() as i32 + 4;
        text.extend((3 - next).to_le_bytes());
        assert_eq!(place_in(&text, 1), (0, false), "{what}");
        let last = text.len() - 4;
        text[last..].copy_from_slice(&(4 - next).to_le_bytes());
        assert_eq!(place_in(&text, 1), (3, true), "{what}, behind the push");
    }
}

#[test]
fn another_functions_entry_is_never_taken() {
    let bytes = code("4885ff 55");
    let text = Text {
        bytes: &bytes,
        address: BASE,
    };
    let entries = [BASE, BASE + 3].map(|address| Entry {
        address,
        arguments: 1,
    });
    let placed = place(text, &entries).into_iter().map(|at| at.address);
    assert_eq!(placed.collect::<Vec<_>>(), [BASE, BASE + 3]);
}

#[test]
fn addresses_outside_the_text_stay_where_they_are() {
    let text = Text {
        bytes: &[0x55],
        address: BASE,
    };
    for address in [0, BASE - 1, BASE + 1, u64::MAX] {
        let entry = Entry {
            address,
            arguments: 1,
        };
        let placement = Placement {
            address,
            emulated: false,
        };
        assert_eq!(place(text, &[entry]), [placement]);
    }
}

proptest::proptest! {
    #[test]
    fn any_bytes_are_survived(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..512)) {
        let text = Text { bytes: &bytes, address: u64::MAX - 100 };
        let entries = [0, 1, 7].map(|skip| Entry {
            address: text.address + skip,
            arguments: 3,
        });
        for (placed, entry) in place(text, &entries).iter().zip(entries) {
            proptest::prop_assert!(placed.address.wrapping_sub(entry.address) < 256);
        }
    }
}
