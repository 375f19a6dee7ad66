use super::terms::{
    ASSAYS, CELL_TYPES, DISEASES, ETHNICITIES, SEXES, SUSPENSIONS, TISSUE_PARTS, TISSUE_TYPES,
    TISSUES, Term,
};

/// Values of two parallel dictionary columns: labels, and ontology terms.
#[derive(Debug, Clone, Default)]
pub struct Terms {
    /// What people read.
    pub labels: Vec<String>,
    /// What the ontologies call it.
    pub ids: Vec<String>,
}

/// The dictionaries of `obs`. The numbers of values are those of the Census of 2024-07-01, except
/// that of donors, which is 22 for each dataset there and here.
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "the fields are the columns of obs")]
pub struct Vocabulary {
    pub assay: Terms,
    pub cell_type: Terms,
    pub development_stage: Terms,
    pub disease: Terms,
    pub ethnicity: Terms,
    pub sex: Terms,
    pub tissue: Terms,
    pub tissue_general: Terms,
    pub datasets: Vec<String>,
    pub donors: Vec<String>,
    pub suspensions: Vec<String>,
    pub tissue_types: Vec<String>,
}

/// Datasets in the Census of 2024-07-01.
pub const DATASETS: usize = 812;
/// Donors of each dataset.
pub(super) const DONORS_PER_DATASET: usize = 22;
/// Values of `cell_type`.
const CELL_TYPE_COUNT: usize = 698;
/// Values of `disease`.
const DISEASE_COUNT: usize = 107;
/// Values of `self_reported_ethnicity`.
const ETHNICITY_COUNT: usize = 29;

impl Vocabulary {
    /// Makes the dictionaries; `seed` decides the datasets' ids.
    pub fn new(seed: u64) -> Self {
        Self {
            assay: terms(ASSAYS),
            cell_type: filled(CELL_TYPES, CELL_TYPE_COUNT, "CL", "subtype"),
            development_stage: stages(),
            disease: filled(DISEASES, DISEASE_COUNT, "MONDO", "variant"),
            ethnicity: filled(ETHNICITIES, ETHNICITY_COUNT, "HANCESTRO", "group"),
            sex: terms(SEXES),
            tissue: tissues(),
            tissue_general: TISSUES.iter().map(|(label, id, _)| (*label, *id)).collect(),
            datasets: (0..DATASETS)
                .map(|index| dataset_id(seed, index as u64))
                .collect(),
            donors: donors(),
            suspensions: owned(SUSPENSIONS),
            tissue_types: owned(TISSUE_TYPES),
        }
    }
}

impl Terms {
    pub(super) fn len(&self) -> usize {
        self.labels.len()
    }

    fn push(&mut self, label: impl Into<String>, id: impl Into<String>) {
        self.labels.push(label.into());
        self.ids.push(id.into());
    }
}

impl<L: Into<String>, I: Into<String>> FromIterator<(L, I)> for Terms {
    fn from_iter<T: IntoIterator<Item = (L, I)>>(pairs: T) -> Self {
        let mut terms = Self::default();
        pairs
            .into_iter()
            .for_each(|(label, id)| terms.push(label, id));
        terms
    }
}

fn terms(list: &[Term]) -> Terms {
    list.iter().copied().collect()
}

fn owned(list: &[&str]) -> Vec<String> {
    list.iter().map(|text| (*text).to_owned()).collect()
}

/// The real terms, and made-up ones of the same kind up to `count`.
fn filled(list: &[Term], count: usize, prefix: &str, kind: &str) -> Terms {
    let mut all = terms(list);
    for index in all.len()..count {
        let (base, _) = list[index % list.len()];
        all.push(
            format!("{base}, {kind} {}", index / list.len()),
            format!("{prefix}:{}", 9_000_000 + index),
        );
    }
    all
}

/// `TISSUE_PARTS.len()` tissues for each general one, in the same order.
fn tissues() -> Terms {
    let mut all = Terms::default();
    for (index, (label, id, _)) in TISSUES.iter().enumerate() {
        for (part, prefix) in TISSUE_PARTS.iter().enumerate() {
            let made_up = format!("UBERON:{}", 9_000_000 + index * TISSUE_PARTS.len() + part);
            all.push(
                format!("{prefix}{label}"),
                if part == 0 { (*id).to_owned() } else { made_up },
            );
        }
    }
    all
}

/// Weeks after fertilization, months, years, and the stages without a number: 176 in all.
fn stages() -> Terms {
    let weeks = (4..=38).map(|n| format!("{n}th week post-fertilization stage"));
    let months = (1..=24).map(|n| format!("{n}-month-old stage"));
    let years = (1..=105).map(|n| format!("{n}-year-old stage"));
    let named = [
        "unknown",
        "adult stage",
        "human adult stage",
        "human middle aged stage",
        "infant stage",
        "adolescent stage",
        "child stage",
        "newborn stage",
        "fetal stage",
        "embryonic stage",
        "human aged stage",
        "immature stage",
    ];
    let named = named.iter().map(|name| (*name).to_owned());
    let all = named.chain(years).chain(months).chain(weeks);
    all.enumerate()
        .map(|(n, label)| (label, format!("HsapDv:{:07}", n)))
        .collect()
}

fn donors() -> Vec<String> {
    (0..DATASETS)
        .flat_map(|dataset| (0..DONORS_PER_DATASET).map(move |n| format!("D{dataset:03}-{n:02}")))
        .collect()
}

/// A UUID (version 4 in form), as datasets have.
fn dataset_id(seed: u64, index: u64) -> String {
    let (high, low) = (super::mix(seed ^ index), super::mix(!seed ^ index));
    format!(
        "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
        high >> 32,
        high >> 16 & 0xffff,
        high & 0xfff,
        low >> 48 & 0x3fff | 0x8000,
        low & 0xffff_ffff_ffff
    )
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn dictionaries_have_no_duplicates_and_fit_their_codes() {
        let v = Vocabulary::new(1);
        let narrow = i8::MAX as usize + 1;
        let wide = i16::MAX as usize + 1;
        for (terms, limit) in [
            (&v.assay, narrow),
            (&v.cell_type, wide),
            (&v.development_stage, wide),
            (&v.disease, narrow),
            (&v.ethnicity, narrow),
            (&v.sex, narrow),
            (&v.tissue, wide),
            (&v.tissue_general, narrow),
        ] {
            assert!(terms.len() <= limit && terms.ids.len() == terms.len());
            assert_eq!(
                terms.labels.iter().collect::<HashSet<_>>().len(),
                terms.len()
            );
            assert_eq!(terms.ids.iter().collect::<HashSet<_>>().len(), terms.len());
        }
        for (values, limit) in [(&v.datasets, wide), (&v.donors, wide)] {
            assert!(values.len() <= limit);
            assert_eq!(values.iter().collect::<HashSet<_>>().len(), values.len());
        }
        assert_eq!(v.development_stage.len(), 176);
    }
}
