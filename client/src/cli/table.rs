//! Tables for people: aligned columns, two spaces between them, nothing that a terminal would obey.

use std::fmt;

use super::text::safe;

/// Rows under headings; an empty cell shows as `-`.
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these headings.
    pub fn new<const N: usize>(headings: [&str; N]) -> Self {
        Self { rows: vec![headings.map(str::to_owned).to_vec()] }
    }

    /// Adds a row.
    pub fn row<const N: usize>(&mut self, cells: [&str; N]) {
        debug_assert_eq!(N, self.rows[0].len(), "a row has a cell for each heading");
        self.rows.push(cells.map(|cell| if cell.is_empty() { "-".to_owned() } else { safe(cell) }).to_vec());
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.rows[0].len();
        let width =
            |column: usize| self.rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for row in &self.rows {
            let line: Vec<String> =
                row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
            writeln!(f, "{}", line.join("  ").trim_end())?;
        }
        Ok(())
    }
}

/// One thing in detail: names and values, a line each; an empty value leaves its line out.
#[derive(Default)]
pub struct Sheet {
    lines: Vec<(&'static str, String)>,
}

impl Sheet {
    /// Adds a line.
    pub fn line(&mut self, name: &'static str, value: impl AsRef<str>) {
        if !value.as_ref().is_empty() {
            self.lines.push((name, safe(value.as_ref())));
        }
    }
}

impl fmt::Display for Sheet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.lines.iter().map(|(name, _)| name.len() + 1).max().unwrap_or(0);
        for (name, value) in &self.lines {
            writeln!(f, "{:<width$}  {value}", format!("{name}:"))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_cells_escaped() {
        let mut table = Table::new(["NAME", "STATE", "NOTE"]);
        table.row(["a", "online", "one\nline"]);
        table.row(["longer", "", ""]);
        assert_eq!(
            table.to_string(),
            "NAME    STATE   NOTE\na       online  one\\nline\nlonger  -       -\n"
        );
    }

    #[test]
    fn a_sheet_leaves_out_what_is_empty() {
        let mut sheet = Sheet::default();
        sheet.line("run", "1");
        sheet.line("worker", "");
        sheet.line("state", "done");
        assert_eq!(sheet.to_string(), "run:    1\nstate:  done\n");
    }
}
