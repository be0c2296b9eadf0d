//! Reads plain TOML, in a tenth of the time that the `toml` crate takes for it.
//!
//! Plain are bare keys, strings on one line without escapes, decimal integers without sign and underscores, booleans,
//! arrays and inline tables of these, section headers, comments. That is what configurations with tens of thousands of
//! backends consist of. At anything else, and at any mistake, this reader gives up: then the crate reads the whole text, and
//! tells what is wrong. So for a text that this reader accepts the crate has the same tree, with the same positions, and
//! tests compare the two. Where this reader does not know what the crate would do, it gives up.

use super::tree::{Located, Table, Value};
use crate::tree::Integer;

/// Tables and arrays within one another at the most. The crate has a limit too.
const DEPTH: usize = 8;

/// Entries of a table at the most. A configuration has fewer, and entries are inserted in order.
const ENTRIES: usize = 64;

/// The tree of the part of a text that begins at `begin`; `None` if it is not plain, or has a mistake.
pub(super) fn tree(text: &str, begin: usize) -> Option<Table<'_>> {
    Document { reader: Reader { text, at: 0, begin }, root: Table::default() }.read()
}

/// What a byte may be part of.
mod class {
    /// Bare keys.
    pub(super) const BARE: u8 = 1;
    /// Strings in double quotes.
    pub(super) const BASIC: u8 = 2;
    /// Strings in single quotes.
    pub(super) const LITERAL: u8 = 4;
    /// Comments.
    pub(super) const COMMENT: u8 = 8;
    /// What follows a value: the end of the line, a space, a comment, or what separates and ends values.
    pub(super) const END: u8 = 16;
}

/// The classes of each byte.
static CLASSES: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut classes = [0; 256];
    let mut n = 0;
    while n < 256 {
        #[expect(clippy::cast_possible_truncation, reason = "below 256")]
        let byte = n as u8;
        let mut of_byte = 0;
        if byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-' {
            of_byte |= class::BARE;
        }
        // Tabs, what is printed, and all of other characters than ASCII's.
        if byte == b'\t' || byte >= b' ' && byte != 0x7f {
            of_byte |= class::COMMENT;
            if byte != b'"' && byte != b'\\' {
                of_byte |= class::BASIC;
            }
            if byte != b'\'' {
                of_byte |= class::LITERAL;
            }
        }
        if matches!(byte, b' ' | b'\t' | b'\n' | b'#' | b',' | b']' | b'}') {
            of_byte |= class::END;
        }
        classes[n] = of_byte;
        n += 1;
    }
    classes
}

/// The header of a section.
struct Header<'t> {
    at: usize,
    /// The keys before the last.
    parents: Vec<Located<&'t str>>,
    key: Located<&'t str>,
    /// Whether it has double brackets.
    is_repeated: bool,
}

/// A text that is being read, and its tree so far.
struct Document<'t> {
    reader: Reader<'t>,
    root: Table<'t>,
}

impl<'t> Document<'t> {
    fn read(mut self) -> Option<Table<'t>> {
        // The section that is being read, and its header.
        let mut header: Option<Header<'t>> = None;
        let mut table = Table::default();
        loop {
            self.reader.skip_lines()?;
            match self.reader.peek() {
                None => break,
                Some(b'[') => {
                    let next = self.reader.header()?;
                    self.add(header.replace(next), std::mem::take(&mut table))?;
                }
                Some(_) => self.reader.pair(&mut table, 0)?,
            }
            self.reader.end_line()?;
        }
        self.add(header, table)?;
        Some(self.root)
    }

    /// Adds a section whose entries have been read.
    fn add(&mut self, header: Option<Header<'t>>, table: Table<'t>) -> Option<()> {
        let Some(Header { at, parents, key, is_repeated }) = header else {
            self.root = table;
            return Some(());
        };
        let (reader, mut parent) = (&self.reader, &mut self.root);
        for &key in &parents {
            if parent.len() >= ENTRIES {
                return None;
            }
            let implicit = || Some(Located { at: key.at, value: Value::Table(Table::default()) });
            let found = parent.entry(key, implicit)?;
            let is_repeated = has_headers(found);
            parent = match &mut found.value {
                Value::Table(table) if !reader.is_inline(found.at) => table,
                Value::Array(sections) if is_repeated => match &mut sections.last_mut()?.value {
                    Value::Table(table) => table,
                    _ => return None,
                },
                _ => return None,
            };
        }
        let section = Located { at, value: Value::Table(table) };
        if !is_repeated {
            // A section that other headers have made already is left to the crate.
            return (parent.insert(key, section) && parent.len() <= ENTRIES).then_some(());
        }
        let sections =
            parent.entry(key, || Some(Located { at, value: Value::Array(Vec::new()) }))?;
        let goes_on = has_headers(sections);
        match &mut sections.value {
            Value::Array(found) if found.is_empty() && sections.at == at || goes_on => {
                found.push(section);
            }
            _ => return None,
        }
        (parent.len() <= ENTRIES).then_some(())
    }
}

/// Whether an array is one of sections, each with its header: the first begins where the array does.
fn has_headers(array: &Located<Value<'_>>) -> bool {
    match &array.value {
        Value::Array(elements) => elements.first().is_some_and(|first| first.at == array.at),
        _ => false,
    }
}

