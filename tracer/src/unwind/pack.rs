//! A table as the BPF programs read it.

use super::table::{Row, Table};
use std::ops::Range;
use tracer_ebpf::tables::{
    CHUNK_WORDS, Chunk, FileTable, NO_RULE, PAGE_SHIFT, PAGES_PER_CHUNK, Page, row,
};

/// A table in chunks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packed {
    /// Its chunks: first those of the index, then those of the rows.
    pub chunks: Vec<Chunk>,
    /// Pages in the index.
    pub pages: u32,
    /// File offset of the first page.
    pub offset: u64,
}

impl Packed {
    /// The file offsets that it speaks of.
    #[must_use]
    pub fn code(&self) -> Range<u64> {
        self.offset..self.offset + (u64::from(self.pages) << PAGE_SHIFT)
    }

    /// What it takes in the kernel.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        size_of_val(self.chunks.as_slice()) as u64
    }

    /// The entry of the map `FILES`, once the table has a number.
    #[must_use]
    pub fn entry(&self, table: u32) -> FileTable {
        FileTable {
            table,
            pages: self.pages,
            offset: self.offset,
        }
    }
}

/// Lays out a table, with its rules renumbered by `numbers`; `None` where it has
/// no rows.
#[must_use]
pub fn pack(table: &Table, numbers: &[u32]) -> Option<Packed> {
    let covered = table.rows.iter().position(|row| row.rule != NO_RULE)?;
    let rows = &table.rows[covered..];
    let first_page = rows.first()?.offset >> PAGE_SHIFT;
    let pages = (rows.last()?.offset.saturating_sub(1) >> PAGE_SHIFT) - first_page + 1;
    let mut packer = Packer {
        numbers,
        index: Vec::with_capacity(pages as usize),
        chunks: Vec::with_capacity(rows.len() / CHUNK_WORDS + 2),
        used: CHUNK_WORDS,
        index_chunks: pages.div_ceil(PAGES_PER_CHUNK),
    };
    let mut rest = rows;
    let mut in_force = NO_RULE;
    for page in first_page..first_page + pages {
        let here = rest.partition_point(|row| row.offset >> PAGE_SHIFT <= page);
        packer.add_page(page, &rest[..here], in_force);
        in_force = rest[..here].last().map_or(in_force, |row| row.rule);
        rest = &rest[here..];
    }
    Some(packer.finish(first_page, pages))
}

struct Packer<'a> {
    numbers: &'a [u32],
    index: Vec<Page>,
    chunks: Vec<Chunk>,
    /// Words taken in the last chunk.
    used: usize,
    index_chunks: u32,
}

impl Packer<'_> {
    /// Adds a page's rows, preceded by the one in force at its start.
    fn add_page(&mut self, page: u32, rows: &[Row], in_force: u32) {
        let repeated = rows.first().is_none_or(|row| row.offset & PAGE_MASK != 0);
        let first = repeated.then_some(Row {
            offset: page << PAGE_SHIFT,
            rule: in_force,
        });
        // Where nothing changes for pages on end, they share a row.
        let shared = self.index.last().copied();
        if let Some(shared) = shared.filter(|page| rows.is_empty() && page.count == 1) {
            self.index.push(shared);
            return;
        }
        let count = rows.len() + usize::from(repeated);
        if CHUNK_WORDS - self.used < count {
            self.chunks.push([0; CHUNK_WORDS]);
            self.used = 0;
        }
        self.index.push(Page {
            chunk: self.index_chunks + self.chunks.len() as u32 - 1,
            first: self.used as u16,
            count: count as u16,
        });
        if let Some(chunk) = self.chunks.last_mut() {
            let words = first.iter().chain(rows);
            for (word, from) in chunk[self.used..].iter_mut().zip(words) {
                let rule = self
                    .numbers
                    .get(from.rule as usize)
                    .copied()
                    .unwrap_or(NO_RULE);
                *word = row(from.offset, rule);
            }
        }
        self.used += count;
    }

    fn finish(self, first_page: u32, pages: u32) -> Packed {
        let mut chunks: Vec<Chunk> = self
            .index
            .chunks(PAGES_PER_CHUNK as usize)
            .map(|pages| {
                let mut chunk = [0; CHUNK_WORDS];
                for (words, page) in chunk.chunks_exact_mut(2).zip(pages) {
                    words.copy_from_slice(&page.words());
                }
                chunk
            })
            .collect();
        chunks.extend(self.chunks);
        Packed {
            chunks,
            pages,
            offset: u64::from(first_page) << PAGE_SHIFT,
        }
    }
}

const PAGE_MASK: u32 = (1 << PAGE_SHIFT) - 1;
