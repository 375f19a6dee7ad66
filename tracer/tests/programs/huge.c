// A library of 600,000 functions that all have unwind information, and one through which its
// caller calls back.
__asm__(
    ".text\n"
    ".rept 600000\n"
    ".cfi_startproc\n"
    "push %rbp\n"
    ".cfi_def_cfa_offset 16\n"
    "pop %rbp\n"
    ".cfi_def_cfa_offset 8\n"
    "ret\n"
    ".cfi_endproc\n"
    ".endr\n"
    ".globl through_huge\n"
    ".type through_huge,@function\n"
    "through_huge:\n"
    ".cfi_startproc\n"
    "sub $8,%rsp\n"
    ".cfi_def_cfa_offset 16\n"
    "call *%rdi\n"
    "add $8,%rsp\n"
    ".cfi_def_cfa_offset 8\n"
    "ret\n"
    ".cfi_endproc\n");
