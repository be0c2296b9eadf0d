//! Mistakes and warnings, and how they are collected.
//!
//! Code that finds a mistake reports it and gets a [`Reported`] in return, the only error while
//! reading. `Err(Reported)` therefore proves that the operator will see the mistake, and nothing
//! needs to report it again.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::fmt;
use std::path::{Path, PathBuf};

/// One mistake or warning in a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The name of the file, relative to the main file's directory. Empty if there is one file only.
    pub file: String,
    /// The byte of the whole text.
    pub at: usize,
    /// The line, counted from 1.
    pub line: usize,
    /// The dotted path of the key, indices counted from 0: `pool[1].backends[0].weight`.
    /// Empty where the text is not TOML.
    pub key: String,
    /// What is wrong, and what would be right.
    pub message: String,
}

impl Mistake {
    /// The path of its file, given that of the main file.
    pub fn path(&self, main: &Path) -> PathBuf {
        if self.file.is_empty() { main.to_owned() } else { main.with_file_name(&self.file) }
    }

    /// The mistake without its file.
    pub fn within_file(&self) -> Mistake {
        Mistake { file: String::new(), ..self.clone() }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.file.is_empty() {
            write!(f, "{}: ", self.file)?;
        }
        write!(f, "line {}: ", self.line)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)
    }
}

/// How many mistakes, or warnings, are listed at most. A file of 1 MiB can contain a million mistakes;
/// listing them all would take about 100 MiB, and nobody would read them.
pub const MAX_LISTED: usize = 1000;

/// The mistakes of a configuration: the first [`MAX_LISTED`] that were found, in line order, and the
/// number of the others. `Display` writes one per line.
#[derive(Clone, Debug, Default, PartialEq, Eq, thiserror::Error)]
pub struct Mistakes {
    listed: Vec<Mistake>,
    more: usize,
}

impl Mistakes {
    /// The mistakes that are listed, in line order.
    pub fn iter(&self) -> std::slice::Iter<'_, Mistake> {
        self.listed.iter()
    }

    /// Mistakes that were found and are not listed.
    pub fn more(&self) -> usize {
        self.more
    }

    fn add(&mut self, mistake: impl FnOnce() -> Mistake) {
        if self.listed.len() < MAX_LISTED {
            self.listed.push(mistake());
        } else {
            self.more += 1;
        }
    }

    fn in_order(mut self) -> Mistakes {
        self.listed.sort_by_key(|mistake| mistake.at);
        self
    }
}

impl<'a> IntoIterator for &'a Mistakes {
    type Item = &'a Mistake;
    type IntoIter = std::slice::Iter<'a, Mistake>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, mistake) in self.listed.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            mistake.fmt(f)?;
        }
        if self.more > 0 {
            write!(f, "\nand {} more", self.more)?;
        }
        Ok(())
    }
}

/// Proof that a mistake was reported: only [`Findings::mistake`] makes one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reported(());

/// A value that was read, or [`Reported`] as proof that the findings already have the mistake in it.
/// Whoever gets the error passes it on: there is nothing left to report. A value that is judged wrong
/// later may stay `Ok`, if nothing follows from it: any mistake makes the whole text invalid.
pub(crate) type Checked<T> = Result<T, Reported>;

/// Comparisons spent on proposing names, so that a long list of wrong names cannot take minutes.
const COMPARISONS: usize = 100_000;

/// Characters of a text that a message repeats and that a comparison uses.
const EXCERPT: usize = 48;

/// A line of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place<'a> {
    /// Empty if there is one file only.
    pub(crate) file: &'a str,
    /// Counted from 1.
    pub(crate) line: usize,
}

/// `7`, `7 of conf.d/web.toml`; the alternate form is `conf.d/web.toml:7`.
impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.file, f.alternate()) {
            ("", false) => write!(f, "{}", self.line),
            ("", true) => write!(f, "line {}", self.line),
            (file, false) => write!(f, "{} of {file}", self.line),
            (file, true) => write!(f, "{file}:{}", self.line),
        }
    }
}

/// The mistakes and warnings of one text so far.
#[derive(Debug)]
pub(crate) struct Findings {
    line_starts: Vec<usize>,
    /// Where each file begins, and its name.
    files: Vec<(usize, String)>,
    /// In the order in which they were found.
    mistakes: RefCell<Mistakes>,
    warnings: RefCell<Mistakes>,
    comparisons: Cell<usize>,
}

impl Findings {
    /// Nothing found yet in a text of these files; see [`super::files`].
    pub(crate) fn new(text: &str, files: &[(usize, &str)]) -> Self {
        let newlines = memchr::memchr_iter(b'\n', text.as_bytes());
        Findings {
            line_starts: std::iter::once(0).chain(newlines.map(|at| at + 1)).collect(),
            files: files.iter().map(|&(begin, name)| (begin, name.to_owned())).collect(),
            mistakes: RefCell::default(),
            warnings: RefCell::default(),
            comparisons: Cell::new(COMPARISONS),
        }
    }

