//! `memcpy`, `memmove`, `memset` and `memcmp`, which the compiler calls, and `add_words` for the sponge.
//!
//! In assembly, because a compiler would see these very calls in loops like theirs, and because every cycle is a row of the proof. Copies and fills
//! of usual sizes jump into a row of unrolled steps, counted back from its end, so that a word costs its load and its store and nothing else. Longer copies
//! between different alignments put every word together from two, which costs 5 1/2 instructions a word instead of 8.

use core::arch::global_asm;

// The rows: `.rept` counts up, and each step subtracts, so that the last step is the first word or byte.
global_asm!(
    r#"
    .section .text.memory, "ax"

# memcpy(a0 to, a1 from, a2 count) -> a0. Clobbers a1 to a5 and t0 to t6.
    .globl memcpy
    .type memcpy, @function
memcpy:
    or t0, a0, a1
    andi t0, t0, 3
    bnez t0, .Lcopy_unaligned
    sltiu t0, a2, 260
    beqz t0, .Lcopy_many_words
    # Up to 64 words: their number, times eight bytes of code for each.
    andi t0, a2, -4
    slli t1, t0, 1
1:  auipc t2, %pcrel_hi(.Lcopy_words_end)
    addi t2, t2, %pcrel_lo(1b)
    sub t2, t2, t1
    jr t2
    .set step, 63
    .rept 64
    lw t1, 4 * step(a1)
    sw t1, 4 * step(a0)
    .set step, step - 1
    .endr
.Lcopy_words_end:
    bne t0, a2, 2f
    ret
    # One to three bytes behind the words.
2:  add a1, a1, t0
    add a3, a0, t0
    add a4, a0, a2
.Lcopy_last_bytes:
    lbu t1, 0(a1)
    sb t1, 0(a3)
    addi a1, a1, 1
    addi a3, a3, 1
    bne a3, a4, .Lcopy_last_bytes
    ret

.Lcopy_unaligned:
    sltiu t0, a2, 33
    beqz t0, .Lcopy_many_bytes
    # Up to 32 bytes: their number, times eight bytes of code for each.
    slli t1, a2, 3
1:  auipc t2, %pcrel_hi(.Lcopy_bytes_end)
    addi t2, t2, %pcrel_lo(1b)
    sub t2, t2, t1
    jr t2
    .set step, 31
    .rept 32
    lbu t1, step(a1)
    sb t1, step(a0)
    .set step, step - 1
    .endr
.Lcopy_bytes_end:
    ret

.Lcopy_many_words:
    mv a3, a0
.Lcopy_many_words_to_a3:
    srli t0, a2, 5
    slli t0, t0, 5
    add a4, a3, t0
    beq a3, a4, 2f
1:  lw t0, 0(a1)
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
    bne a3, a4, 1b
2:  andi t0, a2, 28
    add a4, a3, t0
    beq a3, a4, 4f
3:  lw t1, 0(a1)
    sw t1, 0(a3)
    addi a1, a1, 4
    addi a3, a3, 4
    bne a3, a4, 3b
4:  andi t0, a2, 3
    add a4, a3, t0
    bne a3, a4, .Lcopy_last_bytes
    ret

.Lcopy_many_bytes:
    mv a3, a0
    # Bytes until the target is aligned: there are more than 32.
    neg t0, a3
    andi t0, t0, 3
    beqz t0, 2f
    sub a2, a2, t0
    add t0, a3, t0
1:  lbu t1, 0(a1)
    sb t1, 0(a3)
    addi a1, a1, 1
    addi a3, a3, 1
    bne a3, t0, 1b
2:  andi t0, a1, 3
    beqz t0, .Lcopy_many_words_to_a3
    # The source is not: every word written is put together from two words read. Only words that hold a wanted byte are read. t0 and
    # t1 are how far the two move (shifts look at their low five bits only).
    slli t0, t0, 3
    neg t1, t0
    andi a5, a1, -4
    andi t2, a2, -4
    add a4, a3, t2
    add a1, a1, t2
    sub a2, a2, t2
    lw t3, 0(a5)
    andi t2, t2, 4
    beqz t2, 3f
    lw t4, 4(a5)
    srl t3, t3, t0
    sll t5, t4, t1
    or t3, t3, t5
    sw t3, 0(a3)
    mv t3, t4
    addi a5, a5, 4
    addi a3, a3, 4
3:  lw t4, 4(a5)
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
    bne a3, a4, 3b
    add a4, a3, a2
    bne a3, a4, .Lcopy_last_bytes
    ret
    .size memcpy, . - memcpy

# add_words(a0 to, a1 from, a2 count): the exclusive or of up to 34 words, sixteen bytes of code for each.
    .globl add_words
    .type add_words, @function
add_words:
    slli t0, a2, 4
1:  auipc t2, %pcrel_hi(.Ladd_words_end)
    addi t2, t2, %pcrel_lo(1b)
    sub t2, t2, t0
    jr t2
    .set step, 33
    .rept 34
    lw t0, 4 * step(a1)
    lw t1, 4 * step(a0)
    xor t0, t0, t1
    sw t0, 4 * step(a0)
    .set step, step - 1
    .endr
.Ladd_words_end:
    ret
    .size add_words, . - add_words

# memmove(a0 to, a1 from, a2 count) -> a0: backwards where the target overlaps the end of the source. (Each row above goes backwards, and each
# loop forwards; whichever it is, `memcpy` wants ranges that do not overlap.)
    .globl memmove
    .type memmove, @function
memmove:
    sub t0, a0, a1
    bgeu t0, a2, 1f
    # Backwards.
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
1:  # The target is in front of the source or behind its end. Disjoint ranges are `memcpy`'s.
    sub t0, a1, a0
    bgeu t0, a2, memcpy
    # Forwards.
    mv a3, a0
    or t0, a0, a1
    andi t0, t0, 3
    bnez t0, 4f
    mv a4, a3
    j .Lcopy_overlapping_words
4:  add a4, a3, a2
    bne a3, a4, .Lcopy_last_bytes
    ret
.Lcopy_overlapping_words:
    andi t0, a2, -4
    add a4, a3, t0
    beq a3, a4, 7f
6:  lw t1, 0(a1)
    sw t1, 0(a3)
    addi a1, a1, 4
    addi a3, a3, 4
    bne a3, a4, 6b
7:  add a4, a0, a2
    bne a3, a4, .Lcopy_last_bytes
    ret
    .size memmove, . - memmove

# memset(a0 to, a1 byte, a2 count) -> a0
    .globl memset
    .type memset, @function
memset:
    andi t0, a0, 3
    bnez t0, .Lfill_unaligned
    andi a1, a1, 255
    beqz a1, 1f
    slli t0, a1, 8
    or a1, a1, t0
    slli t0, a1, 16
    or a1, a1, t0
1:  mv a3, a0
2:  sltiu t0, a2, 260
    beqz t0, .Lfill_many_words
    # Up to 64 words: four bytes of code for each.
    andi t0, a2, -4
3:  auipc t2, %pcrel_hi(.Lfill_words_end)
    addi t2, t2, %pcrel_lo(3b)
    sub t2, t2, t0
    jr t2
    .set step, 63
    .rept 64
    sw a1, 4 * step(a3)
    .set step, step - 1
    .endr
.Lfill_words_end:
    bne t0, a2, 4f
    ret
4:  add a4, a3, a2
    add a3, a3, t0
.Lfill_last_bytes:
    sb a1, 0(a3)
    addi a3, a3, 1
    bne a3, a4, .Lfill_last_bytes
    ret
.Lfill_many_words:
    addi a4, a3, 256
5:  sw a1, 0(a3)
    sw a1, 4(a3)
    sw a1, 8(a3)
    sw a1, 12(a3)
    sw a1, 16(a3)
    sw a1, 20(a3)
    sw a1, 24(a3)
    sw a1, 28(a3)
    addi a3, a3, 32
    bne a3, a4, 5b
    addi a2, a2, -256
    j 2b
.Lfill_unaligned:
    mv a3, a0
    add a4, a0, a2
    bne a3, a4, .Lfill_last_bytes
    ret
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
    andi t0, a2, -8
    add t0, a0, t0
    beq a0, t0, 2f
1:  lw t1, 0(a0)
    lw t2, 0(a1)
    bne t1, t2, 2f
    lw t3, 4(a0)
    lw t4, 4(a1)
    bne t3, t4, 2f
    addi a0, a0, 8
    addi a1, a1, 8
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
