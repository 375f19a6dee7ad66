//! How far several runs of one command were apart.

/// How far several runs were apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spread {
    /// The least that one of them came to.
    pub least: u64,
    /// The most.
    pub most: u64,
    /// Runs.
    pub runs: usize,
}

impl Spread {
    /// Of what each run came to; nothing where none ran.
    #[must_use]
    pub fn of(values: &[u64]) -> Option<Self> {
        Some(Self {
            least: *values.iter().min()?,
            most: *values.iter().max()?,
            runs: values.len(),
        })
    }
}
