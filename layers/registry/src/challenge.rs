//! What a registry asks for when it says 401: the `WWW-Authenticate` header (RFC 9110, section
//! 11.6.1; the parameters of Bearer by the distribution project's token specification).

/// Bytes of a header that are looked at.
const HEADER_MAX: usize = 8 << 10;

/// One way to say who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Challenge {
    /// User and password with each request.
    Basic,
    /// A token from a token server.
    Bearer {
        /// The token server's URL.
        realm: String,
        /// What the token server calls the registry.
        service: Option<String>,
        /// What the token must allow.
        scope: Option<String>,
    },
}

/// The challenge to answer: Bearer, as what tells less, before Basic. `None` when neither is there.
pub(crate) fn best<'a>(headers: impl Iterator<Item = &'a str>) -> Option<Challenge> {
    let mut found = None;
    for header in headers {
        for challenge in read(header) {
            match challenge {
                Challenge::Bearer { .. } => return Some(challenge),
                Challenge::Basic => found = Some(challenge),
            }
        }
    }
    found
}

/// All challenges of one header that are understood.
fn read(header: &str) -> Vec<Challenge> {
    if header.len() > HEADER_MAX {
        return Vec::new();
    }
    let mut rest = header;
    let mut schemes: Vec<(&str, Vec<(String, String)>)> = Vec::new();
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let word_end = rest.find(|c: char| c == '=' || c == ',' || c.is_whitespace()).unwrap_or(rest.len());
        let (word, after) = rest.split_at(word_end);
        if word.is_empty() && after.is_empty() {
            break;
        }
        if word.is_empty() {
            // Not by the grammar: what follows cannot be told apart.
            break;
        }
        let after_space = after.trim_start_matches([' ', '\t']);
        let Some(value) = after_space.strip_prefix('=') else {
            schemes.push((word, Vec::new()));
            rest = after;
            continue;
        };
        let value = value.trim_start_matches([' ', '\t']);
        let Some((text, after_value)) = parameter(value) else { break };
        if let Some((_, parameters)) = schemes.last_mut() {
            parameters.push((word.to_ascii_lowercase(), text));
        }
        rest = after_value;
    }
    schemes.into_iter().filter_map(|(scheme, parameters)| understood(scheme, &parameters)).collect()
}

/// A token or quoted string, and what follows it.
fn parameter(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(|c: char| c == ',' || c.is_whitespace()).unwrap_or(text.len());
        let (value, rest) = text.split_at(end);
        return Some((value.to_owned(), rest));
    };
    let mut value = String::new();
    let mut chars = quoted.chars();
    loop {
        match chars.next()? {
            '"' => return Some((value, chars.as_str())),
            '\\' => value.push(chars.next()?),
            c => value.push(c),
        }
    }
}

fn understood(scheme: &str, parameters: &[(String, String)]) -> Option<Challenge> {
    let get = |name: &str| parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
    if scheme.eq_ignore_ascii_case("basic") {
        Some(Challenge::Basic)
    } else if scheme.eq_ignore_ascii_case("bearer") {
        Some(Challenge::Bearer { realm: get("realm")?, service: get("service"), scope: get("scope") })
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bearer(realm: &str, service: Option<&str>, scope: Option<&str>) -> Option<Challenge> {
        let own = |text: Option<&str>| text.map(str::to_owned);
        Some(Challenge::Bearer { realm: realm.to_owned(), service: own(service), scope: own(scope) })
    }

    #[test]
    fn challenges_are_read_as_registries_write_them() {
        let one = |header: &str| best(std::iter::once(header));
        assert_eq!(one(r#"Basic realm="x""#), Some(Challenge::Basic));
        assert_eq!(one("basic"), Some(Challenge::Basic));
        let hub = r#"Bearer realm="https://auth.example/token",service="r.example",scope="repository:a/b:pull,push""#;
        let expected = bearer("https://auth.example/token", Some("r.example"), Some("repository:a/b:pull,push"));
        assert_eq!(one(hub), expected);
        assert_eq!(one(&format!(r#"Basic realm="a, b", {hub}"#)), expected);
        assert!(one(&format!(r#"Negotiate abc==, {hub}"#)).is_some());
        assert_eq!(one(r#"bearer REALM = "a\"b" , error=insufficient_scope"#), bearer("a\"b", None, None));
        assert_eq!(one("Bearer realm=https://x/y service=z"), bearer("https://x/y", Some("z"), None));
        assert_eq!(best(["Basic", hub].into_iter()), expected);
        for nothing in
            ["", ",,,", "Digest realm=\"x\"", "Bearer", "Bearer service=\"x\"", "Bearer realm=\"unfinished", "=,="]
        {
            assert_eq!(one(nothing), None, "{nothing}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_header_is_read_to_an_end(header in "\\PC{0,200}") {
            let _ = best(std::iter::once(header.as_str()));
        }
    }
}