    /// The line of a byte.
    pub(crate) fn line(&self, at: usize) -> Place<'_> {
        let line = |at| self.line_starts.partition_point(|&start| start <= at);
        let file = self.files.partition_point(|&(begin, _)| begin <= at).saturating_sub(1);
        let (begin, file) = self.files.get(file).map_or((0, ""), |(begin, name)| (*begin, name));
        Place { file, line: line(at.max(begin)) - line(begin) + 1 }
    }

    fn found(&self, at: usize, key: impl Into<String>, message: impl Into<String>) -> Mistake {
        let Place { file, line } = self.line(at);
        Mistake { file: file.to_owned(), at, line, key: key.into(), message: message.into() }
    }

    pub(crate) fn mistake(
        &self,
        at: usize,
        key: impl Into<String>,
        message: impl Into<String>,
    ) -> Reported {
        self.mistakes.borrow_mut().add(|| self.found(at, key, message));
        Reported(())
    }

    pub(crate) fn warn(&self, at: usize, key: impl Into<String>, message: impl Into<String>) {
        self.warnings.borrow_mut().add(|| self.found(at, key, message));
    }

    /// The candidate nearest to `word`; `None` without a candidate, or with too many.
    pub(crate) fn nearest<'c>(&self, word: &str, candidates: &[&'c str]) -> Option<&'c str> {
        self.comparisons.set(self.comparisons.get().checked_sub(candidates.len())?);
        let head = |text: &str| text.chars().take(EXCERPT).collect::<String>();
        let word = head(word);
        let distance = |candidate: &&&str| strsim::damerau_levenshtein(&word, &head(candidate));
        candidates.iter().min_by_key(distance).copied()
    }

    /// All mistakes, if there are any, and the warnings.
    ///
    /// A line that is not TOML has its mistakes of syntax only: what it seems to contain is not judged.
    pub(crate) fn finish(self) -> (Option<Mistakes>, Vec<Mistake>) {
        let mut mistakes = self.mistakes.into_inner().in_order();
        let is_syntax = |mistake: &Mistake| mistake.key.is_empty();
        let place = |mistake: &Mistake| (mistake.file.clone(), mistake.line);
        let broken: HashSet<_> = mistakes.iter().filter(|m| is_syntax(m)).map(place).collect();
        mistakes.listed.retain(|mistake| is_syntax(mistake) || !broken.contains(&place(mistake)));

        let Mistakes { listed: mut warnings, more } = self.warnings.into_inner().in_order();
        if let (Some(last), 1..) = (warnings.last(), more) {
            let message = format!("there are {more} more warnings, which are not listed");
            warnings.push(Mistake { key: String::new(), message, ..last.clone() });
        }
        ((!mistakes.listed.is_empty()).then_some(mistakes), warnings)
    }
}

/// A text of the configuration as a message repeats it: quoted, on one line and shortened.
pub(crate) fn excerpt(text: &str) -> String {
    match text.char_indices().nth(EXCERPT) {
        Some((end, _)) => format!("{:?}...", &text[..end]),
        None => format!("{text:?}"),
    }
}

/// `1 backend`, `2 backends`.
pub(crate) fn count(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_counted_from_one() {
        let findings = Findings::new("a\nbc\n\nd", &[]);
        let lines: Vec<usize> = (0..7).map(|at| findings.line(at).line).collect();
        assert_eq!(lines, [1, 1, 2, 2, 2, 3, 4]);
        assert_eq!(Findings::new("", &[]).line(0).line, 1);
    }

    #[test]
    fn mistakes_come_in_the_order_of_the_text() {
        let findings = Findings::new("a\nb\nc", &[]);
        findings.mistake(4, "c", "third");
        findings.mistake(0, "", "first");
        findings.warn(2, "b", "a warning");
        let (mistakes, warnings) = findings.finish();
        assert_eq!(mistakes.unwrap().to_string(), "line 1: first\nline 3: c: third");
        assert_eq!(warnings[0].to_string(), "line 2: b: a warning");
    }

    #[test]
    fn mistakes_beyond_the_limit_are_counted() {
        let findings = Findings::new("", &[]);
        (0..MAX_LISTED + 7).for_each(|_| findings.warn(0, "a", "a warning"));
        (0..MAX_LISTED + 5).for_each(|_| _ = findings.mistake(0, "b", "a mistake"));
        let (mistakes, warnings) = findings.finish();
        let mistakes = mistakes.unwrap();
        assert_eq!((mistakes.iter().len(), mistakes.more()), (MAX_LISTED, 5));
        assert!(mistakes.to_string().ends_with("b: a mistake\nand 5 more"));
        assert_eq!(warnings.len(), MAX_LISTED + 1);
        assert!(warnings[MAX_LISTED].message.starts_with("there are 7 more warnings"));
    }

    #[test]
    fn a_line_that_is_not_toml_has_no_further_mistakes() {
        let findings = Findings::new("a\nb\nc", &[]);
        findings.mistake(2, "b", "a consequence");
        findings.mistake(3, "", "not TOML");
        findings.mistake(4, "c", "another line");
        let (mistakes, _) = findings.finish();
        assert_eq!(mistakes.unwrap().to_string(), "line 2: not TOML\nline 3: c: another line");
    }

    #[test]
    fn proposals_end_when_they_become_costly() {
        let findings = Findings::new("", &[]);
        assert_eq!(findings.nearest("wieght", &["name", "weight"]), Some("weight"));
        assert_eq!(findings.nearest("x", &[]), None);
        let many = vec!["name"; COMPARISONS];
        assert_eq!(findings.nearest("nam", &many), None);
    }

    #[test]
    fn excerpts_stay_on_one_short_line() {
        assert_eq!(excerpt("a\nb\"\u{1b}"), r#""a\nb\"\u{1b}""#);
        assert!(excerpt(&"ä".repeat(1000)).len() < 120);
    }
}
