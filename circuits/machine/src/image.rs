//! Loading an image from an ELF file.
//!
//! Source: *Tool Interface Standard, Executable and Linking Format* 1.2 and the RISC-V ELF psABI. Only what a statically linked
//! RV32IM program needs is accepted; all else is refused with its reason, and nothing in a file makes the loader panic or take
//! memory beyond the program region and the file's own symbols.

use thiserror::Error;

use crate::{
    instruction::Instruction,
    layout::{HEAP_END, HEAP_START, PROGRAM_END, PROGRAM_START},
};

const ELF_MAGIC: u32 = 0x464c_457f;
const CLASS_32: u8 = 1;
const LITTLE_ENDIAN: u8 = 1;
const TYPE_EXECUTABLE: u16 = 2;
const MACHINE_RISCV: u16 = 243;
/// `EF_RISCV_RVC` and the two bits of the floating-point ABI.
const FLAGS_REFUSED: u32 = 0x0001 | 0x0006;
const SEGMENT_LOAD: u32 = 1;
const SEGMENT_DYNAMIC: u32 = 2;
const SEGMENT_INTERPRETER: u32 = 3;
const SEGMENT_THREAD_LOCAL: u32 = 7;
const SEGMENT_EXECUTABLE: u32 = 1;
const SECTION_SYMBOLS: u32 = 2;
const SYMBOL_NO_TYPE: u8 = 0;
const SYMBOL_FUNCTION: u8 = 2;
/// Longer names are cut: a file can point every symbol at one huge string.
const SYMBOL_NAME_BYTES_MAX: usize = 512;

/// Why a file is no image.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ImageError {
    /// The file ends before something that it promises.
    #[error("the file ends within {what} (bytes {offset}..{end} of {length})")]
    Truncated {
        /// What is cut off.
        what: &'static str,
        /// Where it starts.
        offset: usize,
        /// Where it should end.
        end: usize,
        /// The length of the file.
        length: usize,
    },
    /// A field of the header has a value that no image has.
    #[error("{field} is {got:#x}, expected {expected:#x}")]
    Header {
        /// The field.
        field: &'static str,
        /// Its value.
        got: u32,
        /// The only value accepted.
        expected: u32,
    },
    /// Compressed instructions or a hardware floating-point ABI.
    #[error("the flags {flags:#x} ask for compressed instructions or hardware floating point")]
    Flags {
        /// `e_flags`.
        flags: u32,
    },
    /// A segment that only a dynamic loader could handle.
    #[error("segment {index} has type {kind}: the image must be linked statically and without thread-local storage")]
    DynamicSegment {
        /// Which segment.
        index: usize,
        /// `p_type`.
        kind: u32,
    },
    /// A segment with more bytes in the file than in memory, or at an address that is not a multiple of 4.
    #[error("segment {index} is malformed (address {address:#010x}, {file_bytes} bytes of {memory_bytes})")]
    MalformedSegment {
        /// Which segment.
        index: usize,
        /// `p_vaddr`.
        address: u32,
        /// `p_filesz`.
        file_bytes: u32,
        /// `p_memsz`.
        memory_bytes: u32,
    },
    /// A segment outside of the program region. (One without content may also be in the heap region.)
    #[error("segment {index} ({address:#010x}, {memory_bytes} bytes) is outside of its region")]
    OutsideRegion {
        /// Which segment.
        index: usize,
        /// `p_vaddr`.
        address: u32,
        /// `p_memsz`.
        memory_bytes: u32,
    },
    /// Segments that overlap or are not in order of address.
    #[error("segment {index} at {address:#010x} starts before {previous_end:#010x}, the end of the one before")]
    SegmentsOverlap {
        /// Which segment.
        index: usize,
        /// `p_vaddr`.
        address: u32,
        /// The end of the segment before.
        previous_end: u32,
    },
    /// Not exactly one executable segment.
    #[error("{got} executable segments, expected one")]
    TextSegments {
        /// How many there are.
        got: usize,
    },
    /// An entry point that is not an instruction.
    #[error("the entry point {entry:#010x} is not in the text")]
    Entry {
        /// `e_entry`.
        entry: u32,
    },
}

/// A name for a part of the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Symbol {
    /// Its first byte.
    pub address: u32,
    /// Its length; 0 where the file does not say.
    pub bytes: u32,
    /// Its name, as in the file.
    pub name: String,
}

