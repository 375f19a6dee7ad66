//! Loads the uprobe programs, by bpf(2) directly: they need an attach type that aya 0.14 can't
//! give them.

use super::load::{LoadError, OBJECT, missing, object_error};
use crate::probes::bpf::{self, ProgramToLoad};
use crate::probes::table::Program;
use aya::Ebpf;
use aya_obj::Object;
use aya_obj::generated::bpf_prog_type;
use std::collections::{BTreeMap, HashSet};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// The uprobe programs, on the maps that aya made.
pub(super) struct Uprobes {
    object: Object,
    types: OwnedFd,
    attach_type: u32,
}

impl Uprobes {
    /// `attach_type` is the one that the mechanism asks for.
    ///
    /// # Errors
    /// [`LoadError::Object`] where this kernel has no use for it.
    pub(super) fn new(ebpf: &Ebpf, attach_type: u32) -> Result<Self, LoadError> {
        let mut object = Object::parse(OBJECT).map_err(object_error)?;
        let definitions = std::mem::take(&mut object.maps);
        let maps = definitions.iter().filter_map(|(name, definition)| {
            let fd = map_fd(ebpf.map(name)?)?;
            Some((name.as_str(), fd.as_raw_fd(), definition))
        });
        let sections: HashSet<usize> = object
            .functions
            .keys()
            .map(|&(section, _)| section)
            .collect();
        object
            .relocate_maps(maps, &sections)
            .map_err(object_error)?;
        object.relocate_calls(&sections).map_err(object_error)?;
        let types = load_types(&mut object)?;
        Ok(Self {
            object,
            types,
            attach_type,
        })
    }

    /// Loads all of them; what the kernel takes a while to verify.
    ///
    /// # Errors
    /// [`LoadError::Refused`]
    pub(super) fn load(&self) -> Result<BTreeMap<Program, OwnedFd>, LoadError> {
        Program::ALL
            .into_iter()
            .map(|program| {
                let types = self.types.as_fd();
                let loaded = load_uprobe(&self.object, types, program.name(), self.attach_type)?;
                Ok((program, loaded))
            })
            .collect()
    }
}

/// Loads the object's own types, as far as this kernel understands them.
fn load_types(object: &mut Object) -> Result<OwnedFd, LoadError> {
    let none = || LoadError::Object("it or this kernel has no BTF".into());
    let features = aya::features().btf().ok_or_else(none)?;
    let btf = object
        .fixup_and_sanitize_btf(features)
        .map_err(object_error)?;
    let bytes = btf.ok_or_else(none)?.to_bytes();
    bpf::load_types(&bytes).map_err(object_error)
}

fn load_uprobe(
    object: &Object,
    types: BorrowedFd<'_>,
    name: &'static str,
    attach_type: u32,
) -> Result<OwnedFd, LoadError> {
    let program = object.programs.get(name).ok_or_else(|| missing(name))?;
    let function = object.functions.get(&program.function_key());
    let function = function.ok_or_else(|| missing(name))?;
    bpf::load(&ProgramToLoad {
        name,
        kind: bpf_prog_type::BPF_PROG_TYPE_KPROBE as u32,
        attach_type,
        license: &object.license,
        code: &function.instructions,
        types,
        functions: &function.func_info.func_info,
    })
    .map_err(|refused| LoadError::Refused {
        name,
        error: refused.error,
        log: refused.log,
    })
}

/// The descriptor of a map of one of the kinds that the object has.
fn map_fd(map: &aya::maps::Map) -> Option<BorrowedFd<'_>> {
    use aya::maps::Map;
    match map {
        Map::Array(data)
        | Map::ArrayOfMaps(data)
        | Map::HashMap(data)
        | Map::LruHashMap(data)
        | Map::PerCpuArray(data)
        | Map::StackTraceMap(data)
        | Map::RingBuf(data) => Some(data.fd().as_fd()),
        _ => None,
    }
}
