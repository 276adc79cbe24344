//! The instruction set, and its decoder.
//!
//! Source: *The RISC-V Instruction Set Manual, Volume I*, RV32I and the M extension, version 2.

/// The operation of an instruction. Register and immediate forms are separate, as in the manual.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
#[expect(missing_docs, reason = "the manual's own mnemonics")]
pub enum Op {
    Lui,
    Auipc,
    Jal,
    Jalr,
    Beq,
    Bne,
    Blt,
    Bge,
    Bltu,
    Bgeu,
    Lb,
    Lh,
    Lw,
    Lbu,
    Lhu,
    Sb,
    Sh,
    Sw,
    Addi,
    Slti,
    Sltiu,
    Xori,
    Ori,
    Andi,
    Slli,
    Srli,
    Srai,
    Add,
    Sub,
    Sll,
    Slt,
    Sltu,
    Xor,
    Srl,
    Sra,
    Or,
    And,
    Mul,
    Mulh,
    Mulhsu,
    Mulhu,
    Div,
    Divu,
    Rem,
    Remu,
    Fence,
    Ecall,
    /// Not an instruction of this machine: executing it traps. `ebreak` and the CSR instructions are among these.
    Illegal,
}

impl Op {
    /// Every operation that can be executed, in the order of the enumeration.
    pub const ALL: [Self; 47] = [
        Self::Lui,
        Self::Auipc,
        Self::Jal,
        Self::Jalr,
        Self::Beq,
        Self::Bne,
        Self::Blt,
        Self::Bge,
        Self::Bltu,
        Self::Bgeu,
        Self::Lb,
        Self::Lh,
        Self::Lw,
        Self::Lbu,
        Self::Lhu,
        Self::Sb,
        Self::Sh,
        Self::Sw,
        Self::Addi,
        Self::Slti,
        Self::Sltiu,
        Self::Xori,
        Self::Ori,
        Self::Andi,
        Self::Slli,
        Self::Srli,
        Self::Srai,
        Self::Add,
        Self::Sub,
        Self::Sll,
        Self::Slt,
        Self::Sltu,
        Self::Xor,
        Self::Srl,
        Self::Sra,
        Self::Or,
        Self::And,
        Self::Mul,
        Self::Mulh,
        Self::Mulhsu,
        Self::Mulhu,
        Self::Div,
        Self::Divu,
        Self::Rem,
        Self::Remu,
        Self::Fence,
        Self::Ecall,
    ];

    /// Is this a load?
    #[must_use]
    pub const fn is_load(self) -> bool {
        matches!(self, Self::Lb | Self::Lh | Self::Lw | Self::Lbu | Self::Lhu)
    }

    /// Is this a store?
    #[must_use]
    pub const fn is_store(self) -> bool {
        matches!(self, Self::Sb | Self::Sh | Self::Sw)
    }

    /// Is this a conditional branch?
    #[must_use]
    pub const fn is_branch(self) -> bool {
        matches!(self, Self::Beq | Self::Bne | Self::Blt | Self::Bge | Self::Bltu | Self::Bgeu)
    }

    /// Does the immediate stand where the register form has `rs2`?
    #[must_use]
    pub const fn takes_immediate_operand(self) -> bool {
        matches!(
            self,
            Self::Addi
                | Self::Slti
                | Self::Sltiu
                | Self::Xori
                | Self::Ori
                | Self::Andi
                | Self::Slli
                | Self::Srli
                | Self::Srai
        )
    }

    /// The register form of an operation with an immediate operand; every other operation is its own.
    #[must_use]
    pub const fn register_form(self) -> Self {
        match self {
            Self::Addi => Self::Add,
            Self::Slti => Self::Slt,
            Self::Sltiu => Self::Sltu,
            Self::Xori => Self::Xor,
            Self::Ori => Self::Or,
            Self::Andi => Self::And,
            Self::Slli => Self::Sll,
            Self::Srli => Self::Srl,
            Self::Srai => Self::Sra,
            other => other,
        }
    }

    /// Does the operation read `rs1`?
    const fn reads_first(self) -> bool {
        !matches!(self, Self::Lui | Self::Auipc | Self::Jal | Self::Fence | Self::Illegal)
    }

    /// Does the operation read `rs2`?
    const fn reads_second(self) -> bool {
        self.is_branch()
            || self.is_store()
            || matches!(
                self,
                Self::Add
                    | Self::Sub
                    | Self::Sll
                    | Self::Slt
                    | Self::Sltu
                    | Self::Xor
                    | Self::Srl
                    | Self::Sra
                    | Self::Or
                    | Self::And
                    | Self::Mul
                    | Self::Mulh
                    | Self::Mulhsu
                    | Self::Mulhu
                    | Self::Div
                    | Self::Divu
                    | Self::Rem
                    | Self::Remu
                    | Self::Ecall
            )
    }

    /// Does the operation write `rd`?
    const fn writes(self) -> bool {
        !self.is_branch() && !self.is_store() && !matches!(self, Self::Fence | Self::Ecall | Self::Illegal)
    }
}

/// A decoded instruction.
///
/// Register fields that the operation does not use are 0. An `ecall` has `rs1 = a7` and `rs2 = a0`, the two registers it reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// What it does.
    pub op: Op,
    /// The register it writes.
    pub rd: u8,
    /// The first register it reads.
    pub rs1: u8,
    /// The second register it reads.
    pub rs2: u8,
    /// The immediate, sign-extended to 32 bits. For `lui` and `auipc` it is already shifted into the upper twenty bits; for shifts
    /// it is the shift amount, 0 to 31; for `jal` and branches it is the distance to the target.
    pub immediate: u32,
}

