//! Reads the query of `/metrics`.

use super::pages::Query;

impl Query {
    /// Reads `scope=...&name=...`, with values in percent encoding. An error says what is wrong.
    pub(super) fn parse(text: &str) -> Result<Query, String> {
        let mut query = Query::default();
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = decode(value)
                .ok_or_else(|| format!("the value of {key:?} is no text in percent encoding"))?;
            match key {
                "scope" => query.scope.push(value),
                "name" => query.name.push(value),
                _ => return Err(format!("there is no key {key:?}; there are scope and name")),
            }
        }
        Ok(query)
    }
}

/// The text that stands in percent encoding.
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                u8::try_from(digit()? * 16 + digit()?).ok()?
            }
            b'+' => b' ',
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_has_scopes_and_names() {
        let query = |scope: &[&str], name: &[&str]| {
            let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
            Ok(Query { scope: owned(scope), name: owned(name) })
        };
        assert_eq!(Query::parse(""), query(&[], &[]));
        assert_eq!(Query::parse("&&scope=node&"), query(&["node"], &[]));
        assert_eq!(
            Query::parse("name=a%5Fb&scope=x&name=c+d%20%C3%A4&scope"),
            query(&["x", ""], &["a_b", "c d \u{e4}"])
        );
    }

    #[test]
    fn what_is_wrong_with_a_query_is_said() {
        for (text, complaint) in [
            ("scop=a", "there is no key \"scop\"; there are scope and name"),
            ("SCOPE=a", "there is no key \"SCOPE\"; there are scope and name"),
            ("name=%", "the value of \"name\" is no text in percent encoding"),
            ("name=%4", "the value of \"name\" is no text in percent encoding"),
            ("name=%+4", "the value of \"name\" is no text in percent encoding"),
            ("name=%ff", "the value of \"name\" is no text in percent encoding"),
        ] {
            assert_eq!(Query::parse(text), Err(complaint.to_owned()), "{text}");
        }
    }
}
