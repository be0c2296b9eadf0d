//! Text in aligned columns, two spaces between them, for people and for awk.

mod rates;

use std::fmt::{Display, Write};

use crate::terminal::{self, Tint};

pub(crate) use rates::Rates;

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
    /// The column's cells, with those of the other keys, name what the row is about.
    is_key: bool,
    /// Its numbers only grow, so that two looks give a rate.
    is_counter: bool,
}

/// A column whose cells, with those of the other keys, name what the row is about.
pub(crate) const fn key(name: &'static str) -> Column {
    Column { is_key: true, ..left(name) }
}

/// A column of words.
pub(crate) const fn left(name: &'static str) -> Column {
    Column { name, align: Align::Left, is_key: false, is_counter: false }
}

/// A column of numbers.
pub(crate) const fn right(name: &'static str) -> Column {
    Column { align: Align::Right, ..left(name) }
}

/// A column of numbers that only grow.
pub(crate) const fn counter(name: &'static str) -> Column {
    Column { is_counter: true, ..right(name) }
}

impl Column {
    /// The same column, but aligned as numbers are.
    pub(crate) const fn to_right(self) -> Column {
        Column { align: Align::Right, ..self }
    }
}

/// Rows of `COLUMNS` cells. An empty cell is written `-`, so that awk sees the same columns in every row.
#[derive(Debug)]
pub(crate) struct Table<const COLUMNS: usize> {
    columns: [Column; COLUMNS],
    has_header: bool,
    rows: Vec<[Cell; COLUMNS]>,
}

#[derive(Clone, Debug)]
struct Cell {
    text: String,
    tint: Tint,
    /// The value of a counter.
    count: Option<u64>,
}

impl Cell {
    fn new(text: &str, tint: Tint) -> Cell {
        let text = if text.is_empty() { "-".into() } else { terminal::line(text) };
        Cell { text, tint, count: None }
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
        let columns = self.columns;
        self.append(cells, |column| columns[column].is_counter);
    }

    /// Appends a row of which every number is a counter.
    pub(crate) fn counter_row(&mut self, cells: [&dyn Display; COLUMNS]) {
        self.append(cells, |_| true);
    }

    fn append(&mut self, cells: [&dyn Display; COLUMNS], is_counter: impl Fn(usize) -> bool) {
        let mut cells = cells.map(|cell| Cell::new(&cell.to_string(), Tint::Plain));
        for (column, cell) in cells.iter_mut().enumerate() {
            if is_counter(column) && !self.columns[column].is_key {
                cell.count = cell.text.parse().ok();
            }
        }
        self.rows.push(cells);
    }

    /// Tints the cell of the last row in the column of this name.
    pub(crate) fn tint(&mut self, column: &str, tint: Tint) {
        let column = self.columns.iter().position(|known| known.name == column);
        if let (Some(column), Some(row)) = (column, self.rows.last_mut()) {
            row[column].tint = tint;
        }
    }

    /// The table as text. With `rates`, a counter is followed by its rate since the last look: in a column of
    /// its own, or in the same cell if its column has other rows than counters.
    pub(crate) fn text(&self, has_colour: bool, rates: Option<&mut Rates>) -> String {
        let rates = rates.map(|rates| rates.of(self.rows.iter().map(|row| self.counts(row))));
        let mut alignment = Vec::new();
        let mut header = Vec::new();
        for column in &self.columns {
            alignment.push(column.align);
            header.push(Cell::new(column.name, Tint::Header));
            if rates.is_some() && column.is_counter {
                alignment.push(Align::Right);
                header.push(Cell::new(&format!("{}/S", column.name), Tint::Header));
            }
        }
        let mut lines = Vec::new();
        if self.has_header {
            lines.push(header);
        }
        for (index, row) in self.rows.iter().enumerate() {
            let mut line = Vec::new();
            for (column, cell) in row.iter().enumerate() {
                let rate = rates.as_ref().map(|rates| rates[index][column].map(rates::shown));
                match rate {
                    Some(rate) if self.columns[column].is_counter => {
                        line.push(cell.clone());
                        line.push(Cell::new(&rate.unwrap_or_default(), Tint::Plain));
                    }
                    Some(Some(rate)) => {
                        line.push(Cell::new(&format!("{}  {rate}/s", cell.text), cell.tint));
                    }
                    _ => line.push(cell.clone()),
                }
            }
            lines.push(line);
        }
        written(&lines, &alignment, has_colour)
    }

