# A program whose cycles can be counted by hand: a caller, a tail call, recursion, a precompile.
    .section .text
    .globl _start
_start:
    lui sp, 0x10000
    call calls_leaf
    call calls_leaf
    call hashes_in_tail
    li a0, 3
    call recurses
    li a7, 0
    li a0, 0
    ecall

    .type calls_leaf, @function
calls_leaf:
    addi sp, sp, -16
    sw ra, 0(sp)
    addi a0, zero, 1
    jal leaf
    lw ra, 0(sp)
    addi sp, sp, 16
    ret

    .type leaf, @function
leaf:
    addi a0, a0, 1
    addi a0, a0, 1
    ret

    .type hashes_in_tail, @function
hashes_in_tail:
    lui a0, 0x400
    j hashes

    .type hashes, @function
hashes:
    li a7, 2
    ecall
    nop
    nop
    ret

    .type recurses, @function
recurses:
    addi sp, sp, -16
    sw ra, 0(sp)
    addi a0, a0, -1
    beqz a0, 1f
    jal recurses
    j 2f
1:  jal leaf
2:  lw ra, 0(sp)
    addi sp, sp, 16
    ret
