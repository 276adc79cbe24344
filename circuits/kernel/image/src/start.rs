//! The first instructions.

use core::arch::global_asm;

// Memory behind the image is zero and so are the registers: there is nothing to prepare but the stack, which starts at the end of the
// heap and stack region and grows down, away from the heap.
global_asm!(
    ".section .text.start, \"ax\"",
    ".globl _start",
    ".type _start, @function",
    "_start:",
    "lui sp, 0x10000",
    "call main",
    ".size _start, . - _start",
);
