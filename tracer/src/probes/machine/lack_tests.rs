use super::*;
use crate::probes::machine::facts::{Caps, Version};

const ALL: Caps = Caps(0x1ff_ffff_ffff);

fn eperm() -> io::Error {
    io::Error::from_raw_os_error(libc::EPERM)
}

/// Root, with nothing in the way.
fn root() -> Facts {
    Facts {
        root: true,
        held: ALL,
        bounding: ALL,
        kernel: Version(6, 18),
        ..Facts::default()
    }
}

/// Docker's default: root without CAP_SYS_ADMIN, behind a seccomp filter.
fn docker() -> Facts {
    let few = Caps(0xa804_25fb);
    Facts {
        held: few,
        bounding: few,
        seccomp: true,
        container: Some(Container::Docker),
        ..root()
    }
}

fn refused(facts: &Facts) -> Lack {
    Lack::refused(
        Name::Bpf,
        "bpf(2)",
        &[Cap::Bpf, Cap::Perfmon],
        &eperm(),
        facts,
    )
}

#[track_caller]
fn assert_says(lack: &Lack, kind: Kind, words: &[&str], never: &[&str]) {
    let text = lack.to_string();
    assert_eq!(lack.kind, kind, "{text}");
    assert!(!text.contains('\n'), "one line: {text}");
    for word in words {
        assert!(text.contains(word), "`{word}` in: {text}");
    }
    for word in never {
        assert!(!text.contains(word), "no `{word}` in: {text}");
    }
}

#[test]
fn whoever_is_not_root_is_sent_to_sudo() {
    let user = Facts {
        root: false,
        held: Caps(0),
        ..root()
    };
    let words = ["lacks CAP_BPF and CAP_PERFMON", "(sudo)", "CAP_SYS_PTRACE"];
    assert_says(&refused(&user), Kind::Refused, &words, &["kernel built"]);
    let sandboxed = Facts {
        no_new_privileges: true,
        ..user
    };
    assert_says(
        &refused(&sandboxed),
        Kind::Refused,
        &["no_new_privs"],
        &["sudo)"],
    );
}

#[test]
fn who_has_the_capabilities_is_not_told_to_get_them() {
    let user = Facts {
        root: false,
        held: Caps(1 << 38 | 1 << 39 | 1 << 19),
        ..root()
    };
    let words = ["though CAP_BPF and CAP_PERFMON are held", "security module"];
    assert_says(&refused(&user), Kind::Refused, &words, &["lacks", "sudo"]);
}

#[test]
fn in_a_container_the_remedy_is_the_containers() {
    let privileged = ["--privileged", "--cap-add SYS_ADMIN", "host"];
    assert_says(
        &refused(&docker()),
        Kind::Refused,
        &privileged,
        &["sudo", "kernel built"],
    );
    let pod = Facts {
        container: Some(Container::Kubernetes),
        ..docker()
    };
    let words = ["securityContext.privileged"];
    assert_says(&refused(&pod), Kind::Refused, &words, &["Docker", "sudo"]);
    let rootless = Facts {
        user_namespace: true,
        held: ALL,
        ..docker()
    };
    assert_says(
        &refused(&rootless),
        Kind::Refused,
        &["rootless", "host"],
        &["--cap-add"],
    );
    let filtered = Facts {
        held: ALL,
        ..docker()
    };
    assert_says(&refused(&filtered), Kind::Refused, &["seccomp"], &["lacks"]);
}

#[test]
fn a_service_that_took_them_away_is_no_container() {
    let service = Facts {
        held: Caps(0),
        bounding: Caps(0),
        ..root()
    };
    let words = ["CapabilityBoundingSet", "on the host"];
    assert_says(
        &refused(&service),
        Kind::Refused,
        &words,
        &["Docker", "sudo"],
    );
}

#[test]
fn a_hidden_call_is_not_an_old_kernel() {
    assert_says(
        &Lack::no_bpf(&docker()),
        Kind::Refused,
        &["seccomp"],
        &["CONFIG"],
    );
    assert_says(
        &Lack::no_bpf(&root()),
        Kind::Missing,
        &["CONFIG_BPF_SYSCALL"],
        &["seccomp"],
    );
}

#[test]
fn hidden_types_are_not_missing_types() {
    let absent = io::Error::from_raw_os_error(libc::ENOENT);
    let of = |built_with_btf, facts: Facts| {
        Lack::no_btf(
            &absent,
            &Facts {
                built_with_btf,
                ..facts
            },
        )
    };
    let config = "CONFIG_DEBUG_INFO_BTF";
    assert_says(
        &of(Some(false), root()),
        Kind::Missing,
        &[config],
        &["sandbox"],
    );
    assert_says(
        &of(Some(true), root()),
        Kind::Refused,
        &["sandbox hides"],
        &[config],
    );
    assert_says(
        &of(None, root()),
        Kind::Refused,
        &["sandbox hides it, or", config],
        &[],
    );
    assert_says(
        &of(None, docker()),
        Kind::Refused,
        &["--privileged"],
        &[config],
    );
}

#[test]
fn a_program_that_lockdown_refuses_is_told_as_that() {
    for log in [
        "unknown func bpf_probe_read_kernel#113",
        "program of this type cannot use helper bpf_probe_read_kernel#113",
    ] {
        let error = crate::probes::load::LoadError::Refused {
            name: "free_enter",
            error: eperm(),
            log: log.to_owned(),
        };
        let lack = crate::probes::machine::loading(&error, crate::units::Bytes::ZERO, &root());
        assert_eq!(lack, Lack::no_kernel_reads(&root()));
    }
}

