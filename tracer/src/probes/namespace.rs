//! The tracer's own pid namespace: ids are told as it has them, for they are what `/proc`,
//! perf events and `wait` take.
//!
//! In the initial namespace that costs nothing. In another one the programs have to know how
//! deep it is, which the kernel tells nobody inside: a program that runs once, on the tracer
//! itself, reads it (include/linux/pid.h: `task_struct.thread_pid`, `pid.level`).

use super::bpf::run_once;
use super::btf::Btf;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use tracer_ebpf::ABSENT;

/// Inode number of the initial pid namespace (include/linux/proc_ns.h, `PROC_PID_INIT_INO`).
const INITIAL: u64 = 0xEFFF_FFFC;

/// What the programs have to know of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Namespace {
    /// How many pid namespaces are around it.
    pub(super) level: u32,
    /// Its inode number.
    pub(super) inode: u32,
    /// `task_struct.thread_pid`
    pub(super) task_thread_pid: u32,
    /// `pid.level`
    pub(super) pid_level: u32,
    /// `pid.numbers`
    pub(super) pid_numbers: u32,
    /// `pid_namespace.ns.inum`
    pub(super) inum: u32,
}

impl Namespace {
    const INITIAL: Self = Self {
        level: 0,
        inode: 0,
        task_thread_pid: ABSENT,
        pid_level: ABSENT,
        pid_numbers: ABSENT,
        inum: ABSENT,
    };

    /// That of this process.
    ///
    /// # Errors
    /// Where `/proc` does not show it, or the kernel refuses the program that looks.
    pub(super) fn own(btf: &Btf) -> io::Result<Self> {
        let inode = File::open("/proc/self/ns/pid")?.metadata()?.ino();
        if inode == INITIAL {
            return Ok(Self::INITIAL);
        }
        let offset = |of: &str, member: &str| {
            btf.offset_of(of, member)
                .ok_or_else(|| io::Error::other(format!("the kernel's {of} has no {member}")))
        };
        let (task_thread_pid, pid_level) = (
            offset("task_struct", "thread_pid")?,
            offset("pid", "level")?,
        );
        Ok(Self {
            level: run_once(&level_of_current(task_thread_pid, pid_level))?,
            inode: u32::try_from(inode).map_err(io::Error::other)?,
            task_thread_pid,
            pid_level,
            pid_numbers: offset("pid", "numbers")?,
            inum: offset("pid_namespace", "ns.inum")?,
        })
    }
}

/// A program that returns `current->thread_pid->level`. An instruction is a word: code,
/// registers (source above destination), offset, immediate (kernel:
/// Documentation/bpf/standardization/instruction-set.rst).
fn level_of_current(task_thread_pid: u32, pid_level: u32) -> Vec<u64> {
    const MOVE_64: u64 = 0xbf;
    const ADD_64_IMMEDIATE: u64 = 0x07;
    const MOVE_64_IMMEDIATE: u64 = 0xb7;
    const LOAD_64: u64 = 0x79;
    const LOAD_32: u64 = 0x61;
    const CALL: u64 = 0x85;
    const EXIT: u64 = 0x95;
    const GET_CURRENT_TASK: u32 = 35;
    const PROBE_READ_KERNEL: u32 = 113;
    const FRAME: u64 = 10;
    let instruction = |code: u64, to: u64, from: u64, offset: i16, immediate: u32| {
        code | to << 8 | from << 12 | u64::from(offset as u16) << 16 | u64::from(immediate) << 32
    };
    // Reads `size` bytes at r3 + `offset` into the word below the frame pointer.
    let read = |size: u32, offset: u32| {
        [
            instruction(ADD_64_IMMEDIATE, 3, 0, 0, offset),
            instruction(MOVE_64, 1, FRAME, 0, 0),
            instruction(ADD_64_IMMEDIATE, 1, 0, 0, -8i32 as u32),
            instruction(MOVE_64_IMMEDIATE, 2, 0, 0, size),
            instruction(CALL, 0, 0, 0, PROBE_READ_KERNEL),
        ]
    };
    let mut code = vec![
        instruction(CALL, 0, 0, 0, GET_CURRENT_TASK),
        instruction(MOVE_64, 3, 0, 0, 0),
    ];
    code.extend(read(8, task_thread_pid));
    code.push(instruction(LOAD_64, 3, FRAME, -8, 0));
    code.extend(read(4, pid_level));
    code.push(instruction(LOAD_32, 0, FRAME, -8, 0));
    code.push(instruction(EXIT, 0, 0, 0, 0));
    code
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_two_reads_of_the_kernel() {
        let code = level_of_current(1000, 4);
        assert_eq!(code.len(), 15);
        assert_eq!(code[0], 0x23_0000_0085);
        assert_eq!(code[2], 1000 << 32 | 0x0307);
        assert_eq!(code[7], 0xfff8_a379);
        assert_eq!(code[14], 0x95);
    }
}
