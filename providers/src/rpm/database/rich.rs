//! The names in a rich dependency under which rpm lists it in its index tables.
//!
//! rpm looks packages up by the names that their rich dependencies mention, so each name gets a row
//! of its own beside the whole expression. A name that makes the expression true by being absent
//! (the condition of `if` and `unless`) is listed with a `!` before it.

/// How deep expressions may nest. rpmbuild's own parser has no limit; real ones nest two deep.
const DEPTH: usize = 64;

/// How many names one expression may have; copies that `else` makes count.
const NAMES: usize = 4096;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Operator {
    And,
    Or,
    If,
    Unless,
    Else,
    With,
    Without,
}

/// The names of a rich dependency, in the order of the rows that rpm makes of it: sorted, each
/// once, positive before negated. None where rpm cannot read the expression either, and for those
/// beyond all reason (64 levels, 4096 names).
pub(super) fn names(expression: &[u8]) -> Vec<Vec<u8>> {
    let mut walk = Walk { rest: expression, negated: false, found: Vec::new() };
    if walk.expression(0).is_none() {
        return Vec::new();
    }
    let mut found = walk.found;
    // A space sorts before `!`, and so do positive names before negated ones.
    found.sort_by(|a, b| (a.negated, &a.name).cmp(&(b.negated, &b.name)));
    found.dedup();
    found
        .into_iter()
        .map(|mention| if mention.negated { [b"!", mention.name.as_slice()].concat() } else { mention.name })
        .collect()
}

#[derive(Clone, PartialEq, Eq)]
struct Mention {
    name: Vec<u8>,
    negated: bool,
}

struct Walk<'a> {
    rest: &'a [u8],
    negated: bool,
    found: Vec<Mention>,
}

impl<'a> Walk<'a> {
    fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    fn skip(&mut self, count: usize) -> &'a [u8] {
        let (head, tail) = self.rest.split_at(count.min(self.rest.len()));
        self.rest = tail;
        head
    }

    fn space(&mut self) {
        let blank = |byte: &u8| byte.is_ascii_whitespace() || *byte == 0x0b || *byte == b',';
        let count = self.rest.iter().take_while(|byte| blank(byte)).count();
        self.skip(count);
    }

    /// A name or version: up to white space, a comma, or a parenthesis that it did not open.
    fn word(&mut self) -> &'a [u8] {
        let mut open = 0_usize;
        let mut count = 0;
        for byte in self.rest {
            match byte {
                b',' | 0x0b => break,
                byte if byte.is_ascii_whitespace() => break,
                b'(' => open += 1,
                b')' if open == 0 => break,
                b')' => open -= 1,
                _ => {}
            }
            count += 1;
        }
        self.skip(count)
    }

    fn comparison(word: &[u8]) -> bool {
        matches!(word, b"<" | b"<=" | b"=<" | b"=" | b"==" | b">=" | b"=>" | b">")
    }

    fn simple(&mut self) -> Option<()> {
        let name = self.word();
        if name.is_empty() {
            return None;
        }
        self.space();
        let before = self.rest;
        if Self::comparison(self.word()) {
            self.space();
            if self.word().is_empty() {
                return None;
            }
        } else {
            self.rest = before;
        }
        if !(name.len() > 7 && name.starts_with(b"rpmlib(")) {
            self.mention(name.to_vec(), self.negated)?;
        }
        Some(())
    }

    fn mention(&mut self, name: Vec<u8>, negated: bool) -> Option<()> {
        self.found.push(Mention { name, negated });
        (self.found.len() <= NAMES).then_some(())
    }

    fn operator(&mut self) -> Option<Operator> {
        let end = |byte: &u8| byte.is_ascii_whitespace() || *byte == 0x0b || *byte == b')';
        let count = self.rest.iter().take_while(|byte| !end(byte)).count();
        Some(match self.skip(count) {
            b"and" => Operator::And,
            b"or" => Operator::Or,
            b"if" => Operator::If,
            b"unless" => Operator::Unless,
            b"else" => Operator::Else,
            b"with" => Operator::With,
            b"without" => Operator::Without,
            _ => return None,
        })
    }

    /// One parenthesised expression. Tells whether something in it may not stand beside `with` or
    /// `without` (rpm, lib/rpmds.c, `rpmrichParseCheck`).
    fn expression(&mut self, depth: usize) -> Option<bool> {
        if depth >= DEPTH || self.skip(1) != b"(" {
            return None;
        }
        // Where the condition began: `else` means it a second time, the other way round.
        let mut condition = self.found.len();
        let mut last = None;
        let mut first = None;
        let mut apart = false;
        loop {
            self.space();
            match self.peek()? {
                b')' => return None,
                b'(' => apart |= self.expression(depth + 1)?,
                _ => self.simple()?,
            }
            self.space();
            if self.peek()? == b')' {
                break;
            }
            let operator = self.operator()?;
            let conditional = matches!(last, Some(Operator::If | Operator::Unless));
            let chained = matches!(operator, Operator::And | Operator::Or | Operator::With);
            match last {
                None => {}
                Some(_) if operator == Operator::Else && conditional => {}
                Some(last) if last == operator && chained => {}
                Some(_) => return None,
            }
            match operator {
                Operator::If | Operator::Unless => {
                    condition = self.found.len();
                    self.negated = !self.negated;
                }
                Operator::Else => {
                    let copies = self.found.get(condition..).unwrap_or_default().to_vec();
                    for copy in copies {
                        self.mention(copy.name, !copy.negated)?;
                    }
                    self.negated = !self.negated;
                }
                _ => {}
            }
            first = first.or(Some(operator));
            last = Some(operator);
        }
        self.skip(1);
        if apart && matches!(first, Some(Operator::With | Operator::Without)) {
            return None;
        }
        apart |= !matches!(last, None | Some(Operator::With | Operator::Without | Operator::Or));
        if matches!(last, Some(Operator::If | Operator::Unless)) {
            self.negated = !self.negated;
        }
        Some(apart)
    }
}

#[cfg(test)]
mod tests {
    use super::names;

    fn told(expression: &str) -> String {
        let names = names(expression.as_bytes());
        names.iter().map(|name| String::from_utf8_lossy(name).into_owned()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn names_are_listed_as_rpm_lists_them() {
        assert_eq!(told("(b or a)"), "a b");
        assert_eq!(told("(aa and (b if c else d))"), "aa b c d !c");
        assert_eq!(told("(e if f)"), "e !f");
        assert_eq!(told("(g without h)"), "g h");
        assert_eq!(told("(i with j >= 2)"), "i j");
        assert_eq!(told("(foe4 unless foe5 else foe6)"), "foe4 foe5 foe6 !foe5");
        assert_eq!(told("(lib(x)(64bit) and rpmlib(Rich) <= 4 and lib(x)(64bit))"), "lib(x)(64bit)");
        assert_eq!(told("(a if (b if c))"), "a c !b");
    }

    #[test]
    fn what_rpm_cannot_read_gives_no_names() {
        for broken in [
            "",
            "a",
            "(",
            "()",
            "(a",
            "(a b)",
            "(a and)",
            "(a and b or c)",
            "(a >= )",
            "(a xor b)",
            "(a with (b and c))",
        ] {
            assert_eq!(told(broken), "", "{broken:?}");
        }
        let deep = "(".repeat(100_000) + "a";
        assert_eq!(told(&deep), "");
        let growing = (0..40).fold("a".to_owned(), |inner, _| format!("(x if {inner} else y)"));
        assert_eq!(told(&growing), "");
    }
}
