//! Whether the machine has huge pages of hugetlbfs to give.
//!
//! Following them costs every page fault a look at the list of mappings: it is left out where
//! nobody set any aside (kernel: Documentation/admin-guide/mm/hugetlbpage.rst).

use std::path::Path;

/// One folder for each size of huge pages.
const SIZES: &str = "/sys/kernel/mm/hugepages";

/// Whether pages of any size are set aside, or may be had on demand.
pub(super) fn is_possible() -> bool {
    let Ok(sizes) = std::fs::read_dir(SIZES) else {
        return false;
    };
    sizes.flatten().any(|size| has_any(&size.path()))
}

fn has_any(size: &Path) -> bool {
    ["nr_hugepages", "nr_overcommit_hugepages"]
        .iter()
        .filter_map(|name| std::fs::read_to_string(size.join(name)).ok())
        .any(|count| count.trim() != "0")
}
