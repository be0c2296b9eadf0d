//! Finding a pool or a check by its name.

use std::collections::HashMap;

use crate::findings::{Checked, excerpt};
use crate::kind::Text;
use crate::section::Section;
use crate::shape::Form;

/// A name that is looked up.
pub(super) const REFERENCE: Text<String> = Text {
    form: &Form { noun: "string", limits: "", pattern: "" },
    parse: |text| Ok(text.to_owned()),
};

/// The sections of one kind by name.
pub(crate) struct Names<'a> {
    /// What they are: `pool`.
    noun: &'static str,
    names: Vec<&'a str>,
    indices: HashMap<&'a str, usize>,
    /// `Err` if a name is unknown because of a mistake. A reference may mean that section, so a name that is not
    /// found is no mistake of its own then.
    complete: Checked<()>,
}

impl<'a> Names<'a> {
    pub(crate) fn new<T>(
        noun: &'static str,
        entries: &'a Checked<Vec<T>>,
        name: impl Fn(&'a T) -> &'a Checked<String>,
    ) -> Self {
        let complete = entries.as_ref().map(|_| ()).map_err(|reported| *reported);
        let mut found = Names { noun, names: Vec::new(), indices: HashMap::new(), complete };
        for (index, entry) in entries.iter().flatten().enumerate() {
            match name(entry) {
                Ok(name) => {
                    found.names.push(name);
                    found.indices.entry(name).or_insert(index);
                }
                Err(reported) => found.complete = Err(*reported),
            }
        }
        found
    }

    /// The index of the section that a key of another section names.
    pub(crate) fn find(&self, section: &Section<'_>, key: &str, name: &str) -> Checked<usize> {
        if let Some(&index) = self.indices.get(name) {
            return Ok(index);
        }
        self.complete?;
        let nearest = match section.findings.nearest(name, &self.names) {
            Some(nearest) => format!("; the nearest is {}", excerpt(nearest)),
            None => String::new(),
        };
        let message = format!("there is no {} {}{nearest}", self.noun, excerpt(name));
        Err(section.mistake(key, message))
    }

    /// The indices of the sections that a list of another section names. Every unknown name is reported.
    pub(crate) fn find_all(
        &self,
        section: &Section<'_>,
        key: &str,
        names: &Checked<Vec<String>>,
    ) -> Checked<Vec<usize>> {
        let names = names.as_ref().map_err(|reported| *reported)?.iter().enumerate();
        let found = names.map(|(at, name)| self.find(section, &format!("{key}[{at}]"), name));
        found.collect::<Vec<_>>().into_iter().collect()
    }
}
