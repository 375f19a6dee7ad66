//! Where functions begin, of files without symbols: by their unwind information.

use crate::files::Elf;
use gimli::{BaseAddresses, EhFrame, EhFrameHdr, EndianSlice, LittleEndian, UnwindSection};

type Bytes<'a> = EndianSlice<'a, LittleEndian>;

/// The unwind information of a file, and the index into it.
#[derive(Debug)]
pub(super) struct Functions {
    index: Vec<u8>,
    frames: Vec<u8>,
    bases: BaseAddresses,
}

impl Functions {
    /// Reads it; nothing where the file has no index of it.
    pub(super) fn read(elf: &Elf) -> Option<Self> {
        let (index, frames) = (elf.section(".eh_frame_hdr")?, elf.section(".eh_frame")?);
        let address = |name| elf.section(name).map_or(0, |section| section.address);
        Some(Self {
            bases: BaseAddresses::default()
                .set_eh_frame_hdr(index.address)
                .set_eh_frame(frames.address)
                .set_text(address(".text"))
                .set_got(address(".got")),
            index: elf.data(index)?.into_owned(),
            frames: elf.data(frames)?.into_owned(),
        })
    }

    /// Where the function of an address begins.
    pub(super) fn start(&self, address: u64) -> Option<u64> {
        let index: EhFrameHdr<Bytes<'_>> = EhFrameHdr::new(&self.index, LittleEndian);
        let index = index.parse(&self.bases, 8).ok()?;
        let frames: EhFrame<Bytes<'_>> = EhFrame::new(&self.frames, LittleEndian);
        let found =
            index
                .table()?
                .fde_for_address(&frames, &self.bases, address, EhFrame::cie_from_offset);
        Some(found.ok()?.initial_address())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::Source;
    use std::fs::File;

    /// A function of its own, so that there is one to find.
    #[inline(never)]
    fn found() -> u64 {
        found as *const () as u64
    }

    #[test]
    fn addresses_of_a_function_lead_to_its_beginning() {
        let file = File::open("/proc/self/exe").expect("a program");
        let elf = Elf::parse(Source::of(file).expect("its size")).expect("ELF");
        let functions = Functions::read(&elf).expect("an index");
        // Where the program is loaded: the difference is the same for all of it.
        let maps = std::fs::read_to_string("/proc/self/maps").expect("maps");
        let own = std::env::current_exe().expect("a path");
        let own = own.to_str().expect("UTF-8");
        let line = maps
            .lines()
            .find(|line| line.ends_with(own))
            .expect("mapped");
        let base = line.split('-').next().expect("a range");
        let base = u64::from_str_radix(base, 16).expect("a number");
        let function = found() - base;
        assert_eq!(functions.start(function), Some(function));
        assert_eq!(functions.start(function + 1), Some(function));
        assert_eq!(functions.start(u64::MAX), None);
    }
}
