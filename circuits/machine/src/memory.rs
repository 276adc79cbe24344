//! Memory in pages that exist once they are touched.

use crate::{
    abort::Reason,
    image::Image,
    layout::{HEAP_END, HEAP_START, INPUT_END, INPUT_START, INPUT_WORDS_MAX, PROGRAM_END},
    records::{Access, MemoryWord},
};

const PAGE_BITS: u32 = 14;
/// Bytes of a page, the unit in which memory is limited.
pub const PAGE_BYTES: u32 = 1 << PAGE_BITS;
const PAGE_WORDS: usize = (PAGE_BYTES / 4) as usize;
const PAGES_ADDRESSABLE: usize = (INPUT_END >> PAGE_BITS) as usize;
const ABSENT: u32 = u32::MAX;

type Page = [u32; PAGE_WORDS];

/// Memory, with the time of each word's last access when `TIMED`.
pub(crate) struct Memory<'a, const TIMED: bool> {
    image: &'a Image,
    input: &'a [u32],
    /// Which element of `pages` holds an addressable page.
    table: Vec<u32>,
    pages: Vec<Page>,
    /// Timestamps of the words of `pages`; empty unless `TIMED`.
    timestamps: Vec<Page>,
    pages_max: u32,
}

/// Where a word is: its page and its place in there.
type Place = (usize, usize);

impl<'a, const TIMED: bool> Memory<'a, TIMED> {
    pub(crate) fn new(image: &'a Image, input: &'a [u32], pages_max: u32) -> Result<Self, Reason> {
        if input.len() > INPUT_WORDS_MAX {
            return Err(Reason::InputTooLong { words: input.len(), limit: INPUT_WORDS_MAX });
        }
        let table = vec![ABSENT; PAGES_ADDRESSABLE];
        Ok(Self { image, input, table, pages: Vec::new(), timestamps: Vec::new(), pages_max })
    }

    /// Finds the word that holds the byte at `address`.
    #[inline(always)]
    fn place(&mut self, address: u32) -> Result<Place, Reason> {
        let page = match self.table.get((address >> PAGE_BITS) as usize) {
            Some(&page) if page != ABSENT => page,
            _ => self.fault(address)?,
        };
        // The image need not fill its pages, and what it does not hold is no memory.
        if address < PROGRAM_END && !self.image.holds(address) {
            return Err(Reason::OutsideMemory { address });
        }
        Ok((page as usize, (address / 4) as usize % PAGE_WORDS))
    }

    /// Brings a page in, with its initial content.
    #[cold]
    #[inline(never)]
    fn fault(&mut self, address: u32) -> Result<u32, Reason> {
        if !is_memory(self.image, address) {
            return Err(Reason::OutsideMemory { address });
        }
        let index = self.pages.len() as u32;
        if index >= self.pages_max {
            return Err(Reason::MemoryLimit { limit: self.pages_max });
        }
        let mut page = [0; PAGE_WORDS];
        let first = address & !(PAGE_BYTES - 1);
        for (word, address) in page.iter_mut().zip((first..).step_by(4)) {
            *word = self.initial_value(address);
        }
        self.pages.push(page);
        if TIMED {
            self.timestamps.push([0; PAGE_WORDS]);
        }
        self.table[(address >> PAGE_BITS) as usize] = index;
        Ok(index)
    }

    /// What the word at `address` holds before the run.
    fn initial_value(&self, address: u32) -> u32 {
        if address >= INPUT_START {
            self.input.get(((address - INPUT_START) / 4) as usize).copied().unwrap_or(0)
        } else if address < PROGRAM_END {
            self.image.word(address).unwrap_or(0)
        } else {
            0
        }
    }

    /// The word around the byte at `address`, for a run without records.
    #[inline(always)]
    pub(crate) fn read(&mut self, address: u32) -> Result<u32, Reason> {
        let (page, word) = self.place(address)?;
        Ok(self.pages[page][word])
    }

    /// The word around the byte at `address`, to be changed by a run without records.
    #[inline(always)]
    pub(crate) fn word_mut(&mut self, address: u32) -> Result<&mut u32, Reason> {
        let (page, word) = self.place(address)?;
        Ok(&mut self.pages[page][word])
    }

    /// Accesses the word around the byte at `address`: leaves what `change` makes of it.
    #[inline(always)]
    pub(crate) fn access(
        &mut self,
        address: u32,
        timestamp: u32,
        change: impl FnOnce(u32) -> u32,
    ) -> Result<Access, Reason> {
        let (page, word) = self.place(address)?;
        let value = &mut self.pages[page][word];
        let before = *value;
        *value = change(before);
        let previous_timestamp =
            if TIMED { core::mem::replace(&mut self.timestamps[page][word], timestamp) } else { 0 };
        Ok(Access { address: address & !3, before, after: *value, previous_timestamp })
    }

    /// Checks a precompile's range of `words` words.
    pub(crate) fn check_range(&self, address: u32, words: u32) -> Result<(), Reason> {
        if !address.is_multiple_of(4) {
            return Err(Reason::MisalignedAccess { address, alignment: 4 });
        }
        // Precompiles take at most 4,096 words, so this is no loop over memory.
        for index in 0..words {
            match address.checked_add(4 * index) {
                Some(word) if is_memory(self.image, word) => {}
                _ => return Err(Reason::OutsideMemory { address: address.wrapping_add(4 * index) }),
            }
        }
        Ok(())
    }

    /// Every word that was accessed, in order of address.
    pub(crate) fn touched(&self) -> Vec<MemoryWord> {
        let mut touched = Vec::new();
        for (number, &page) in self.table.iter().enumerate().filter(|&(_, &page)| page != ABSENT) {
            let (words, timestamps) = (&self.pages[page as usize], &self.timestamps[page as usize]);
            for (index, (&final_value, &final_timestamp)) in words.iter().zip(timestamps).enumerate() {
                if final_timestamp != 0 {
                    let address = ((number << PAGE_BITS) + 4 * index) as u32;
                    let initial_value = self.initial_value(address);
                    touched.push(MemoryWord { address, initial_value, final_value, final_timestamp });
                }
            }
        }
        touched
    }

    /// How many pages exist.
    pub(crate) fn pages(&self) -> u32 {
        self.pages.len() as u32
    }
}

/// Is the byte at `address` in a region?
fn is_memory(image: &Image, address: u32) -> bool {
    match address {
        0..PROGRAM_END => image.holds(address),
        HEAP_START..HEAP_END | INPUT_START..INPUT_END => true,
        _ => false,
    }
}
