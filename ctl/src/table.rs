//! Text in aligned columns, two spaces between them, for people and for awk.

use std::fmt::{Display, Write};

use crate::terminal::{self, Tint};

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
    rows: Vec<[Cell; COLUMNS]>,
}

#[derive(Debug)]
struct Cell {
    text: String,
    tint: Tint,
}

impl Cell {
    fn new(text: &str, tint: Tint) -> Cell {
        let text = if text.is_empty() { "-".into() } else { terminal::line(text) };
        Cell { text, tint }
    }
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
        self.rows.push(cells.map(|cell| Cell::new(&cell.to_string(), Tint::Plain)));
    }

    /// Tints the cell of the last row in the column of this name.
    pub(crate) fn tint(&mut self, column: &str, tint: Tint) {
        let column = self.columns.iter().position(|known| known.name == column);
        if let (Some(column), Some(row)) = (column, self.rows.last_mut()) {
            row[column].tint = tint;
        }
    }

    /// The table as text.
    pub(crate) fn text(&self, has_colour: bool) -> String {
        let names = self.columns.map(|column| Cell::new(column.name, Tint::Header));
        let header = self.has_header.then_some(&names);
        let lines: Vec<&[Cell; COLUMNS]> = header.into_iter().chain(&self.rows).collect();
        let mut widths = [0; COLUMNS];
        for line in &lines {
            for (width, cell) in widths.iter_mut().zip(*line) {
                *width = (*width).max(cell.text.chars().count());
            }
        }
        let mut text = String::new();
        for cells in lines {
            let mut line = String::new();
            for (column, cell) in cells.iter().enumerate() {
                if column > 0 {
                    line += "  ";
                }
                // Not by the formatter's padding, which would count the characters of a colour.
                let padding = " ".repeat(widths[column] - cell.text.chars().count());
                let painted = cell.tint.paint(&cell.text, has_colour);
                let cell = match self.columns[column].align {
                    Align::Left => painted + &padding,
                    Align::Right => padding + &painted,
                };
                line += &cell;
            }
            let _ = writeln!(text, "{}", line.trim_end());
        }
        text
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
        assert_eq!(table.text(false), expected);
    }

    #[test]
    fn control_characters_are_replaced() {
        for has_colour in [false, true] {
            let mut table = Table::headless([left("")]);
            table.row([&"a\x1b[2Jb\nc\u{9b}31m"]);
            assert_eq!(table.text(has_colour), "a?[2Jb?c?31m\n");
        }
    }

    #[test]
    fn colours_leave_the_alignment() {
        let mut table = Table::new([left("NAME"), left("STATE"), right("COUNT"), left("LINK")]);
        table.row([&"b1", &"active", &1, &"up"]);
        table.tint("STATE", Tint::Good);
        table.row([&"b2", &"unreachable", &20, &"down"]);
        table.tint("STATE", Tint::Bad);
        table.tint("LINK", Tint::Bad);
        let painted = table.text(true);
        let expected = "\
\x1b[1mNAME\x1b[0m  \x1b[1mSTATE\x1b[0m        \x1b[1mCOUNT\x1b[0m  \x1b[1mLINK\x1b[0m
b1    \x1b[32mactive\x1b[0m           1  up
b2    \x1b[31munreachable\x1b[0m     20  \x1b[31mdown\x1b[0m
";
        assert_eq!(painted, expected, "\n{painted}");
        let mut plain = painted;
        for escape in ["\x1b[0m", "\x1b[1m", "\x1b[31m", "\x1b[32m"] {
            plain = plain.replace(escape, "");
        }
        assert_eq!(plain, table.text(false));
    }
}