/// A program that the machine can run: what the program hash fixes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    entry: u32,
    text_start: u32,
    instructions: Vec<Instruction>,
    memory_start: u32,
    memory: Vec<u32>,
    symbols: Vec<Symbol>,
}

impl Image {
    /// Loads an ELF file.
    ///
    /// # Errors
    ///
    /// See [`ImageError`]. Symbols that cannot be read are left out: they are names for people, and prove nothing.
    pub fn from_elf(file: &[u8]) -> Result<Self, ImageError> {
        let file = Reader(file);
        check_header(file)?;
        let entry = file.u32("the header", 24)?;
        let segments = read_segments(file)?;

        let text_segments = segments.iter().filter(|segment| segment.is_text).count();
        let Some(text) = segments.iter().find(|segment| segment.is_text).filter(|_| text_segments == 1) else {
            return Err(ImageError::TextSegments { got: text_segments });
        };
        // One run of words from the first segment to the last; gaps between segments are zeros. `read_segments` has checked order
        // and region, so this is at most the program region, 4 MiB.
        let loaded = || segments.iter().filter(|segment| segment.address < PROGRAM_END);
        let memory_start = loaded().next().map_or(text.address, |segment| segment.address);
        let memory_end = loaded().next_back().map_or(text.address, Segment::end);
        let mut memory = vec![0_u32; (memory_end - memory_start).div_ceil(4) as usize];
        for segment in loaded() {
            let first = ((segment.address - memory_start) / 4) as usize;
            for (word, bytes) in memory[first..].iter_mut().zip(segment.content.chunks(4)) {
                let mut padded = [0; 4];
                padded[..bytes.len()].copy_from_slice(bytes);
                *word = u32::from_le_bytes(padded);
            }
        }
        let text_start = text.address;
        let text_first = ((text_start - memory_start) / 4) as usize;
        let text_words = text.memory_bytes.div_ceil(4) as usize;
        let instructions: Vec<_> =
            memory[text_first..text_first + text_words].iter().map(|&word| Instruction::decode(word)).collect();

        let image = Self { entry, text_start, instructions, memory_start, memory, symbols: Vec::new() };
        if entry % 4 != 0 || image.instruction(entry).is_none() {
            return Err(ImageError::Entry { entry });
        }
        let symbols = read_symbols(file, text_start, image.text_end()).unwrap_or_default();
        Ok(Self { symbols, ..image })
    }

    /// An image of nothing but instructions, from [`PROGRAM_START`] on and entered at the first: for tests and small programs.
    ///
    /// # Errors
    ///
    /// [`ImageError::Entry`] without instructions, [`ImageError::OutsideRegion`] with more than the program region holds.
    pub fn from_instructions(words: &[u32]) -> Result<Self, ImageError> {
        let region_words = (PROGRAM_END - PROGRAM_START) as usize / 4;
        if words.is_empty() {
            return Err(ImageError::Entry { entry: PROGRAM_START });
        }
        if words.len() > region_words {
            let memory_bytes = u32::try_from(words.len()).unwrap_or(u32::MAX).saturating_mul(4);
            return Err(ImageError::OutsideRegion { index: 0, address: PROGRAM_START, memory_bytes });
        }
        Ok(Self {
            entry: PROGRAM_START,
            text_start: PROGRAM_START,
            instructions: words.iter().map(|&word| Instruction::decode(word)).collect(),
            memory_start: PROGRAM_START,
            memory: words.to_vec(),
            symbols: Vec::new(),
        })
    }

    /// The address of the first instruction to execute.
    #[must_use]
    pub const fn entry(&self) -> u32 {
        self.entry
    }

    /// The address of the first instruction of the text.
    #[must_use]
    pub const fn text_start(&self) -> u32 {
        self.text_start
    }

    /// The first address behind the text.
    #[must_use]
    pub const fn text_end(&self) -> u32 {
        self.text_start + 4 * self.instructions.len() as u32
    }

    /// The text: instruction `i` is at `text_start + 4 · i`. Words that are no instruction are [`Instruction::ILLEGAL`].
    #[must_use]
    pub fn instructions(&self) -> &[Instruction] {
        &self.instructions
    }

    /// The instruction at `pc`, if `pc` is in the text. (Aligned by the caller: the low bits are ignored.)
    #[must_use]
    pub fn instruction(&self, pc: u32) -> Option<&Instruction> {
        self.instructions.get((pc.checked_sub(self.text_start)? / 4) as usize)
    }

