//! Whether enough services of an address serve.
//!
//! Between a new configuration and the next list of its services, it is unknown whether some serve. What is unknown
//! neither loses a quorum nor makes one: a reload must not withdraw an address for some milliseconds.

use std::collections::BTreeMap;

use guideway_config::AnnounceWhen;

use super::site::VipSite;

/// Whether enough services serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Quorum {
    /// Enough do, or the address has no services.
    Met,
    /// Too few do.
    Lost {
        /// Those of which it has to be one that do not.
        services: Vec<String>,
    },
    /// That depends on services of which nothing is known yet.
    Unknown {
        /// Those that do not serve, or of which nothing is known.
        services: Vec<String>,
    },
}

impl VipSite {
    /// The quorum, by the names of services and whether each serves.
    pub fn quorum(&self, services: &BTreeMap<String, bool>) -> Quorum {
        let lost = self.missing(|name| services.get(name) != Some(&false));
        if !lost.is_empty() {
            return Quorum::Lost { services: lost };
        }
        let unsure = self.missing(|name| services.get(name) == Some(&true));
        match unsure.is_empty() {
            true => Quorum::Met,
            false => Quorum::Unknown { services: unsure },
        }
    }

    /// The services that keep the address from its quorum, of those that `serves` says do not serve; empty if there are
    /// enough that do.
    fn missing(&self, serves: impl Fn(&str) -> bool) -> Vec<String> {
        let wanted = match &self.when {
            AnnounceWhen::Services(names) => names,
            AnnounceWhen::All | AnnounceWhen::Any => &self.services,
        };
        if self.when == AnnounceWhen::Any && wanted.iter().any(|name| serves(name)) {
            return Vec::new();
        }
        wanted.iter().filter(|name| !serves(name)).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use guideway_config::OnQuorumLoss;

    use super::*;

    fn names(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    /// `a+ b-`: a serves, and b does not.
    fn quorum(when: &AnnounceWhen, services: &str) -> Quorum {
        let site =
            VipSite { services: names("a b c"), when: when.clone(), on_loss: OnQuorumLoss::Keep };
        let service = |text: &str| (text[..1].to_owned(), text.ends_with('+'));
        site.quorum(&services.split_whitespace().map(service).collect())
    }

    #[test]
    fn a_quorum_is_met_or_lost_or_depends_on_what_is_unknown() {
        let named = AnnounceWhen::Services(names("a b"));
        let lost = |text: &str| Quorum::Lost { services: names(text) };
        let unknown = |text: &str| Quorum::Unknown { services: names(text) };
        for (when, services, expected) in [
            (&AnnounceWhen::Any, "a+ b- c-", Quorum::Met),
            (&AnnounceWhen::Any, "a+", Quorum::Met),
            (&AnnounceWhen::Any, "a- b- c-", lost("a b c")),
            (&AnnounceWhen::Any, "a- b-", unknown("a b c")),
            (&AnnounceWhen::Any, "", unknown("a b c")),
            (&AnnounceWhen::All, "a+ b+ c+", Quorum::Met),
            (&AnnounceWhen::All, "a+ b- c+", lost("b")),
            (&AnnounceWhen::All, "a+ b-", lost("b")),
            (&AnnounceWhen::All, "a+ b+", unknown("c")),
            (&named, "a+ b+ c-", Quorum::Met),
            (&named, "a+ b+", Quorum::Met),
            (&named, "a+ b- c+", lost("b")),
            (&named, "b+ c+", unknown("a")),
            // Services that are no longer there, or not yet, count for nothing.
            (&AnnounceWhen::Any, "x+ y+", unknown("a b c")),
            (&AnnounceWhen::All, "a+ b+ c+ x-", Quorum::Met),
        ] {
            assert_eq!(quorum(when, services), expected, "{when:?} {services}");
        }
    }
}
