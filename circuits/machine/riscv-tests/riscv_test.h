/* The environment of the public riscv-tests on this machine.
 *
 * The tests ask for these macros; the names are theirs. A test that passes commits eighteen zero words and halts with 0, so that its
 * trace can be proven; one that fails halts with the number of the case that failed.
 */
#pragma once

#define RVTEST_RV32U
#define RVTEST_RV64U
#define TESTNUM gp

#define RVTEST_CODE_BEGIN \
    .section .text;       \
    .globl _start;        \
_start:                   \
    li TESTNUM, 0;

#define RVTEST_CODE_END

#define RVTEST_PASS     \
    la a0, committed;   \
    li a7, 1;           \
    ecall;              \
    li a0, 0;           \
    li a7, 0;           \
    ecall

#define RVTEST_FAIL     \
    mv a0, TESTNUM;     \
    bnez a0, 1f;        \
    li a0, -1;          \
1:  li a7, 0;           \
    ecall

#define EXTRA_DATA
#define RVTEST_DATA_BEGIN EXTRA_DATA .balign 4; committed: .zero 72;
#define RVTEST_DATA_END
