use super::terms::{TISSUE_PARTS, TISSUES};
use super::vocabulary::{DATASETS, DONORS_PER_DATASET, Vocabulary};
use super::{Shape, mix};

/// Human cells in the Census of 2024-07-01.
pub const FULL_CELLS: u64 = 74_322_510;
/// Those of them with `tissue_general == "lung"`.
pub const FULL_LUNG_CELLS: u64 = 3_677_225;
/// Those of them with `tissue_general == "ureter"`; a synthetic Census of any size has as many.
pub const URETER_CELLS: u64 = 2_390;

/// All cells of a synthetic Census: a function from the cell's number to the cell.
#[derive(Debug, Clone)]
pub struct Population {
    seed: u64,
    cells: u64,
    shape: Shape,
    /// Multiplier of the permutation that strews the cells of a scattered Census.
    stride: u64,
    /// Runs of cells of one dataset, in ascending order, none empty.
    runs: Vec<Run>,
}

/// The cells of one dataset, all of one general tissue.
#[derive(Debug, Clone, Copy)]
struct Run {
    start: u64,
    cells: u64,
    dataset: usize,
    tissue: usize,
}

/// One cell: codes into the [`Vocabulary`], and numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
#[allow(missing_docs, reason = "the fields are the columns of obs")]
pub struct Cell {
    pub dataset_id: i16,
    pub assay: i8,
    pub cell_type: i16,
    pub development_stage: i16,
    pub disease: i8,
    pub donor_id: i16,
    pub is_primary_data: bool,
    pub observation_joinid: [u8; 10],
    pub self_reported_ethnicity: i8,
    pub sex: i8,
    pub suspension_type: i8,
    pub tissue: i16,
    pub tissue_type: i8,
    pub tissue_general: i8,
    pub raw_sum: f64,
    pub nnz: i64,
    pub raw_mean_nnz: f64,
    pub raw_variance_nnz: f64,
    pub n_measured_vars: i64,
}

impl Population {
    /// Plans `cells` cells; the same plan for the same arguments.
    pub fn new(cells: u64, shape: Shape, seed: u64) -> Self {
        let mut order: Vec<(usize, usize, u64)> = Vec::with_capacity(DATASETS);
        for (tissue, (count, datasets)) in shares(cells).into_iter().enumerate() {
            for cells in split(count, datasets, seed ^ tissue as u64) {
                order.push((order.len(), tissue, cells));
            }
        }
        order.sort_by_key(|(dataset, ..)| mix(seed.rotate_left(17) ^ *dataset as u64));
        let mut start = 0;
        let mut runs = Vec::with_capacity(order.len());
        for (dataset, tissue, cells) in order {
            if cells > 0 {
                runs.push(Run {
                    start,
                    cells,
                    dataset,
                    tissue,
                });
            }
            start += cells;
        }
        Self {
            seed,
            cells,
            shape,
            stride: coprime_stride(cells),
            runs,
        }
    }

    /// The number of cells.
    pub fn len(&self) -> u64 {
        self.cells
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.cells == 0
    }

    /// The cells of each dataset, by its code.
    pub(super) fn dataset_cells(&self) -> Vec<u64> {
        let mut cells = vec![0; DATASETS];
        self.runs
            .iter()
            .for_each(|run| cells[run.dataset] = run.cells);
        cells
    }

    /// The cell with this `soma_joinid`.
    pub fn cell(&self, joinid: u64, vocabulary: &Vocabulary) -> Cell {
        let place = match self.shape {
            Shape::Clustered => joinid,
            Shape::Scattered => {
                (u128::from(joinid) * u128::from(self.stride) % u128::from(self.cells)) as u64
            }
        };
        let run = self.runs[self.runs.partition_point(|run| run.start <= place) - 1];
        self.describe(joinid, place, &run, vocabulary)
    }