    /// The address of the first word of the image's memory.
    #[must_use]
    pub const fn memory_start(&self) -> u32 {
        self.memory_start
    }

    /// The initial memory, text included: word `i` is at `memory_start + 4 · i`. Nothing else of the program region is memory.
    #[must_use]
    pub fn memory(&self) -> &[u32] {
        &self.memory
    }

    /// The initial word around the byte at `address`, if the image holds it.
    #[must_use]
    pub fn word(&self, address: u32) -> Option<u32> {
        self.memory.get((address.checked_sub(self.memory_start)? / 4) as usize).copied()
    }

    /// Does the image hold the byte at `address`?
    #[inline]
    #[must_use]
    pub fn holds(&self, address: u32) -> bool {
        address.wrapping_sub(self.memory_start) < 4 * self.memory.len() as u32
    }

    /// The names of routines, in order of address.
    #[must_use]
    pub fn symbols(&self) -> &[Symbol] {
        &self.symbols
    }

    /// The index in [`Image::symbols`] of the routine around `pc`: the last symbol that starts at or before it.
    #[must_use]
    pub fn routine_index(&self, pc: u32) -> Option<usize> {
        self.symbols.partition_point(|symbol| symbol.address <= pc).checked_sub(1)
    }

    /// The readable name of the routine around `pc`.
    #[must_use]
    pub fn routine_name(&self, pc: u32) -> Option<String> {
        self.routine_index(pc).map(|index| readable(&self.symbols[index].name))
    }

    /// Takes the names of routines from another file, such as the one that an image was stripped from.
    ///
    /// Does nothing if that file has none that fit.
    pub fn name_routines(&mut self, file: &[u8]) {
        if let Some(symbols) = read_symbols(Reader(file), self.text_start, self.text_end()) {
            self.symbols = symbols;
        }
    }
}

/// A symbol's name as its author wrote it, without hashes.
pub(crate) fn readable(name: &str) -> String {
    format!("{:#}", rustc_demangle::demangle(name))
}

struct Segment<'a> {
    address: u32,
    memory_bytes: u32,
    content: &'a [u8],
    is_text: bool,
}

impl Segment<'_> {
    const fn end(&self) -> u32 {
        self.address + self.memory_bytes
    }
}

fn check_header(file: Reader<'_>) -> Result<(), ImageError> {
    const WHAT: &str = "the header";
    let fields = [
        ("the magic number", file.u32(WHAT, 0)?, ELF_MAGIC),
        ("the class", file.u8(WHAT, 4)?.into(), CLASS_32.into()),
        ("the byte order", file.u8(WHAT, 5)?.into(), LITTLE_ENDIAN.into()),
        ("the file type", file.u16(WHAT, 16)?.into(), TYPE_EXECUTABLE.into()),
        ("the instruction set", file.u16(WHAT, 18)?.into(), MACHINE_RISCV.into()),
        ("the size of a program header", file.u16(WHAT, 42)?.into(), 32),
    ];
    for (field, got, expected) in fields {
        if got != expected {
            return Err(ImageError::Header { field, got, expected });
        }
    }
    let flags = file.u32(WHAT, 36)?;
    if flags & FLAGS_REFUSED != 0 {
        return Err(ImageError::Flags { flags });
    }
    Ok(())
}

