//! Where a Census lies, how it is laid out, and how to write a synthetic one.

mod frame;
mod generate;
mod locate;
mod obs;
mod open;
mod population;
mod release;
mod terms;
mod vocabulary;

pub use generate::{GenerateError, Spec, generate};
pub use locate::{Location, default_location};
pub use open::{Census, Frame};
pub use population::{Cell, FULL_CELLS, FULL_LUNG_CELLS, Population, URETER_CELLS};
pub use release::{REGION, RELEASE_DIRECTORY, Release, ReleaseError, find as find_release};
pub use vocabulary::{DATASETS, Terms, Vocabulary};

/// The Census version that a synthetic one is modelled on, and the default to open.
pub const DEFAULT_VERSION: &str = "2024-07-01";

/// How the cells of a tissue lie among the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Shape {
    /// Dataset by dataset: a small query reads few tiles.
    #[default]
    Clustered,
    /// Strewn over all tiles: a small query reads much.
    Scattered,
}

/// splitmix64's finalizer: a bijection whose bits look random.
fn mix(seed: u64) -> u64 {
    let mut x = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ x >> 31
}