#[test]
fn lockdown_is_told_as_such_without_securityfs_too() {
    let words = ["locked down for confidentiality", "lockdown=integrity"];
    for lockdown in [Lockdown::Unknown, Lockdown::Confidentiality] {
        let facts = Facts { lockdown, ..root() };
        assert_says(&Lack::no_kernel_reads(&facts), Kind::Missing, &words, &[]);
    }
    let integrity = Facts {
        lockdown: Lockdown::Integrity,
        ..root()
    };
    let lack = Lack::no_kernel_reads(&integrity);
    assert_says(&lack, Kind::Missing, &["not locked down"], &["Boot"]);
}

#[test]
fn an_interpreter_is_told_from_the_verifiers_words() {
    let log = "12: (85) call bpf_loop#181\ncallbacks are not allowed in non-JITed programs\n\
               processed 12 insns (limit 1000000)";
    let einval = io::Error::from_raw_os_error(libc::EINVAL);
    let off = Facts {
        jit: Some(0),
        ..root()
    };
    let lack = Lack::program_refused("sys_enter", &einval, log, &off);
    assert_eq!(lack.name, Name::Jit);
    assert_says(
        &lack,
        Kind::Missing,
        &["sysctl net.core.bpf_jit_enable=1"],
        &["5.17"],
    );
}

#[test]
fn the_verifier_is_quoted_and_the_floor_named() {
    let log = "sys_enter: x\ncombined stack size of 4 calls is 528. Too large\n\
               verification time 12 usec\nstack depth 304\nprocessed 1 insns";
    let eacces = io::Error::from_raw_os_error(libc::EACCES);
    let old = Facts {
        kernel: Version(5, 15),
        ..root()
    };
    let lack = Lack::program_refused("sys_enter", &eacces, log, &old);
    assert_says(
        &lack,
        Kind::Missing,
        &["528", "use Linux 5.17 or newer"],
        &["processed"],
    );
    let lack = Lack::program_refused("sys_enter", &eacces, log, &root());
    assert_says(
        &lack,
        Kind::Missing,
        &["528", "6.1, 6.12 and 6.18"],
        &["5.17"],
    );
    let lack = Lack::program_refused("sys_enter", &eperm(), "", &docker());
    assert_says(&lack, Kind::Refused, &["--privileged"], &["use Linux"]);
}

#[test]
fn memory_has_the_remedy_of_a_smaller_ring() {
    let enomem = io::Error::from_raw_os_error(libc::ENOMEM);
    let lack = Lack::no_memory(Bytes(128 << 20), &enomem);
    assert_says(
        &lack,
        Kind::Refused,
        &["128 MiB", "--ring-buffer 32MiB"],
        &[],
    );
    let least = Lack::no_memory(Bytes(1 << 20), &enomem);
    assert_says(&least, Kind::Refused, &["64 MiB"], &["--ring-buffer"]);
}

#[test]
fn tracefs_that_is_closed_is_not_a_kernel_without_it() {
    let user = Facts {
        root: false,
        held: Caps(1 << 38 | 1 << 39 | 1 << 19),
        ..root()
    };
    let words = ["tracefs", "CAP_SYS_ADMIN", "mount -t tracefs"];
    assert_says(
        &Lack::no_rss_stat(&eperm(), &user),
        Kind::Refused,
        &words,
        &["CONFIG"],
    );
    let enodev = io::Error::from_raw_os_error(libc::ENODEV);
    let words = ["CONFIG_FTRACE", "5.17"];
    assert_says(
        &Lack::no_rss_stat(&enodev, &root()),
        Kind::Missing,
        &words,
        &["sudo"],
    );
    let lack = Lack::no_rss_stat(&eperm(), &docker());
    assert_says(&lack, Kind::Refused, &["--cap-add SYS_ADMIN"], &["CONFIG"]);
}

#[test]
fn a_strict_paranoia_asks_for_sys_admin() {
    let eacces = io::Error::from_raw_os_error(libc::EACCES);
    let perfmon = Facts {
        root: false,
        held: Caps(1 << 38 | 1 << 39),
        paranoid: Some(3),
        ..root()
    };
    let lack = Lack::no_perf_events(Name::Modules, &eacces, &perfmon);
    let words = ["perf_event_paranoid=3", "CAP_SYS_ADMIN"];
    assert_says(&lack, Kind::Refused, &words, &["CAP_PERFMON"]);
    let none = Facts {
        held: Caps(0),
        ..perfmon
    };
    let lack = Lack::no_perf_events(Name::Modules, &eacces, &none);
    assert_says(&lack, Kind::Refused, &["CAP_PERFMON"], &[]);
}

#[test]
fn uprobes_may_be_hidden_or_not_built() {
    let absent = io::Error::from_raw_os_error(libc::ENOENT);
    let lack = Lack::no_uprobes(&absent, &root());
    assert_says(
        &lack,
        Kind::Missing,
        &["CONFIG_UPROBE_EVENTS", "--trace pages"],
        &[],
    );
    let masked = Facts {
        sys_hidden: true,
        ..root()
    };
    assert_says(
        &Lack::no_uprobes(&absent, &masked),
        Kind::Refused,
        &["/sys"],
        &["CONFIG"],
    );
}
