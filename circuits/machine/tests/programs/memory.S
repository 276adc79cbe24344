# lb, lbu, lh, lhu, lw, sb, sh, sw: every byte and half of a word, sign extension, the ends of the regions.
    .include "check.inc"
    begin
    .set words, 0x00400000
    la s0, constants
    lb a1, 0(s0)
    expect a1, 0xffffff80
    lbu a1, 0(s0)
    expect a1, 0x00000080
    lb a1, 1(s0)
    expect a1, 0x0000007f
    lbu a1, 1(s0)
    expect a1, 0x0000007f
    lb a1, 2(s0)
    expect a1, 0xffffffff
    lbu a1, 2(s0)
    expect a1, 0x000000ff
    lb a1, 3(s0)
    expect a1, 0x00000000
    lbu a1, 3(s0)
    expect a1, 0x00000000
    lb a1, 4(s0)
    expect a1, 0xfffffffe
    lbu a1, 4(s0)
    expect a1, 0x000000fe
    lb a1, 5(s0)
    expect a1, 0xffffffff
    lbu a1, 5(s0)
    expect a1, 0x000000ff
    lb a1, 6(s0)
    expect a1, 0x00000001
    lbu a1, 6(s0)
    expect a1, 0x00000001
    lb a1, 7(s0)
    expect a1, 0xffffff80
    lbu a1, 7(s0)
    expect a1, 0x00000080
    lb a1, 8(s0)
    expect a1, 0x00000078
    lbu a1, 8(s0)
    expect a1, 0x00000078
    lb a1, 9(s0)
    expect a1, 0x00000056
    lbu a1, 9(s0)
    expect a1, 0x00000056
    lb a1, 10(s0)
    expect a1, 0x00000034
    lbu a1, 10(s0)
    expect a1, 0x00000034
    lb a1, 11(s0)
    expect a1, 0x00000012
    lbu a1, 11(s0)
    expect a1, 0x00000012
    lb a1, 12(s0)
    expect a1, 0xffffffef
    lbu a1, 12(s0)
    expect a1, 0x000000ef
    lb a1, 13(s0)
    expect a1, 0xffffffbe
    lbu a1, 13(s0)
    expect a1, 0x000000be
    lb a1, 14(s0)
    expect a1, 0xffffffad
    lbu a1, 14(s0)
    expect a1, 0x000000ad
    lb a1, 15(s0)
    expect a1, 0xffffffde
    lbu a1, 15(s0)
    expect a1, 0x000000de
    lh a1, 0(s0)
    expect a1, 0x00007f80
    lhu a1, 0(s0)
    expect a1, 0x00007f80
    lh a1, 2(s0)
    expect a1, 0x000000ff
    lhu a1, 2(s0)
    expect a1, 0x000000ff
    lh a1, 4(s0)
    expect a1, 0xfffffffe
    lhu a1, 4(s0)
    expect a1, 0x0000fffe
    lh a1, 6(s0)
    expect a1, 0xffff8001
    lhu a1, 6(s0)
    expect a1, 0x00008001
    lh a1, 8(s0)
    expect a1, 0x00005678
    lhu a1, 8(s0)
    expect a1, 0x00005678
    lh a1, 10(s0)
    expect a1, 0x00001234
    lhu a1, 10(s0)
    expect a1, 0x00001234
    lh a1, 12(s0)
    expect a1, 0xffffbeef
    lhu a1, 12(s0)
    expect a1, 0x0000beef
    lh a1, 14(s0)
    expect a1, 0xffffdead
    lhu a1, 14(s0)
    expect a1, 0x0000dead
    lw a1, 0(s0)
    expect a1, 0x00ff7f80
    lw a1, 4(s0)
    expect a1, 0x8001fffe
    lw a1, 8(s0)
    expect a1, 0x12345678
    lw a1, 12(s0)
    expect a1, 0xdeadbeef

# Negative offsets, the ends of the offset, a load over its base, and a load into x0.
    addi s1, s0, 12
    lw a1, -4(s1)
    expect a1, 0x12345678
    lb a1, -12(s1)
    expect a1, 0xffffff80
    li a2, 2048
    add a2, a2, s0
    lw a1, -2048(a2)
    expect a1, 0x00ff7f80
    addi a2, s0, -2047
    lbu a1, 2047(a2)
    expect a1, 0x80
    mv a1, s0
    lw a1, 8(a1)
    expect a1, 0x12345678
    lw zero, 8(s0)
    expect zero, 0

# Stores change their own bytes only. Heap memory starts as zeros.
    li s0, words
    lw a1, 0(s0)
    expect a1, 0
    li a2, 0xdeadbeef
    sw a2, 0(s0)
    lw a1, 0(s0)
    expect a1, 0xdeadbeef
    li a2, 0x00000011
    sb a2, 0(s0)
    lw a1, 0(s0)
    expect a1, 0xdeadbe11
    li a2, 0x0001ff22
    sb a2, 1(s0)
    lw a1, 0(s0)
    expect a1, 0xdead2211
    li a2, 0xffffff33
    sb a2, 2(s0)
    lw a1, 0(s0)
    expect a1, 0xde332211
    li a2, 0x00000080
    sb a2, 3(s0)
    lw a1, 0(s0)
    expect a1, 0x80332211
    li a2, 0x12348765
    sh a2, 0(s0)
    lw a1, 0(s0)
    expect a1, 0x80338765
    li a2, 0xffff7fff
    sh a2, 2(s0)
    lw a1, 0(s0)
    expect a1, 0x7fff8765
    lw a1, 4(s0)
    expect a1, 0
    sw s0, 4(s0)
    lw a1, 4(s0)
    expect a1, words
    sb zero, 3(s0)
    lw a1, 0(s0)
    expect a1, 0x00ff8765
    li s1, words + 2048
    sw s1, -2048(s1)
    lw a1, 0(s0)
    expect a1, words + 2048

# The ends of the regions: the last word of the heap and stack, the first and the last word of the private input.
    li s1, 0x0ffffffc
    sw a2, 0(s1)
    lhu a1, 2(s1)
    expect a1, 0xffff
    li s1, 0x20000000
    lw a1, 0(s1)
    sw a1, 4(s1)
    lw a3, 4(s1)
    next_check
    bne a1, a3, fail
    li s1, 0x2ffffffc
    lw a1, 0(s1)
    expect a1, 0

# The image's own memory can be written, and the text as well: what is executed does not change.
    la s1, constants
    sw zero, 0(s1)
    lw a1, 0(s1)
    expect a1, 0
    la s1, patched
    sw zero, 0(s1)
    li a1, 1
patched:
    li a1, 2
    expect a1, 2

    .section .data
    .balign 4
constants:
    .word 0x00ff7f80, 0x8001fffe, 0x12345678, 0xdeadbeef
    .section .text
    end
