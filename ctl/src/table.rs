//! Text in aligned columns, two spaces between them, for people and for awk.

use std::fmt::{self, Display, Formatter, Write};

use crate::terminal;

/// The side to which a column is aligned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Align {
    Left,
    Right,
}

/// A column.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Column {
    name: &'static str,
    align: Align,
}

/// A column of words.
pub(crate) const fn left(name: &'static str) -> Column {
    Column { name, align: Align::Left }
}

/// A column of numbers.
pub(crate) const fn right(name: &'static str) -> Column {
    Column { name, align: Align::Right }
}

/// Rows of `COLUMNS` cells. An empty cell is written `-`, so that awk sees the same columns in every row.
#[derive(Debug)]
pub(crate) struct Table<const COLUMNS: usize> {
    columns: [Column; COLUMNS],
    has_header: bool,
    rows: Vec<[String; COLUMNS]>,
}

impl<const COLUMNS: usize> Table<COLUMNS> {
    /// A table whose first row is its header.
    pub(crate) fn new(columns: [Column; COLUMNS]) -> Self {
        Table { columns, has_header: true, rows: Vec::new() }
    }

    /// A table without a header.
    pub(crate) fn headless(columns: [Column; COLUMNS]) -> Self {
        Table { columns, has_header: false, rows: Vec::new() }
    }

    /// Appends a row.
    pub(crate) fn row(&mut self, cells: [&dyn Display; COLUMNS]) {
        self.rows.push(cells.map(|cell| {
            let text = cell.to_string();
            if text.is_empty() { "-".into() } else { terminal::line(&text) }
        }));
    }
}

impl<const COLUMNS: usize> Display for Table<COLUMNS> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let names = self.columns.map(|column| column.name.to_owned());
        let header = self.has_header.then_some(&names);
        let lines: Vec<&[String; COLUMNS]> = header.into_iter().chain(&self.rows).collect();
        let mut widths = [0; COLUMNS];
        for line in &lines {
            for (width, cell) in widths.iter_mut().zip(*line) {
                *width = (*width).max(cell.chars().count());
            }
        }
        for cells in lines {
            let mut line = String::new();
            for (column, cell) in cells.iter().enumerate() {
                let gap = if column == 0 { "" } else { "  " };
                let width = widths[column];
                match self.columns[column].align {
                    Align::Left => write!(line, "{gap}{cell:<width$}")?,
                    Align::Right => write!(line, "{gap}{cell:>width$}")?,
                }
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_lines_have_no_trailing_spaces() {
        let mut table = Table::new([left("NAME"), right("COUNT"), left("NOTE")]);
        table.row([&"é", &7, &""]);
        table.row([&"longer", &1_234_567, &"two words"]);
        let expected = "\
NAME      COUNT  NOTE
é             7  -
longer  1234567  two words
";
        assert_eq!(table.to_string(), expected);
    }

    #[test]
    fn control_characters_are_replaced() {
        let mut table = Table::headless([left("")]);
        table.row([&"a\x1b[2Jb\nc"]);
        assert_eq!(table.to_string(), "a?[2Jb?c\n");
    }
}
