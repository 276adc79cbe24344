//! `memcpy`, `memmove`, `memset` and `memcmp`, which the compiler calls.
//!
//! In assembly, because a compiler would see these very calls in loops like theirs, and because every cycle is a row of
//! the proof: aligned copies cost 2 1/4 instructions a word, and copies between different alignments 7 a word instead of 16.

use core::arch::global_asm;

global_asm!(
    r#"
    .section .text.memory, "ax"

# memcpy(a0 to, a1 from, a2 count) -> a0. Clobbers a1 to a7 and t0 to t6.
    .globl memcpy
    .type memcpy, @function
memcpy:
    mv a3, a0
    or t0, a0, a1
    andi t0, t0, 3
    bnez t0, 5f

# Whole words, eight at a time.
1:  srli t0, a2, 5
    beqz t0, 3f
    slli t0, t0, 5
    add a4, a3, t0
2:  lw t0, 0(a1)
    lw t1, 4(a1)
    lw t2, 8(a1)
    lw t3, 12(a1)
    lw t4, 16(a1)
    lw t5, 20(a1)
    lw t6, 24(a1)
    lw a5, 28(a1)
    sw t0, 0(a3)
    sw t1, 4(a3)
    sw t2, 8(a3)
    sw t3, 12(a3)
    sw t4, 16(a3)
    sw t5, 20(a3)
    sw t6, 24(a3)
    sw a5, 28(a3)
    addi a1, a1, 32
    addi a3, a3, 32
    bne a3, a4, 2b
    andi a2, a2, 31

# The rest: up to seven words, then up to three bytes, by the bits of their count.
3:  andi t0, a2, 16
    beqz t0, 31f
    lw t0, 0(a1)
    lw t1, 4(a1)
    lw t2, 8(a1)
    lw t3, 12(a1)
    sw t0, 0(a3)
    sw t1, 4(a3)
    sw t2, 8(a3)
    sw t3, 12(a3)
    addi a1, a1, 16
    addi a3, a3, 16
31: andi t0, a2, 8
    beqz t0, 32f
    lw t0, 0(a1)
    lw t1, 4(a1)
    sw t0, 0(a3)
    sw t1, 4(a3)
    addi a1, a1, 8
    addi a3, a3, 8
32: andi t0, a2, 4
    beqz t0, 4f
    lw t0, 0(a1)
    sw t0, 0(a3)
    addi a1, a1, 4
    addi a3, a3, 4
4:  andi t0, a2, 2
    beqz t0, 41f
    lbu t0, 0(a1)
    lbu t1, 1(a1)
    sb t0, 0(a3)
    sb t1, 1(a3)
    addi a1, a1, 2
    addi a3, a3, 2
41: andi t0, a2, 1
    beqz t0, 42f
    lbu t0, 0(a1)
    sb t0, 0(a3)
42: ret

# Not aligned. A few bytes are copied as bytes.
5:  sltiu t0, a2, 12
    bnez t0, 8f
# Bytes until the target is aligned.
    neg t0, a3
    andi t0, t0, 3
    beqz t0, 52f
    sub a2, a2, t0
    add t0, a3, t0
51: lbu t1, 0(a1)
    sb t1, 0(a3)
    addi a1, a1, 1
    addi a3, a3, 1
    bne a3, t0, 51b
52: andi t0, a1, 3
    beqz t0, 1b
# The source is not: every word written is put together from two words read. Only words that hold a wanted byte are read.
    slli t0, t0, 3
    neg t1, t0
    andi t1, t1, 31
    andi a5, a1, -4
    srli t2, a2, 2
    slli t2, t2, 2
    add a4, a3, t2
    add a1, a1, t2
    sub a2, a2, t2
    andi t2, t2, 4
    lw t3, 0(a5)
    beqz t2, 62f
    lw t4, 4(a5)
    srl t3, t3, t0
    sll t5, t4, t1
    or t3, t3, t5
    sw t3, 0(a3)
    mv t3, t4
    addi a5, a5, 4
    addi a3, a3, 4
    beq a3, a4, 8f
62: lw t4, 4(a5)
    lw t6, 8(a5)
    srl t3, t3, t0
    sll t5, t4, t1
    or t3, t3, t5
    sw t3, 0(a3)
    srl t4, t4, t0
    sll t5, t6, t1
    or t4, t4, t5
    sw t4, 4(a3)
    mv t3, t6
    addi a5, a5, 8
    addi a3, a3, 8
    bne a3, a4, 62b

# Bytes.
8:  beqz a2, 82f
    add a4, a3, a2
81: lbu t0, 0(a1)
    sb t0, 0(a3)
    addi a1, a1, 1
    addi a3, a3, 1
    bne a3, a4, 81b
82: ret
    .size memcpy, . - memcpy

# memmove(a0 to, a1 from, a2 count) -> a0: backwards where the target overlaps the end of the source.
    .globl memmove
    .type memmove, @function
memmove:
    sub t0, a0, a1
    bgeu t0, a2, memcpy
    add a3, a0, a2
    add a1, a1, a2
    or t0, a3, a1
    andi t0, t0, 3
    bnez t0, 3f
    andi t0, a2, -4
    beqz t0, 3f
    sub t0, a3, t0
2:  lw t1, -4(a1)
    sw t1, -4(a3)
    addi a1, a1, -4
    addi a3, a3, -4
    bne a3, t0, 2b
3:  beq a3, a0, 5f
4:  lbu t1, -1(a1)
    sb t1, -1(a3)
    addi a1, a1, -1
    addi a3, a3, -1
    bne a3, a0, 4b
5:  ret
    .size memmove, . - memmove

# memset(a0 to, a1 byte, a2 count) -> a0
    .globl memset
    .type memset, @function
memset:
    mv a3, a0
    andi a1, a1, 255
    sltiu t0, a2, 8
    bnez t0, 6f
    beqz a1, 1f
    slli t0, a1, 8
    or a1, a1, t0
    slli t0, a1, 16
    or a1, a1, t0
1:  neg t0, a3
    andi t0, t0, 3
    beqz t0, 3f
    sub a2, a2, t0
    add t0, a3, t0
2:  sb a1, 0(a3)
    addi a3, a3, 1
    bne a3, t0, 2b
3:  srli t0, a2, 5
    beqz t0, 5f
    slli t0, t0, 5
    add t0, a3, t0
4:  sw a1, 0(a3)
    sw a1, 4(a3)
    sw a1, 8(a3)
    sw a1, 12(a3)
    sw a1, 16(a3)
    sw a1, 20(a3)
    sw a1, 24(a3)
    sw a1, 28(a3)
    addi a3, a3, 32
    bne a3, t0, 4b
    andi a2, a2, 31
5:  andi t0, a2, -4
    beqz t0, 6f
    add t0, a3, t0
51: sw a1, 0(a3)
    addi a3, a3, 4
    bne a3, t0, 51b
    andi a2, a2, 3
6:  beqz a2, 8f
    add t0, a3, a2
7:  sb a1, 0(a3)
    addi a3, a3, 1
    bne a3, t0, 7b
8:  ret
    .size memset, . - memset

# memcmp(a0, a1, a2 count) -> the difference of the first bytes that differ. bcmp only says whether there are any.
    .globl memcmp
    .globl bcmp
    .type memcmp, @function
memcmp:
bcmp:
    add a4, a0, a2
    or t0, a0, a1
    andi t0, t0, 3
    bnez t0, 2f
    andi t0, a2, -4
    add t0, a0, t0
    beq a0, t0, 2f
1:  lw t1, 0(a0)
    lw t2, 0(a1)
    bne t1, t2, 2f
    addi a0, a0, 4
    addi a1, a1, 4
    bne a0, t0, 1b
2:  beq a0, a4, 4f
3:  lbu t1, 0(a0)
    lbu t2, 0(a1)
    bne t1, t2, 5f
    addi a0, a0, 1
    addi a1, a1, 1
    bne a0, a4, 3b
4:  li a0, 0
    ret
5:  sub a0, t1, t2
    ret
    .size memcmp, . - memcmp
"#
);