    fn describe(&self, joinid: u64, place: u64, run: &Run, v: &Vocabulary) -> Cell {
        let of_dataset = mix(self.seed ^ (run.dataset as u64) << 32);
        // A dataset's donors follow each other.
        let donor = ((place - run.start) * DONORS_PER_DATASET as u64 / run.cells) as usize
            + run.dataset * DONORS_PER_DATASET;
        let of_donor = mix(of_dataset ^ donor as u64);
        let of_cell = mix(self
            .seed
            .wrapping_add(joinid.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
        let more = mix(of_cell);
        let pick =
            |hash: u64, shift: u32, count: usize| ((hash >> shift & 0xffff) as usize * count) >> 16;
        // Some 40 cell types a dataset, the first of them the most frequent.
        let rank = pick(of_cell, 0, 40) * pick(of_cell, 16, 40) / 40;
        let nnz = 300 + skewed(of_cell >> 32, 9_000);
        let raw_sum = (nnz as f64 * (1.2 + (more & 0xffff) as f64 / 16_384.0)).round();
        let raw_mean_nnz = raw_sum / nnz as f64;
        let part = pick(of_cell, 24, TISSUE_PARTS.len() * 2).saturating_sub(TISSUE_PARTS.len());
        Cell {
            dataset_id: run.dataset as i16,
            assay: skewed(of_dataset, v.assay.len() as u64) as i8,
            cell_type: ((of_dataset as usize % v.cell_type.len() + rank * 7) % v.cell_type.len())
                as i16,
            development_stage: pick(of_donor, 0, v.development_stage.len()) as i16,
            disease: skewed(of_donor >> 8, v.disease.len() as u64) as i8,
            donor_id: donor as i16,
            is_primary_data: pick(of_dataset, 16, 10) < 6,
            observation_joinid: base85(mix(more)),
            self_reported_ethnicity: skewed(of_donor >> 24, v.ethnicity.len() as u64) as i8,
            sex: (pick(of_donor, 32, 21) / 10) as i8,
            suspension_type: pick(of_dataset, 40, 2) as i8,
            tissue: (run.tissue * TISSUE_PARTS.len() + part) as i16,
            tissue_type: (pick(of_dataset, 8, 50) / 49) as i8,
            tissue_general: run.tissue as i8,
            raw_sum,
            nnz: nnz as i64,
            raw_mean_nnz,
            raw_variance_nnz: raw_mean_nnz * (1.0 + (more >> 16) as f64 / 2e13),
            n_measured_vars: 17_000 + skewed(of_dataset >> 20, 30_000) as i64,
        }
    }
}

/// The cells and the number of datasets of each general tissue.
fn shares(cells: u64) -> Vec<(u64, usize)> {
    let ureter = URETER_CELLS.min(cells / 4);
    let lung = (u128::from(cells) * u128::from(FULL_LUNG_CELLS) / u128::from(FULL_CELLS)) as u64;
    let rest = cells - ureter - lung;
    let total: u64 = TISSUES.iter().map(|(.., weight)| u64::from(*weight)).sum();
    let exact = |label: &str| match label {
        "ureter" => Some((ureter, 1)),
        "lung" => Some((lung, 52)),
        _ => None,
    };
    let mut shares: Vec<_> = TISSUES
        .iter()
        .map(|(label, _, weight)| {
            let weight = u64::from(*weight);
            let datasets = 1 + (weight * 700 / total) as usize;
            exact(label).unwrap_or((
                (u128::from(rest) * u128::from(weight) / u128::from(total)) as u64,
                datasets,
            ))
        })
        .collect();
    // What rounding has left over goes to the first and largest.
    shares[0].0 += cells - shares.iter().map(|(count, _)| count).sum::<u64>();
    shares[0].1 += DATASETS - shares.iter().map(|(_, datasets)| datasets).sum::<usize>();
    shares
}

/// Splits cells into datasets of sizes between half and one and a half times the average.
fn split(count: u64, datasets: usize, seed: u64) -> Vec<u64> {
    let weights: Vec<u128> = (0..datasets as u64)
        .map(|n| 32_768 + u128::from(mix(seed ^ n << 20) & 0xffff))
        .collect();
    let total: u128 = weights.iter().sum();
    let mut before = 0;
    let mut taken = 0;
    weights
        .iter()
        .map(|weight| {
            before += weight;
            let until = (u128::from(count) * before / total) as u64;
            until - std::mem::replace(&mut taken, until)
        })
        .collect()
}

/// A number below `count`, small ones more often: the cube of a uniform one.
fn skewed(hash: u64, count: u64) -> u64 {
    let x = hash & 0xffff;
    (x * x * x / (1 << 16) * count) >> 32
}

/// A stride near the golden section of `cells` that visits every cell once.
fn coprime_stride(cells: u64) -> u64 {
    let gcd = |mut a: u64, mut b: u64| {
        while b != 0 {
            (a, b) = (b, a % b);
        }
        a
    };
    let start = (cells as f64 * 0.618_033_988_75) as u64 | 1;
    (start..)
        .find(|stride| gcd(*stride, cells.max(1)) == 1)
        .unwrap_or(1)
}

/// RFC 1924's alphabet, as Python's `base64.b85encode`: 8 bytes become 10 characters.
fn base85(bits: u64) -> [u8; 10] {
    const ALPHABET: &[u8; 85] =
        b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;<=>?@^_`{|}~";
    let mut text = [0; 10];
    for (half, word) in text.chunks_mut(5).zip([(bits >> 32) as u32, bits as u32]) {
        let mut rest = word;
        for digit in half.iter_mut().rev() {
            *digit = ALPHABET[(rest % 85) as usize];
            rest /= 85;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(population: &Population, tissue: &str) -> u64 {
        let vocabulary = Vocabulary::new(1);
        let code = TISSUES.iter().position(|(label, ..)| *label == tissue);
        let is_it =
            |cell: &u64| Some(population.cell(*cell, &vocabulary).tissue_general as usize) == code;
        (0..population.len()).filter(is_it).count() as u64
    }

    #[test]
    fn ureter_and_lung_are_exact_in_both_shapes() {
        for shape in [Shape::Clustered, Shape::Scattered] {
            let population = Population::new(100_000, shape, 7);
            assert_eq!(count(&population, "ureter"), 2_390);
            assert_eq!(
                count(&population, "lung"),
                100_000 * FULL_LUNG_CELLS / FULL_CELLS
            );
        }
        let full = shares(FULL_CELLS);
        let by_label = |tissue: &str| {
            TISSUES
                .iter()
                .zip(&full)
                .find(|((label, ..), _)| *label == tissue)
                .map(|(_, s)| s.0)
        };
        assert_eq!(by_label("lung"), Some(3_677_225));
        assert_eq!(by_label("ureter"), Some(2_390));
    }

    #[test]
    fn every_cell_belongs_to_a_dataset_of_any_size_of_census() {
        for cells in [0, 1, 3, 10, 9_999, 123_457, FULL_CELLS] {
            let population = Population::new(cells, Shape::Scattered, 3);
            assert_eq!(
                population.runs.iter().map(|run| run.cells).sum::<u64>(),
                cells
            );
            assert_eq!(
                shares(cells).iter().map(|share| share.1).sum::<usize>(),
                DATASETS
            );
            assert!(
                population
                    .runs
                    .windows(2)
                    .all(|w| w[0].start + w[0].cells == w[1].start)
            );
        }
    }

    #[test]
    fn scattering_is_a_permutation() {
        let cells = 10_007;
        let stride = coprime_stride(cells);
        let mut seen = vec![false; cells as usize];
        (0..cells).for_each(|n| seen[(n * stride % cells) as usize] = true);
        assert!(seen.into_iter().all(|seen| seen));
    }

    #[test]
    fn base85_is_pythons() {
        // python3 -c 'import base64; print(base64.b85encode(bytes.fromhex("0123456789abcdef")))'
        assert_eq!(&base85(0x0123_4567_89ab_cdef), b"0V73ciL1@;");
    }
}
