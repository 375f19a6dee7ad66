//! The registers of a thread, by what they mean. All that names one of x86-64 is here.

use aya_ebpf::bindings::{pt_regs, task_struct};
use aya_ebpf::helpers::generated::{
    bpf_get_current_task_btf, bpf_probe_read_kernel, bpf_task_pt_regs,
};
use core::cell::Cell;

/// User registers to walk from.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Regs {
    /// Instruction pointer.
    pub(crate) ip: u64,
    /// Stack pointer.
    pub(crate) sp: u64,
    /// Frame pointer, if the code keeps one.
    pub(crate) bp: u64,
    /// 1: the function has just been entered, before its first push; the return
    /// address is on top of the stack, whatever the tables say.
    pub(crate) at_entry: u64,
}

/// Where the entry of a function stands: before its first push.
#[inline(always)]
pub(crate) fn at_entry(regs: &pt_regs) -> Regs {
    Regs {
        ip: regs.rip,
        sp: regs.rsp,
        bp: regs.rbp,
        at_entry: 1,
    }
}

/// Stack pointer.
#[inline(always)]
pub(crate) fn stack_pointer(regs: &pt_regs) -> u64 {
    regs.rsp
}

/// The first three arguments of a function that has just been entered.
#[inline(always)]
pub(crate) fn arguments(regs: &pt_regs) -> (u64, u64, u64) {
    (regs.rdi, regs.rsi, regs.rdx)
}

/// What a function has just returned.
#[inline(always)]
pub(crate) fn result(regs: &pt_regs) -> u64 {
    regs.rax
}

/// Registers that the current thread had in user mode.
#[derive(Clone, Copy)]
pub(crate) struct UserRegs {
    /// Where it was: at an instruction, or within the one that made a system call. After that
    /// one may be another function, for some calls never return.
    pub(crate) ip: u64,
    /// Stack pointer.
    pub(crate) sp: u64,
    /// Frame pointer, if the code keeps one.
    pub(crate) bp: u64,
    /// First and second argument of the system call.
    pub(crate) args: [u64; 2],
    /// Number of the system call, or negative where none is under way.
    pub(crate) syscall: i64,
}

/// The registers with which the current thread entered the kernel.
#[inline(always)]
pub(crate) fn user_regs() -> UserRegs {
    // SAFETY: for the current task both pointers are valid; the verifier knows
    // their types and makes the loads fault-tolerant.
    unsafe {
        let task: *mut task_struct = bpf_get_current_task_btf();
        let regs = bpf_task_pt_regs(task) as *const pt_regs;
        let syscall = (*regs).orig_rax as i64;
        UserRegs {
            ip: (*regs).rip.wrapping_sub(u64::from(syscall >= 0)),
            sp: (*regs).rsp,
            bp: (*regs).rbp,
            args: [(*regs).rdi, (*regs).rsi],
            syscall,
        }
    }
}

/// Copies the six arguments of the system call that the current thread has entered.
#[inline(always)]
pub(crate) fn copy_arguments(to: &[Cell<u64>; 6]) {
    // SAFETY: as in `user_regs`.
    unsafe {
        let regs = bpf_task_pt_regs(bpf_get_current_task_btf()) as *const pt_regs;
        to[0].set((*regs).rdi);
        to[1].set((*regs).rsi);
        to[2].set((*regs).rdx);
        to[3].set((*regs).r10);
        to[4].set((*regs).r8);
        to[5].set((*regs).r9);
    }
}

/// Copies the registers of the current thread, from `r15` to `rdi`.
#[inline(always)]
pub(crate) fn copy_user_registers(to: &mut [u64; 15]) {
    // SAFETY: for the current task both pointers are valid; the destination is
    // the size that the helper is told.
    unsafe {
        let regs = bpf_task_pt_regs(bpf_get_current_task_btf());
        bpf_probe_read_kernel(to.as_mut_ptr().cast(), 15 * 8, regs as *const _);
    }
}

/// A register with which the thread entered the kernel, by its DWARF number
/// (System V ABI, x86-64, figure 3.36); 0 for those that a walk has itself.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn user_register(number: u32) -> u64 {
    // SAFETY: for the current task both pointers are valid; the verifier knows
    // their types and makes the loads fault-tolerant.
    let regs = unsafe { &*(bpf_task_pt_regs(bpf_get_current_task_btf()) as *const pt_regs) };
    match number {
        0 => regs.rax,
        1 => regs.rdx,
        2 => regs.rcx,
        3 => regs.rbx,
        4 => regs.rsi,
        5 => regs.rdi,
        8 => regs.r8,
        9 => regs.r9,
        10 => regs.r10,
        11 => regs.r11,
        12 => regs.r12,
        13 => regs.r13,
        14 => regs.r14,
        15 => regs.r15,
        _ => 0,
    }
}
