//! What a scrape asks for.

use super::families::Scope;
use guideway_chassis::http::Query;

/// Names in a query at the most.
const MAX_NAMES: usize = 64;

/// What a scrape asks for. Equal requests are answered by the same page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    /// By the index in [`Scope::ALL`].
    scopes: [bool; Scope::ALL.len()],
    /// Names of services and pools, ordered; all without any.
    pub(super) names: Vec<String>,
}

impl Wanted {
    /// Reads a query. Names alone narrow it to the scopes that have names.
    pub(super) fn of(query: &Query) -> Result<Wanted, String> {
        let mut scopes = [query.scope.is_empty(); Scope::ALL.len()];
        if query.scope.is_empty() && !query.name.is_empty() {
            scopes = Scope::ALL.map(Scope::is_large);
        }
        for name in &query.scope {
            let Some(index) = Scope::ALL.iter().position(|scope| scope.name() == name) else {
                let scopes = Scope::ALL.map(Scope::name).join(", ");
                return Err(format!("no scope is named {name:?}; there are {scopes}"));
            };
            scopes[index] = true;
        }
        if query.name.len() > MAX_NAMES {
            return Err(format!("{} names; there can be {MAX_NAMES}", query.name.len()));
        }
        let mut names = query.name.clone();
        names.sort_unstable();
        names.dedup();
        Ok(Wanted { scopes, names })
    }

    pub(super) fn has(&self, scope: Scope) -> bool {
        self.scopes[scope as usize]
    }

    /// Whether it is the whole page.
    pub(super) fn is_all(&self) -> bool {
        self.scopes.iter().all(|&has| has) && self.names.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(scopes: &[&str], names: &[&str]) -> Result<Wanted, String> {
        let owned = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
        Wanted::of(&Query { scope: owned(scopes), name: owned(names) })
    }

    #[test]
    fn scopes_and_names_narrow_a_page() {
        assert!(wanted(&[], &[]).unwrap().is_all());
        let named = wanted(&[], &["web", "dns", "web"]).unwrap();
        assert!(
            named.has(Scope::Pools) && named.has(Scope::Services) && named.has(Scope::Backends)
        );
        assert!(!named.has(Scope::Node) && !named.is_all());
        assert_eq!(named, wanted(&["backends", "pools", "services"], &["dns", "web"]).unwrap());
        assert!(wanted(&["node"], &["web"]).unwrap().has(Scope::Node));
        let error = wanted(&["node", "clients"], &[]).unwrap_err();
        let expected = "no scope is named \"clients\"; there are node, workers, ports, pools, services, backends";
        assert_eq!(error, expected);
        assert_eq!(wanted(&[], &["web"; 65]).unwrap_err(), "65 names; there can be 64");
    }

    #[test]
    fn a_scope_is_found_by_its_index() {
        assert!((0..).zip(Scope::ALL).all(|(index, scope)| scope as usize == index));
    }
}