impl Instruction {
    /// What is left of a word that is no instruction of this machine.
    pub const ILLEGAL: Self = Self { op: Op::Illegal, rd: 0, rs1: 0, rs2: 0, immediate: 0 };

    /// Decodes an instruction word. Everything outside RV32IM becomes [`Op::Illegal`].
    #[must_use]
    pub const fn decode(word: u32) -> Self {
        let rd = ((word >> 7) & 31) as u8;
        let rs1 = ((word >> 15) & 31) as u8;
        let rs2 = ((word >> 20) & 31) as u8;
        let funct3 = (word >> 12) & 7;
        let funct7 = word >> 25;
        let signed = word as i32;
        let immediate_i = (signed >> 20) as u32;
        let immediate_s = ((signed >> 25) << 5) as u32 | (word >> 7) & 31;
        let immediate_b =
            ((signed >> 31) << 12) as u32 | (word << 4) & 0x800 | (word >> 20) & 0x7e0 | (word >> 7) & 0x1e;
        let immediate_u = word & 0xffff_f000;
        let immediate_j = ((signed >> 31) << 20) as u32 | word & 0xf_f000 | (word >> 9) & 0x800 | (word >> 20) & 0x7fe;

        let (op, immediate) = match word & 0x7f {
            0b011_0111 => (Op::Lui, immediate_u),
            0b001_0111 => (Op::Auipc, immediate_u),
            0b110_1111 => (Op::Jal, immediate_j),
            0b110_0111 if funct3 == 0 => (Op::Jalr, immediate_i),
            0b110_0011 => {
                let op = match funct3 {
                    0 => Op::Beq,
                    1 => Op::Bne,
                    4 => Op::Blt,
                    5 => Op::Bge,
                    6 => Op::Bltu,
                    7 => Op::Bgeu,
                    _ => Op::Illegal,
                };
                (op, immediate_b)
            }
            0b000_0011 => {
                let op = match funct3 {
                    0 => Op::Lb,
                    1 => Op::Lh,
                    2 => Op::Lw,
                    4 => Op::Lbu,
                    5 => Op::Lhu,
                    _ => Op::Illegal,
                };
                (op, immediate_i)
            }
            0b010_0011 => {
                let op = match funct3 {
                    0 => Op::Sb,
                    1 => Op::Sh,
                    2 => Op::Sw,
                    _ => Op::Illegal,
                };
                (op, immediate_s)
            }
            0b001_0011 => match (funct3, funct7) {
                (0, _) => (Op::Addi, immediate_i),
                (2, _) => (Op::Slti, immediate_i),
                (3, _) => (Op::Sltiu, immediate_i),
                (4, _) => (Op::Xori, immediate_i),
                (6, _) => (Op::Ori, immediate_i),
                (7, _) => (Op::Andi, immediate_i),
                (1, 0) => (Op::Slli, rs2 as u32),
                (5, 0) => (Op::Srli, rs2 as u32),
                (5, 0b010_0000) => (Op::Srai, rs2 as u32),
                _ => (Op::Illegal, 0),
            },
            0b011_0011 => {
                let op = match (funct7, funct3) {
                    (0, 0) => Op::Add,
                    (0b010_0000, 0) => Op::Sub,
                    (0, 1) => Op::Sll,
                    (0, 2) => Op::Slt,
                    (0, 3) => Op::Sltu,
                    (0, 4) => Op::Xor,
                    (0, 5) => Op::Srl,
                    (0b010_0000, 5) => Op::Sra,
                    (0, 6) => Op::Or,
                    (0, 7) => Op::And,
                    (1, 0) => Op::Mul,
                    (1, 1) => Op::Mulh,
                    (1, 2) => Op::Mulhsu,
                    (1, 3) => Op::Mulhu,
                    (1, 4) => Op::Div,
                    (1, 5) => Op::Divu,
                    (1, 6) => Op::Rem,
                    (1, 7) => Op::Remu,
                    _ => Op::Illegal,
                };
                (op, 0)
            }
            // `fence` in any form orders nothing here: there is one hart. (`fence.i` is another extension.)
            0b000_1111 if funct3 == 0 => (Op::Fence, 0),
            0b111_0011 if word == 0x73 => {
                return Self { op: Op::Ecall, rd: 0, rs1: 17, rs2: 10, immediate: 0 };
            }
            _ => (Op::Illegal, 0),
        };
        if matches!(op, Op::Illegal) {
            return Self::ILLEGAL;
        }
        Self {
            op,
            rd: if op.writes() { rd } else { 0 },
            rs1: if op.reads_first() { rs1 } else { 0 },
            rs2: if op.reads_second() { rs2 } else { 0 },
            immediate,
        }
    }

    /// The register read in slot 0, if there is one. `x0` is no access.
    #[must_use]
    pub const fn first_register(&self) -> Option<u8> {
        if self.rs1 == 0 { None } else { Some(self.rs1) }
    }

    /// The register read in slot 1, if there is one. (The slot of a load is its memory word's.)
    #[must_use]
    pub const fn second_register(&self) -> Option<u8> {
        if self.rs2 == 0 { None } else { Some(self.rs2) }
    }

    /// The register written in slot 2, if there is one. (The slot of a store is its memory word's.)
    #[must_use]
    pub const fn third_register(&self) -> Option<u8> {
        if self.rd == 0 { None } else { Some(self.rd) }
    }
}
