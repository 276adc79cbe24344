# beq, bne, blt, bge, bltu, bgeu: taken and not, forwards and backwards.
    .include "check.inc"
    begin
# Takes the branch forwards over a failure, and then backwards.
    .macro taken operation, left, right
    next_check
    li a1, \left
    li a2, \right
    \operation a1, a2, 2f
    j fail
1:  j 3f
    j fail
2:  \operation a1, a2, 1b
    j fail
3:
    .endm

# Does not take it, in either direction.
    .macro not_taken operation, left, right
    next_check
    li a1, \left
    li a2, \right
    j 2f
1:  j fail
2:  \operation a1, a2, 1b
    \operation a1, a2, 1b
    \operation a1, a2, 3f
    j 4f
3:  j fail
4:
    .endm

    taken beq, 0x00000000, 0x00000000
    not_taken beq, 0x00000000, 0x00000001
    not_taken beq, 0x00000001, 0x00000000
    taken beq, 0xffffffff, 0xffffffff
    not_taken beq, 0xffffffff, 0x00000001
    not_taken beq, 0x00000001, 0xffffffff
    not_taken beq, 0x80000000, 0x7fffffff
    not_taken beq, 0x7fffffff, 0x80000000
    taken beq, 0x80000000, 0x80000000
    not_taken bne, 0x00000000, 0x00000000
    taken bne, 0x00000000, 0x00000001
    taken bne, 0x00000001, 0x00000000
    not_taken bne, 0xffffffff, 0xffffffff
    taken bne, 0xffffffff, 0x00000001
    taken bne, 0x00000001, 0xffffffff
    taken bne, 0x80000000, 0x7fffffff
    taken bne, 0x7fffffff, 0x80000000
    not_taken bne, 0x80000000, 0x80000000
    not_taken blt, 0x00000000, 0x00000000
    taken blt, 0x00000000, 0x00000001
    not_taken blt, 0x00000001, 0x00000000
    not_taken blt, 0xffffffff, 0xffffffff
    taken blt, 0xffffffff, 0x00000001
    not_taken blt, 0x00000001, 0xffffffff
    taken blt, 0x80000000, 0x7fffffff
    not_taken blt, 0x7fffffff, 0x80000000
    not_taken blt, 0x80000000, 0x80000000
    taken bge, 0x00000000, 0x00000000
    not_taken bge, 0x00000000, 0x00000001
    taken bge, 0x00000001, 0x00000000
    taken bge, 0xffffffff, 0xffffffff
    not_taken bge, 0xffffffff, 0x00000001
    taken bge, 0x00000001, 0xffffffff
    not_taken bge, 0x80000000, 0x7fffffff
    taken bge, 0x7fffffff, 0x80000000
    taken bge, 0x80000000, 0x80000000
    not_taken bltu, 0x00000000, 0x00000000
    taken bltu, 0x00000000, 0x00000001
    not_taken bltu, 0x00000001, 0x00000000
    not_taken bltu, 0xffffffff, 0xffffffff
    not_taken bltu, 0xffffffff, 0x00000001
    taken bltu, 0x00000001, 0xffffffff
    not_taken bltu, 0x80000000, 0x7fffffff
    taken bltu, 0x7fffffff, 0x80000000
    not_taken bltu, 0x80000000, 0x80000000
    taken bgeu, 0x00000000, 0x00000000
    not_taken bgeu, 0x00000000, 0x00000001
    taken bgeu, 0x00000001, 0x00000000
    taken bgeu, 0xffffffff, 0xffffffff
    taken bgeu, 0xffffffff, 0x00000001
    not_taken bgeu, 0x00000001, 0xffffffff
    taken bgeu, 0x80000000, 0x7fffffff
    not_taken bgeu, 0x7fffffff, 0x80000000
    taken bgeu, 0x80000000, 0x80000000

# An operand that is x0.
    next_check
    li a1, -1
    bltz a1, 1f
    j fail
1:  next_check
    bgeu zero, zero, 1f
    j fail
1:
# A loop, so that one branch goes both ways.
    li a1, 10
    li a2, 0
1:  add a2, a2, a1
    addi a1, a1, -1
    bnez a1, 1b
    expect a2, 55
    end