/// A text, and how far it was read.
struct Reader<'t> {
    text: &'t str,
    at: usize,
    /// Where the text begins in the whole text.
    begin: usize,
}

impl<'t> Reader<'t> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// Takes a byte if it comes next.
    fn take(&mut self, byte: u8) -> bool {
        let is_next = self.peek() == Some(byte);
        self.at += usize::from(is_next);
        is_next
    }

    /// Takes all bytes of a class that come next.
    fn take_all(&mut self, class: u8) -> &'t str {
        let begin = self.at;
        let rest = self.text.as_bytes()[begin..].iter();
        self.at += rest.take_while(|&&byte| CLASSES[usize::from(byte)] & class != 0).count();
        // A class has all bytes of other characters than ASCII's, or none.
        &self.text[begin..self.at]
    }

    fn skip_blank(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t')) {
            self.at += 1;
        }
    }

    /// Skips what may stand after the last value of a line, up to the line's end.
    fn skip_to_end(&mut self) -> Option<()> {
        self.skip_blank();
        if self.take(b'#') {
            self.take_all(class::COMMENT);
            return matches!(self.peek(), None | Some(b'\n')).then_some(());
        }
        Some(())
    }

    /// Ends a line.
    fn end_line(&mut self) -> Option<()> {
        self.skip_to_end()?;
        (self.take(b'\n') || self.peek().is_none()).then_some(())
    }

    /// Skips blank lines and comments, and what is blank before the next word.
    fn skip_lines(&mut self) -> Option<()> {
        loop {
            self.skip_to_end()?;
            if !self.take(b'\n') {
                return Some(());
            }
        }
    }

    fn header(&mut self) -> Option<Header<'t>> {
        let at = self.begin + self.at;
        self.at += 1;
        let is_repeated = self.take(b'[');
        let mut parents = Vec::new();
        let mut key = self.key()?;
        while self.take(b'.') {
            parents.push(std::mem::replace(&mut key, self.key()?));
        }
        let is_closed = self.take(b']') && (!is_repeated || self.take(b']'));
        (is_closed && parents.len() < DEPTH).then_some(Header { at, parents, key, is_repeated })
    }

    fn key(&mut self) -> Option<Located<&'t str>> {
        let at = self.begin + self.at;
        let value = self.take_all(class::BARE);
        (!value.is_empty()).then_some(Located { at, value })
    }

    /// Reads `key = value` into a table.
    fn pair(&mut self, table: &mut Table<'t>, depth: usize) -> Option<()> {
        let key = self.key()?;
        self.skip_blank();
        if !self.take(b'=') {
            return None;
        }
        self.skip_blank();
        let value = self.value(depth)?;
        (table.insert(key, value) && table.len() <= ENTRIES).then_some(())
    }

    fn value(&mut self, depth: usize) -> Option<Located<Value<'t>>> {
        let at = self.begin + self.at;
        let value = match self.peek()? {
            b'"' => self.string(b'"', class::BASIC)?,
            b'\'' => self.string(b'\'', class::LITERAL)?,
            b'0'..=b'9' | b't' | b'f' => self.word()?,
            b'[' if depth < DEPTH => self.array(depth + 1)?,
            b'{' if depth < DEPTH => self.inline(depth + 1)?,
            _ => return None,
        };
        let ends = self.peek().is_none_or(|byte| CLASSES[usize::from(byte)] & class::END != 0);
        ends.then_some(Located { at, value })
    }

    /// Three quotes begin a string of several lines: the third is no end of a value.
    fn string(&mut self, quote: u8, class: u8) -> Option<Value<'t>> {
        self.at += 1;
        let text = self.take_all(class);
        self.take(quote).then_some(Value::String(text.into()))
    }

    /// A number or a boolean.
    fn word(&mut self) -> Option<Value<'t>> {
        let word = self.take_all(class::BARE);
        match word.as_bytes() {
            b"true" => return Some(Value::Boolean(true)),
            b"false" => return Some(Value::Boolean(false)),
            b"0" => {}
            [b'1'..=b'9', digits @ ..] if digits.iter().all(u8::is_ascii_digit) => {}
            _ => return None,
        }
        Some(Value::Integer(Integer { digits: word.into(), radix: 10 }))
    }

    fn array(&mut self, depth: usize) -> Option<Value<'t>> {
        self.at += 1;
        let mut elements = Vec::new();
        loop {
            self.skip_lines()?;
            if self.take(b']') {
                return Some(Value::Array(elements));
            }
            elements.push(self.value(depth)?);
            self.skip_lines()?;
            if !self.take(b',') {
                return self.take(b']').then_some(Value::Array(elements));
            }
        }
    }

    fn inline(&mut self, depth: usize) -> Option<Value<'t>> {
        self.at += 1;
        let mut table = Table::default();
        loop {
            self.skip_lines()?;
            if self.take(b'}') {
                return Some(Value::Table(table));
            }
            self.pair(&mut table, depth)?;
            self.skip_lines()?;
            if !self.take(b',') {
                return self.take(b'}').then_some(Value::Table(table));
            }
        }
    }

    /// Whether the table at a position of the whole text is an inline one.
    fn is_inline(&self, at: usize) -> bool {
        self.text.as_bytes().get(at - self.begin) == Some(&b'{')
    }
}

#[cfg(test)]
mod tests;
