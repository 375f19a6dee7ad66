use arrow::array::AsArray;

use crate::soma::{Collection, DataFrame, Error, ReadOptions, Result};
use crate::tiledb::Context;

/// An open Census, and one organism's experiment in it.
pub struct Census {
    root: Collection,
    experiment: Collection,
}

/// The dataframes that can be fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frame {
    /// Cells.
    Obs,
    /// Genes, of the measurement `RNA`.
    Var,
}

impl Frame {
    /// Its name, in files and in output.
    pub fn name(self) -> &'static str {
        match self {
            Self::Obs => "obs",
            Self::Var => "var",
        }
    }
}

impl Census {
    /// Opens the Census at `uri`, and in it `census_data/<organism>`.
    pub fn open(ctx: &Context, uri: &str, organism: &str) -> Result<Self> {
        let root = Collection::open(ctx, uri)?;
        let experiment = root.collection("census_data")?.collection(organism)?;
        Ok(Self { root, experiment })
    }

    /// Opens a dataframe of the experiment.
    pub fn frame(&self, frame: Frame) -> Result<DataFrame> {
        match frame {
            Frame::Obs => self.experiment.dataframe("obs"),
            Frame::Var => self
                .experiment
                .collection("ms")?
                .collection("RNA")?
                .dataframe("var"),
        }
    }

    /// `census_info/summary`: labels and values, in its order. Read beside the fetch, through small
    /// buffers.
    pub fn summary(&self) -> Result<Vec<(String, String)>> {
        const BUFFER_BYTES: usize = 1 << 20;
        let frame = self.root.collection("census_info")?.dataframe("summary")?;
        let columns = ["label", "value"].map(String::from);
        let options = ReadOptions {
            columns: Some(&columns),
            filter: None,
            buffer_bytes: BUFFER_BYTES,
            is_aside: true,
        };
        let table = frame
            .read(&options)?
            .table()?
            .materialize()
            .map_err(Error::Arrow)?;
        let text = |index: usize| -> Vec<String> {
            let column = table.column(index).as_string_opt::<i64>();
            let values = column.into_iter().flatten();
            values
                .map(|value| value.unwrap_or_default().to_owned())
                .collect()
        };
        Ok(text(0).into_iter().zip(text(1)).collect())
    }
}
