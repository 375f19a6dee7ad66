//! The table is whole, and says what the tests use.

use super::*;
use crate::command::root;
use std::path::Path;

fn names(needs: &[&Need]) -> Vec<&'static str> {
    needs.iter().map(|need| need.name).collect()
}

#[test]
fn each_command_has_its_needs() {
    let all = |command| names(&lacking(&[command], |_| false));
    assert_eq!(all(Demo), ["cc", "python3", "pip of python3"]);
    for tool in ["musl-gcc", "strace", "bpftool", "venv of python3"] {
        assert!(all(Test).contains(&tool), "{tool}");
    }
    assert!(all(Vm).contains(&"busybox") && !all(Test).contains(&"busybox"));
    let both = names(&lacking(&[Demo, Vm], |_| false));
    assert_eq!(both.iter().filter(|name| **name == "cc").count(), 1);
    assert!(lacking(&[Demo, Test, Vm], |_| true).is_empty());
}

#[test]
fn every_need_names_a_package_of_each_distribution() {
    for need in &NEEDS {
        for packages in need.packages {
            let whole = packages.split(' ').all(|package| !package.is_empty());
            assert!(whole, "{}: {packages:?}", need.name);
        }
    }
}

#[test]
fn what_is_missing_is_named_at_once_with_a_line_for_each_distribution() {
    let missing = lacking(&[Test], |need| {
        !["cc", "c++", "libc.a", "musl-gcc", "bpftool"].contains(&need.name)
    });
    assert_eq!(
        message(&missing),
        "not found: cc, c++, libc.a, musl-gcc, bpftool. To install what is missing:\n  \
         Debian, Ubuntu  sudo apt-get install gcc libc6-dev g++ musl-tools bpftool\n  \
         Fedora          sudo dnf install gcc gcc-c++ glibc-static musl-gcc musl-libc-static \
         bpftool\n  \
         Arch            sudo pacman -S gcc glibc musl bpf\n\
         (Ubuntu before 25.04 has bpftool in linux-tools-generic.)"
    );
}

#[test]
fn what_is_there_is_seen_and_what_is_not_is_missed() {
    const NONE: [&str; 3] = ["none"; 3];
    let is_met = |name, proof| need(name, proof, &[], NONE).is_met();
    assert!(is_met("sh", Program) && !is_met("no-such-program", Program));
    let (yes, no): (&[_], &[_]) = (&["-c", "exit 0"], &["-c", "exit 3"]);
    assert!(is_met("sh", Answers(yes)) && !is_met("sh", Answers(no)));
    assert!(!is_met("no-such-program", Answers(yes)));
    assert!(is_met("libc.so.6", Library) && !is_met("libnone.a", Library));
    assert!(!is_met("a module", Modules("no_such_module")));
}

/// What tests start that is not in the table by its name: every Linux has it, or it comes with
/// what is.
const OTHERS: [&str; 8] = [
    "cp", "env", "objcopy", "python3", "sh", "swapoff", "unshare", "cargo",
];

/// Programs that the tests below a folder start by a name in quotes.
fn started(folder: &Path, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            started(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            for before in ["Command::new(\"", "build(\"", "compiler: \""] {
                let after = text.split(before).skip(1);
                let words = after.filter_map(|rest| rest.split('"').next());
                found.extend(words.map(str::to_owned));
            }
        }
    }
}

#[test]
fn what_the_tests_start_is_in_the_table() {
    let mut found = Vec::new();
    for folder in ["tracer/tests", "tracer/src/probes", "workload"] {
        started(&root().join(folder), &mut found);
    }
    for tool in ["musl-gcc", "strace", "bpftool", "c++", "curl"] {
        assert!(found.iter().any(|name| name == tool), "{tool} is not found");
    }
    let known = |name: &str| {
        let of_tests = |need: &Need| need.name == name && need.by.contains(&Test);
        OTHERS.contains(&name) || NEEDS.iter().any(of_tests)
    };
    found.retain(|name| !known(name));
    assert_eq!(found, [""; 0]);
}