    /// A row's key, and the values of its counters.
    fn counts(&self, row: &[Cell; COLUMNS]) -> (Vec<String>, Vec<Option<u64>>) {
        let cells = self.columns.iter().zip(row);
        let keys = cells.filter(|(column, _)| column.is_key).map(|(_, cell)| cell.text.clone());
        (keys.collect(), row.iter().map(|cell| cell.count).collect())
    }
}

fn written(lines: &[Vec<Cell>], alignment: &[Align], has_colour: bool) -> String {
    let mut widths = vec![0; alignment.len()];
    for line in lines {
        for (width, cell) in widths.iter_mut().zip(line) {
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
            let cell = match alignment[column] {
                Align::Left => painted + &padding,
                Align::Right => padding + &painted,
            };
            line += &cell;
        }
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn columns_are_aligned_and_lines_have_no_trailing_spaces() {
        let mut table = Table::new([key("NAME"), right("COUNT"), left("NOTE")]);
        table.row([&"é", &7, &""]);
        table.row([&"longer", &1_234_567, &"two words"]);
        let expected = "\
NAME      COUNT  NOTE
é             7  -
longer  1234567  two words
";
        assert_eq!(table.text(false, None), expected);
    }

    #[test]
    fn control_characters_are_replaced() {
        for has_colour in [false, true] {
            let mut table = Table::headless([left("")]);
            table.row([&"a\x1b[2Jb\nc\u{9b}31m"]);
            assert_eq!(table.text(has_colour, None), "a?[2Jb?c?31m\n");
        }
    }

    #[test]
    fn colours_leave_the_alignment() {
        let mut table = Table::new([key("NAME"), left("STATE"), right("COUNT"), left("LINK")]);
        table.row([&"b1", &"active", &1, &"up"]);
        table.tint("STATE", Tint::Good);
        table.row([&"b2", &"unreachable", &20, &"down"]);
        table.tint("STATE", Tint::Bad);
        table.tint("LINK", Tint::Bad);
        let painted = table.text(true, None);
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
        assert_eq!(plain, table.text(false, None));
    }

    #[test]
    fn counters_get_rates() {
        let table = |packets: u64| {
            let mut table =
                Table::new([key("NAME"), counter("PACKETS"), right("FLOWS"), left("WHY")]);
            table.row([&"web", &packets, &packets, &"x"]);
            table
        };
        let start = Instant::now();
        let mut rates = Rates::new(start);
        let first = table(1000).text(false, Some(&mut rates));
        assert_eq!(
            first,
            "NAME  PACKETS  PACKETS/S  FLOWS  WHY\nweb      1000          -   1000  x\n"
        );
        rates.look(start + Duration::from_secs(2));
        let second = table(1500).text(false, Some(&mut rates));
        assert_eq!(
            second,
            "NAME  PACKETS  PACKETS/S  FLOWS  WHY\nweb      1500        250   1500  x\n"
        );
    }

    #[test]
    fn a_table_without_header_has_rates_in_rows_of_counters_only() {
        let table = |received: u64| {
            let mut table = Table::headless([key("NAME"), left("VALUE")]);
            table.row([&"node", &"lb1"]);
            table.row([&"workers", &received]);
            table.counter_row([&"received", &received]);
            table
        };
        let start = Instant::now();
        let mut rates = Rates::new(start);
        let first = table(10).text(false, Some(&mut rates));
        assert_eq!(first, "node      lb1\nworkers   10\nreceived  10\n");
        rates.look(start + Duration::from_secs(4));
        let second = table(50).text(false, Some(&mut rates));
        assert_eq!(second, "node      lb1\nworkers   50\nreceived  50  10.0/s\n");
    }
}
