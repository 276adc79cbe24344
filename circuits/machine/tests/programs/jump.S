# jal, jalr, lui, auipc, fence: links, targets, the low bit that jalr clears, and links over the base register.
    .include "check.inc"
    begin
    next_check
    jal a1, 1f
linked:
    j fail
1:  la a2, linked
    bne a1, a2, fail

# Backwards, without a link.
    next_check
    j 2f
1:  j 3f
2:  jal zero, 1b
    j fail
3:
# A call and its return.
    la a1, double
    li a0, 21
    jalr ra, 0(a1)
    expect a0, 42
    call double
    expect a0, 84

# jalr clears the low bit of its target, whether the register or the offset has it.
    la a1, double
    addi a1, a1, 1
    li a0, 3
    jalr ra, 0(a1)
    expect a0, 6
    la a1, double
    jalr ra, 1(a1)
    expect a0, 12
    addi a1, a1, -1
    jalr ra, 2(a1)
    expect a0, 24
    la a1, double + 2048
    jalr ra, -2048(a1)
    expect a0, 48

# The target is read before the link is written over it.
    next_check
    la a1, 1f
    jalr a1, 0(a1)
linked_over:
    j fail
1:  la a2, linked_over
    bne a1, a2, fail

# Without a link.
    next_check
    la a1, 1f
    jalr zero, 0(a1)
    j fail
1:
    lui a1, 0
    expect a1, 0
    lui a1, 1
    expect a1, 4096
    lui a1, 0x80000
    expect a1, 0x80000000
    lui a1, 0xfffff
    expect a1, 0xfffff000
    lui zero, 0xfffff
    expect zero, 0

    next_check
here:
    auipc a1, 0
    la a2, here
    bne a1, a2, fail
    next_check
there:
    auipc a1, 0xfffff
    li a3, 4096
    add a1, a1, a3
    la a2, there
    bne a1, a2, fail
    auipc zero, 1
    expect zero, 0

    li a1, 7
    fence
    fence rw, w
    expect a1, 7
    j done

double:
    add a0, a0, a0
    ret

done:
    end
