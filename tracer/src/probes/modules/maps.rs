//! What a process has mapped executable, from /proc/PID/maps (proc_pid_maps(5)).

use super::identity::Identities;
use crate::events::Module;
use crate::units::{Address, Bytes, Nanos, Pid};
use std::io;

/// What a process has mapped executable now.
///
/// # Errors
/// ENOENT where there is no such process; EACCES without privileges.
pub fn mapped(pid: Pid) -> io::Result<Vec<Module>> {
    let text = std::fs::read(format!("/proc/{}/maps", pid.0))?;
    let time = now();
    let mut identities = Identities::default();
    let mut modules: Vec<_> = text
        .split(|&byte| byte == b'\n')
        .filter_map(|line| parse(line, pid, time))
        .collect();
    for module in &mut modules {
        identities.complete(module);
    }
    Ok(modules)
}

/// A line, if it is an executable mapping.
fn parse(line: &[u8], pid: Pid, time: Nanos) -> Option<Module> {
    let mut fields = line.splitn(6, |&byte| byte == b' ');
    let mut field = || std::str::from_utf8(fields.next()?).ok();
    let number = |text: &str| u64::from_str_radix(text, 16).ok();
    let (begin, end) = field()?.split_once('-')?;
    let permissions = field()?;
    let offset = number(field()?)?;
    let (major, minor) = field()?.split_once(':')?;
    let device = libc::makedev(number(major)? as u32, number(minor)? as u32);
    let inode = field()?.parse().ok()?;
    let path = fields.next().unwrap_or_default().trim_ascii_start();
    let (begin, end) = (number(begin)?, number(end)?);
    permissions.contains('x').then(|| Module {
        pid,
        time,
        address: Address(begin),
        length: Bytes(end.saturating_sub(begin)),
        offset,
        path: match path {
            // As the kernel calls it in its records of mappings.
            b"" => "//anon".to_owned(),
            // The one character that is escaped here.
            _ => String::from_utf8_lossy(path).replace("\\012", "\n"),
        },
        device: if inode == 0 { 0 } else { device },
        inode,
        build_id: String::new(),
    })
}

/// The clock of all events.
pub(super) fn now() -> Nanos {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the struct is valid for the call, which can't fail with this clock.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
    Nanos(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_parsed() {
        let parse = |line: &str| parse(line.as_bytes(), Pid(7), Nanos(9));
        let line = "7f00-8f00 r-xp 00001000 fd:01 1234                  /a b\\012c (deleted)";
        let module = parse(line).unwrap();
        assert_eq!(module.address, Address(0x7f00));
        assert_eq!(module.length, Bytes(0x1000));
        assert_eq!(module.offset, 0x1000);
        assert_eq!(module.path, "/a b\nc (deleted)");
        assert_eq!(module.device, libc::makedev(0xfd, 1));
        assert_eq!(module.inode, 1234);
        let anonymous = parse("7f00-8f00 rwxp 00000000 00:00 0 ").unwrap();
        assert_eq!((anonymous.path.as_str(), anonymous.device), ("//anon", 0));
        let vdso = parse("7f00-8f00 r-xp 00000000 00:00 0    [vdso]").unwrap();
        assert_eq!(vdso.path, "[vdso]");
        assert_eq!(parse("7f00-8f00 rw-p 00000000 00:00 0 "), None);
        for line in [
            "",
            "x",
            "7f00 r-xp 0 0:0 0",
            "7f00-8f00 r-xp z 0:0 0",
            "- x 0 : 0",
        ] {
            assert_eq!(parse(line), None, "{line}");
        }
    }
}