fn read_segments(file: Reader<'_>) -> Result<Vec<Segment<'_>>, ImageError> {
    const WHAT: &str = "the program headers";
    let table = file.u32(WHAT, 28)? as usize;
    let count = usize::from(file.u16(WHAT, 44)?);
    let mut segments: Vec<Segment<'_>> = Vec::new();
    for index in 0..count {
        let header = table.saturating_add(32 * index);
        let field = |offset: usize| file.u32(WHAT, header.saturating_add(offset));
        let kind = field(0)?;
        match kind {
            SEGMENT_LOAD => {}
            SEGMENT_DYNAMIC | SEGMENT_INTERPRETER | SEGMENT_THREAD_LOCAL => {
                return Err(ImageError::DynamicSegment { index, kind });
            }
            _ => continue,
        }
        let (offset, address) = (field(4)?, field(8)?);
        let (file_bytes, memory_bytes, flags) = (field(16)?, field(20)?, field(24)?);
        if memory_bytes == 0 {
            continue;
        }
        if file_bytes > memory_bytes || address % 4 != 0 {
            return Err(ImageError::MalformedSegment { index, address, file_bytes, memory_bytes });
        }
        let content = file.bytes("a segment", offset as usize, file_bytes as usize)?;
        let is_text = flags & SEGMENT_EXECUTABLE != 0;
        let region = if address >= HEAP_START && file_bytes == 0 && !is_text {
            HEAP_START..=HEAP_END
        } else {
            PROGRAM_START..=PROGRAM_END
        };
        match address.checked_add(memory_bytes) {
            Some(end) if region.contains(&address) && region.contains(&end) => {}
            _ => return Err(ImageError::OutsideRegion { index, address, memory_bytes }),
        }
        if let Some(previous) = segments.last() {
            // Whole words, so that no two segments share one.
            let previous_end = previous.end().next_multiple_of(4);
            if address < previous_end {
                return Err(ImageError::SegmentsOverlap { index, address, previous_end });
            }
        }
        segments.push(Segment { address, memory_bytes, content, is_text });
    }
    Ok(segments)
}

/// The symbols of the text; nothing if the file has no symbol table that can be read.
fn read_symbols(file: Reader<'_>, text_start: u32, text_end: u32) -> Option<Vec<Symbol>> {
    const WHAT: &str = "the symbols";
    let table = file.u32(WHAT, 32).ok()? as usize;
    let count = usize::from(file.u16(WHAT, 48).ok()?);
    let section = |index: usize, offset: usize| {
        file.u32(WHAT, table.checked_add(40 * index)?.checked_add(offset)?).ok().map(|field| field as usize)
    };
    let symbols_index = (0..count).find(|&index| section(index, 4) == Some(SECTION_SYMBOLS as usize))?;
    let symbols = file.bytes(WHAT, section(symbols_index, 16)?, section(symbols_index, 20)?).ok()?;
    let names_index = section(symbols_index, 24).filter(|&index| index < count)?;
    let names = file.bytes(WHAT, section(names_index, 16)?, section(names_index, 20)?).ok()?;

    let mut found = Vec::new();
    for symbol in symbols.chunks_exact(16) {
        let symbol = Reader(symbol);
        let (name, address, bytes) = (symbol.u32(WHAT, 0).ok()?, symbol.u32(WHAT, 4).ok()?, symbol.u32(WHAT, 8).ok()?);
        let kind = symbol.u8(WHAT, 12).ok()? & 15;
        if !matches!(kind, SYMBOL_FUNCTION | SYMBOL_NO_TYPE) || !(text_start..text_end).contains(&address) {
            continue;
        }
        let Some(name) = names.get(name as usize..) else { continue };
        let length = name.iter().take(SYMBOL_NAME_BYTES_MAX).position(|&byte| byte == 0);
        let name = String::from_utf8_lossy(&name[..length.unwrap_or(name.len().min(SYMBOL_NAME_BYTES_MAX))]);
        // `$x` and `.L…` mark places, not routines.
        if name.is_empty() || name.starts_with(['$', '.']) {
            continue;
        }
        found.push((Symbol { address, bytes, name: name.into_owned() }, kind));
    }
    // Where several names share an address, a function's is the best.
    found.sort_by(|(left, left_kind), (right, right_kind)| {
        (left.address, right_kind, &left.name).cmp(&(right.address, left_kind, &right.name))
    });
    found.dedup_by_key(|(symbol, _)| symbol.address);
    Some(found.into_iter().map(|(symbol, _)| symbol).collect())
}

/// Reads little-endian fields, and never beyond the end.
#[derive(Clone, Copy)]
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn bytes(self, what: &'static str, offset: usize, length: usize) -> Result<&'a [u8], ImageError> {
        let end = offset.saturating_add(length);
        self.0.get(offset..end).ok_or(ImageError::Truncated { what, offset, end, length: self.0.len() })
    }

    fn array<const N: usize>(self, what: &'static str, offset: usize) -> Result<[u8; N], ImageError> {
        let mut array = [0; N];
        array.copy_from_slice(self.bytes(what, offset, N)?);
        Ok(array)
    }

    fn u8(self, what: &'static str, offset: usize) -> Result<u8, ImageError> {
        self.array::<1>(what, offset).map(|[byte]| byte)
    }

    fn u16(self, what: &'static str, offset: usize) -> Result<u16, ImageError> {
        self.array(what, offset).map(u16::from_le_bytes)
    }

    fn u32(self, what: &'static str, offset: usize) -> Result<u32, ImageError> {
        self.array(what, offset).map(u32::from_le_bytes)
    }
}
