//! Text in aligned columns, two spaces between them, for people and for awk.

use std::fmt::{self, Display, Formatter, Write};

use crate::terminal;

/// The side to which a column is aligned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Align {
    Left,
    Right,
}

/// Rows of `COLUMNS` cells. An empty cell is written `-`, so that awk sees the same columns in every row.
#[derive(Debug)]
pub(crate) struct Table<const COLUMNS: usize> {
    alignment: [Align; COLUMNS],
    rows: Vec<[String; COLUMNS]>,
}

impl<const COLUMNS: usize> Table<COLUMNS> {
    /// A table whose first row is its header.
    pub(crate) fn new(header: [(&str, Align); COLUMNS]) -> Self {
        let names = header.map(|(name, _)| name.to_string());
        Table { alignment: header.map(|(_, align)| align), rows: vec![names] }
    }

    /// A table without a header.
    pub(crate) fn headless(alignment: [Align; COLUMNS]) -> Self {
        Table { alignment, rows: Vec::new() }
    }

    pub(crate) fn row(&mut self, cells: [&dyn Display; COLUMNS]) {
        self.rows.push(cells.map(|cell| {
            let text = cell.to_string();
            if text.is_empty() { "-".into() } else { terminal::line(&text) }
        }));
    }
}

impl<const COLUMNS: usize> Display for Table<COLUMNS> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut widths = [0; COLUMNS];
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        for row in &self.rows {
            let mut line = String::new();
            for (column, cell) in row.iter().enumerate() {
                let gap = if column == 0 { "" } else { "  " };
                let width = widths[column];
                match self.alignment[column] {
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
        let mut table =
            Table::new([("NAME", Align::Left), ("COUNT", Align::Right), ("NOTE", Align::Left)]);
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
        let mut table = Table::headless([Align::Left]);
        table.row([&"a\x1b[2Jb\nc"]);
        assert_eq!(table.to_string(), "a?[2Jb?c\n");
    }
}
