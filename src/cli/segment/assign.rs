//! `serin segment assign`: which segment is each row of a table in?

use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::Context;
use clap::Args;

use crate::cli::Done;
use crate::cli::exit::Exit;
use crate::cli::segment::{about, read};
use crate::domain::segment::csv::{CsvReader, quoted};
use crate::domain::segment::{Columns, FeatureTable, SegmentModel};

/// What the new column is called.
const COLUMN: &str = "segment";

#[derive(Args)]
pub(crate) struct Assign {
    /// The model, as `serin segment train` writes it.
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    /// The table: comma-separated values with a header, the model's features among the columns; `-` reads
    /// standard input. It is printed with a further column, `segment`.
    #[arg(value_name = "FILE.csv")]
    table: PathBuf,
}

impl Assign {
    pub(crate) fn run(self) -> Done {
        let model = SegmentModel::parse(&read(&self.model)?);
        let model = model.map_err(|error| about(&self.model, error))?;
        let text = read(&self.table)?;
        let features = model.feature_names();
        let columns = Columns {
            features: Some(&features),
            ..Columns::default()
        };
        let table = FeatureTable::read(&text, &columns);
        let table = table.map_err(|error| about(&self.table, error))?;
        let mut reader = CsvReader::new(&text);
        let mut fields = Vec::new();
        let mut out = io::BufWriter::new(io::stdout().lock());
        let mut row = None;
        while reader.next_record(&mut fields)?.is_some() {
            if row.is_none() && fields.iter().any(|name| name.trim() == COLUMN) {
                let problem = format!("there is a column `{COLUMN}` already");
                return Err(about(&self.table, problem));
            }
            let name = |row| {
                let segment = model.segment(table.row(row));
                segment.map_or("", |segment| model.name(segment))
            };
            let segment = row.map_or(COLUMN, name);
            let fields = fields.iter().map(|field| quoted(field));
            let fields: Vec<_> = fields.chain([quoted(segment)]).collect();
            writeln!(out, "{}", fields.join(",")).context("cannot print")?;
            row = Some(row.map_or(0, |row| row + 1));
        }
        out.flush().context("cannot print")?;
        Ok(Exit::Done)
    }
}
