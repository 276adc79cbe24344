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

    /// The instruction word: [`Instruction::decode`] gives the same instruction back.
    ///
    /// What does not fit its field is cut off, and what the operation has no field for is dropped. [`Op::Illegal`] becomes 0, which is no instruction.
    #[must_use]
    pub const fn encode(&self) -> u32 {
        let immediate = self.immediate;
        let rd = if self.op.writes() { self.rd as u32 & 31 } else { 0 };
        let rs1 = if self.op.reads_first() { self.rs1 as u32 & 31 } else { 0 };
        let rs2 = if self.op.reads_second() { self.rs2 as u32 & 31 } else { 0 };
        let immediate_i = immediate << 20;
        let immediate_s = immediate >> 5 << 25 | (immediate & 31) << 7;
        let immediate_b = (immediate >> 12 & 1) << 31
            | (immediate >> 5 & 63) << 25
            | (immediate >> 1 & 15) << 8
            | (immediate >> 11 & 1) << 7;
        let immediate_j = (immediate >> 20 & 1) << 31
            | (immediate >> 1 & 0x3ff) << 21
            | (immediate >> 11 & 1) << 20
            | (immediate >> 12 & 0xff) << 12;
        let (funct7, funct3, opcode, immediate) = match self.op {
            Op::Lui => (0, 0, 0b011_0111, immediate & 0xffff_f000),
            Op::Auipc => (0, 0, 0b001_0111, immediate & 0xffff_f000),
            Op::Jal => (0, 0, 0b110_1111, immediate_j),
            Op::Jalr => (0, 0, 0b110_0111, immediate_i),
            Op::Beq => (0, 0, 0b110_0011, immediate_b),
            Op::Bne => (0, 1, 0b110_0011, immediate_b),
            Op::Blt => (0, 4, 0b110_0011, immediate_b),
            Op::Bge => (0, 5, 0b110_0011, immediate_b),
            Op::Bltu => (0, 6, 0b110_0011, immediate_b),
            Op::Bgeu => (0, 7, 0b110_0011, immediate_b),
            Op::Lb => (0, 0, 0b000_0011, immediate_i),
            Op::Lh => (0, 1, 0b000_0011, immediate_i),
            Op::Lw => (0, 2, 0b000_0011, immediate_i),
            Op::Lbu => (0, 4, 0b000_0011, immediate_i),
            Op::Lhu => (0, 5, 0b000_0011, immediate_i),
            Op::Sb => (0, 0, 0b010_0011, immediate_s),
            Op::Sh => (0, 1, 0b010_0011, immediate_s),
            Op::Sw => (0, 2, 0b010_0011, immediate_s),
            Op::Addi => (0, 0, 0b001_0011, immediate_i),
            Op::Slti => (0, 2, 0b001_0011, immediate_i),
            Op::Sltiu => (0, 3, 0b001_0011, immediate_i),
            Op::Xori => (0, 4, 0b001_0011, immediate_i),
            Op::Ori => (0, 6, 0b001_0011, immediate_i),
            Op::Andi => (0, 7, 0b001_0011, immediate_i),
            Op::Slli => (0, 1, 0b001_0011, (immediate & 31) << 20),
            Op::Srli => (0, 5, 0b001_0011, (immediate & 31) << 20),
            Op::Srai => (32, 5, 0b001_0011, (immediate & 31) << 20),
            Op::Add => (0, 0, 0b011_0011, 0),
            Op::Sub => (32, 0, 0b011_0011, 0),
            Op::Sll => (0, 1, 0b011_0011, 0),
            Op::Slt => (0, 2, 0b011_0011, 0),
            Op::Sltu => (0, 3, 0b011_0011, 0),
            Op::Xor => (0, 4, 0b011_0011, 0),
            Op::Srl => (0, 5, 0b011_0011, 0),
            Op::Sra => (32, 5, 0b011_0011, 0),
            Op::Or => (0, 6, 0b011_0011, 0),
            Op::And => (0, 7, 0b011_0011, 0),
            Op::Mul => (1, 0, 0b011_0011, 0),
            Op::Mulh => (1, 1, 0b011_0011, 0),
            Op::Mulhsu => (1, 2, 0b011_0011, 0),
            Op::Mulhu => (1, 3, 0b011_0011, 0),
            Op::Div => (1, 4, 0b011_0011, 0),
            Op::Divu => (1, 5, 0b011_0011, 0),
            Op::Rem => (1, 6, 0b011_0011, 0),
            Op::Remu => (1, 7, 0b011_0011, 0),
            // `fence rw, rw`.
            Op::Fence => (0, 0, 0b000_1111, 0x0330_0000),
            // The registers of an `ecall` are not in its word.
            Op::Ecall => return 0x73,
            Op::Illegal => return 0,
        };
        funct7 << 25 | rs2 << 20 | rs1 << 15 | funct3 << 12 | rd << 7 | opcode | immediate
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn pinned_words_decode() {
        let expect = |word, op, rd, rs1, rs2, immediate: i32| {
            assert_eq!(Instruction::decode(word), Instruction { op, rd, rs1, rs2, immediate: immediate as u32 });
        };
        expect(0x1234_5537, Op::Lui, 10, 0, 0, 0x1234_5000);
        expect(0xffff_f597, Op::Auipc, 11, 0, 0, -4096);
        expect(0xffdf_f0ef, Op::Jal, 1, 0, 0, -4);
        expect(0x0000_8067, Op::Jalr, 0, 1, 0, 0);
        expect(0xfe52_9ee3, Op::Bne, 0, 5, 5, -4);
        expect(0xfff5_4503, Op::Lbu, 10, 10, 0, -1);
        expect(0xfea1_2e23, Op::Sw, 0, 2, 10, -4);
        expect(0x41f5_5513, Op::Srai, 10, 10, 0, 31);
        expect(0x02b5_4533, Op::Div, 10, 10, 11, 0);
        expect(0x0000_0073, Op::Ecall, 0, 17, 10, 0);
        expect(0x0ff0_000f, Op::Fence, 0, 0, 0, 0);
        // ebreak, csrrw, fence.i, mret, and words that are nobody's.
        for word in [0x0010_0073, 0x3000_1073, 0x0000_100f, 0x3020_0073, 0, u32::MAX, 0x4001] {
            assert_eq!(Instruction::decode(word), Instruction::ILLEGAL);
        }
    }

    #[test]
    fn all_operations_are_listed_in_order() {
        for (index, op) in Op::ALL.into_iter().enumerate() {
            assert_eq!(op as usize, index);
        }
    }

    proptest! {
        #[test]
        fn decoding_undoes_encoding(word: u32) {
            let instruction = Instruction::decode(word);
            let encoded = instruction.encode();
            prop_assert_eq!(Instruction::decode(encoded), instruction);
            // All but `fence`, whose fields mean nothing here, and illegal words keep every bit.
            if !matches!(instruction.op, Op::Illegal | Op::Fence) {
                prop_assert_eq!(encoded, word);
            }
        }
    }
}
