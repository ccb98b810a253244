//! Rich dependencies: boolean expressions over dependencies (rpm's "Boolean Dependencies" page).

use std::fmt;

use super::Dependency;
use super::dependency::SyntaxError;

/// Longest expression that is read, in bytes. Real ones have some hundred.
const LENGTH_MAX: usize = 16 << 10;

/// Deepest nesting that is read. Real ones have two or three levels.
const DEPTH_MAX: usize = 24;

/// A boolean expression over dependencies.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Rich {
    /// One dependency.
    Simple(Dependency),
    /// `(a and b …)`: all of them.
    And(Vec<Rich>),
    /// `(a or b …)`: at least one of them.
    Or(Vec<Rich>),
    /// `(a if b)`, `(a if b else c)`: the first where the second holds, else the third.
    If(Box<Conditional>),
    /// `(a unless b)`, `(a unless b else c)`: the first where the second does not hold, else the
    /// third. What may stand in Conflicts, where `if` may not.
    Unless(Box<Conditional>),
    /// `(a with b …)`: one package that is all of them.
    With(Vec<Rich>),
    /// `(a without b)`: a package that is the first and not the second.
    Without(Box<(Rich, Rich)>),
}

/// The operands of `if` and `unless`.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Conditional {
    /// What stands before the operator.
    pub then: Rich,
    /// What stands after it.
    pub condition: Rich,
    /// What stands after `else`.
    pub otherwise: Option<Rich>,
}

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

impl Operator {
    fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "and" => Self::And,
            "or" => Self::Or,
            "if" => Self::If,
            "unless" => Self::Unless,
            "else" => Self::Else,
            "with" => Self::With,
            "without" => Self::Without,
            _ => return None,
        })
    }
}

impl Rich {
    /// Reads an expression with its outer parentheses; a plain dependency is one too.
    ///
    /// # Errors
    /// [`SyntaxError`] with the place, also for what nests deeper than 24 levels or is longer
    /// than 16 KiB.
    pub fn parse(text: &str) -> Result<Self, SyntaxError> {
        if text.len() > LENGTH_MAX {
            return Err(SyntaxError::new(text, LENGTH_MAX, "the expression is too long"));
        }
        let mut reader = Reader { text, at: 0 };
        reader.skip_space();
        let rich = match reader.peek() {
            Some(b'(') => reader.expression(0)?,
            _ => return Dependency::parse(text).map(Self::Simple),
        };
        reader.skip_space();
        match reader.peek() {
            None => Ok(rich),
            Some(_) => Err(reader.refuse("the expression should end here")),
        }
    }

    /// All dependencies in it, from left to right.
    pub fn dependencies(&self) -> Vec<&Dependency> {
        let mut found = Vec::new();
        let mut stack = vec![self];
        while let Some(rich) = stack.pop() {
            match rich {
                Self::Simple(dependency) => found.push(dependency),
                Self::And(parts) | Self::Or(parts) | Self::With(parts) => stack.extend(parts.iter().rev()),
                Self::If(conditional) | Self::Unless(conditional) => {
                    stack.extend(&conditional.otherwise);
                    stack.extend([&conditional.condition, &conditional.then]);
                }
                Self::Without(pair) => stack.extend([&pair.1, &pair.0]),
            }
        }
        found
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn refuse(&self, reason: &'static str) -> SyntaxError {
        SyntaxError::new(self.text, self.at, reason)
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while self.peek().is_some_and(|byte| byte.is_ascii_whitespace()) {
            self.at += 1;
        }
    }

    /// What stands before white space, or before the parenthesis that closes the expression; a
    /// name's own parentheses are part of it.
    fn word(&mut self) -> &'a str {
        self.skip_space();
        let start = self.at;
        let mut open = 0usize;
        while let Some(byte) = self.peek() {
            match byte {
                b'(' => open += 1,
                b')' if open == 0 => break,
                b')' => open -= 1,
                byte if byte.is_ascii_whitespace() => break,
                _ => {}
            }
            self.at += 1;
        }
        self.text.get(start..self.at).unwrap_or_default()
    }

    /// The operator that comes next, or `None` before the closing parenthesis.
    fn operator(&mut self) -> Result<Option<Operator>, SyntaxError> {
        self.skip_space();
        match self.peek() {
            Some(b')') => return Ok(None),
            None => return Err(self.refuse("a parenthesis is not closed")),
            Some(_) => {}
        }
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_lowercase()) {
            self.at += 1;
        }
        match Operator::parse(self.text.get(start..self.at).unwrap_or_default()) {
            Some(operator) => Ok(Some(operator)),
            None => {
                self.at = start;
                Err(self.refuse("an operator such as 'and', 'or' or 'if' is expected here"))
            }
        }
    }

    fn expression(&mut self, depth: usize) -> Result<Rich, SyntaxError> {
        if depth >= DEPTH_MAX {
            return Err(self.refuse("the expression nests too deep"));
        }
        // The parenthesis that opens it.
        self.at += 1;
        let first = self.operand(depth)?;
        let rich = match self.operator()? {
            None => first,
            Some(Operator::And) => Rich::And(self.chain(first, Operator::And, depth)?),
            Some(Operator::Or) => Rich::Or(self.chain(first, Operator::Or, depth)?),
            Some(Operator::With) => Rich::With(self.chain(first, Operator::With, depth)?),
            Some(Operator::Without) => {
                let second = self.operand(depth)?;
                self.end()?;
                Rich::Without(Box::new((first, second)))
            }
            Some(operator @ (Operator::If | Operator::Unless)) => {
                let condition = self.operand(depth)?;
                let start = self.at;
                let otherwise = match self.operator()? {
                    None => None,
                    Some(Operator::Else) => Some(self.operand(depth)?),
                    Some(_) => {
                        self.at = start;
                        return Err(self.refuse("only 'else' can follow here"));
                    }
                };
                self.end()?;
                let conditional = Box::new(Conditional { then: first, condition, otherwise });
                if operator == Operator::If { Rich::If(conditional) } else { Rich::Unless(conditional) }
            }
            Some(Operator::Else) => return Err(self.refuse("'else' without 'if' or 'unless'")),
        };
        // The one that closes it: operators and ends were looked for until it came.
        self.at += 1;
        if matches!(rich, Rich::With(_) | Rich::Without(_)) && !is_about_one_package(&rich) {
            return Err(self.refuse("only 'or', 'with' and 'without' can stand within 'with' and 'without'"));
        }
        Ok(rich)
    }

    fn chain(&mut self, first: Rich, operator: Operator, depth: usize) -> Result<Vec<Rich>, SyntaxError> {
        let mut parts = vec![first, self.operand(depth)?];
        loop {
            let start = self.at;
            match self.operator()? {
                None => return Ok(parts),
                Some(next) if next == operator => parts.push(self.operand(depth)?),
                Some(_) => {
                    self.at = start;
                    return Err(self.refuse("different operators need parentheses"));
                }
            }
        }
    }

    fn end(&mut self) -> Result<(), SyntaxError> {
        let start = self.at;
        match self.operator()? {
            None => Ok(()),
            Some(_) => {
                self.at = start;
                Err(self.refuse("different operators need parentheses"))
            }
        }
    }

    fn operand(&mut self, depth: usize) -> Result<Rich, SyntaxError> {
        self.skip_space();
        if self.peek() == Some(b'(') {
            return self.expression(depth + 1);
        }
        let start = self.at;
        let name = self.word();
        if name.is_empty() || Operator::parse(name).is_some() {
            self.at = start;
            return Err(self.refuse("a dependency is expected here"));
        }
        let mut end = self.at;
        self.skip_space();
        if self.peek().is_some_and(|byte| matches!(byte, b'<' | b'>' | b'=')) {
            self.word();
            self.word();
            end = self.at;
        }
        self.at = end;
        let text = self.text.get(start..end).unwrap_or_default();
        let place = |error: SyntaxError| SyntaxError::new(self.text, start + error.at, error.reason);
        Dependency::parse(text).map(Rich::Simple).map_err(place)
    }
}

/// Whether an expression asks something of one package.
fn is_about_one_package(rich: &Rich) -> bool {
    match rich {
        Rich::Simple(_) => true,
        Rich::Or(parts) | Rich::With(parts) => parts.iter().all(is_about_one_package),
        Rich::Without(pair) => is_about_one_package(&pair.0) && is_about_one_package(&pair.1),
        Rich::And(_) | Rich::If(_) | Rich::Unless(_) => false,
    }
}

impl fmt::Display for Rich {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let join = |f: &mut fmt::Formatter<'_>, parts: &[Rich], operator: &str| {
            for (at, part) in parts.iter().enumerate() {
                match at {
                    0 => write!(f, "({part}")?,
                    _ => write!(f, " {operator} {part}")?,
                }
            }
            f.write_str(")")
        };
        let conditional = |f: &mut fmt::Formatter<'_>, parts: &Conditional, operator: &str| {
            write!(f, "({} {operator} {}", parts.then, parts.condition)?;
            match &parts.otherwise {
                Some(otherwise) => write!(f, " else {otherwise})"),
                None => f.write_str(")"),
            }
        };
        match self {
            Self::Simple(dependency) => dependency.fmt(f),
            Self::And(parts) => join(f, parts, "and"),
            Self::Or(parts) => join(f, parts, "or"),
            Self::With(parts) => join(f, parts, "with"),
            Self::Without(pair) => write!(f, "({} without {})", pair.0, pair.1),
            Self::If(parts) => conditional(f, parts, "if"),
            Self::Unless(parts) => conditional(f, parts, "unless"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_written_again() {
        for text in [
            "(a and b)",
            "(a or b or c >= 1:2-3)",
            "(a if b)",
            "(a >= 1 if (b and c) else (d or e))",
            "(a unless b else c)",
            "(a with b < 2 with c)",
            "(a without b)",
            "((a or b) with c)",
            "(python(abi) = 3.9 and libc.so.6(GLIBC_2.4)(64bit) and /bin/sh)",
            "((a if b) and (c or (d and e)))",
        ] {
            let rich = Rich::parse(text).unwrap();
            assert_eq!(rich.to_string(), text);
            assert_eq!(Rich::parse(&rich.to_string()).unwrap(), rich);
        }
        assert_eq!(Rich::parse(" ( a  and( b or c)) ").unwrap().to_string(), "(a and (b or c))");
        assert_eq!(Rich::parse("(a)").unwrap(), Rich::Simple(Dependency::any("a")));
        assert_eq!(Rich::parse("a").unwrap(), Rich::Simple(Dependency::any("a")));
        let names: Vec<_> =
            Rich::parse("((a if b else c) or d)").unwrap().dependencies().iter().map(|d| d.to_string()).collect();
        assert_eq!(names, ["a", "b", "c", "d"]);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        let refused = |text: &str| {
            let error = Rich::parse(text).unwrap_err();
            format!("{}: {}", error.at, error.reason)
        };
        assert_eq!(refused("(a and b"), "8: a parenthesis is not closed");
        assert_eq!(refused("(a and b or c)"), "8: different operators need parentheses");
        assert_eq!(refused("(a without b without c)"), "12: different operators need parentheses");
        assert_eq!(refused("(a if b and c)"), "7: only 'else' can follow here");
        assert_eq!(refused("(a else b)"), "7: 'else' without 'if' or 'unless'");
        assert_eq!(refused("(and b)"), "1: a dependency is expected here");
        assert_eq!(refused("(a and )"), "7: a dependency is expected here");
        assert_eq!(refused("()"), "1: a dependency is expected here");
        assert_eq!(refused("(a b)"), "3: an operator such as 'and', 'or' or 'if' is expected here");
        assert_eq!(refused("(a and b) c"), "10: the expression should end here");
        assert_eq!(refused("(a >= and b)"), "10: an operator such as 'and', 'or' or 'if' is expected here");
        assert_eq!(refused("(a >= 1:x:y or b)"), "9: a version cannot have this character");
        assert_eq!(
            refused("((a and b) with c)"),
            "18: only 'or', 'with' and 'without' can stand within 'with' and 'without'"
        );
    }

    #[test]
    fn hostile_expressions_end() {
        let deep = "(".repeat(LENGTH_MAX);
        assert_eq!(Rich::parse(&deep).unwrap_err().reason, "the expression nests too deep");
        let nested = format!("{}a{}", "(".repeat(DEPTH_MAX), ")".repeat(DEPTH_MAX));
        assert!(Rich::parse(&nested).is_ok());
        let nested = format!("{}a{}", "(".repeat(DEPTH_MAX + 1), ")".repeat(DEPTH_MAX + 1));
        assert!(Rich::parse(&nested).is_err());
        let long = format!("(a{})", " or a".repeat(LENGTH_MAX));
        assert_eq!(Rich::parse(&long).unwrap_err().reason, "the expression is too long");
        for text in ["", "(", "(é", "(a é b)", "(\0 and b)", "( ( ( ", "(a("] {
            assert!(Rich::parse(text).is_err(), "{text:?}");
        }
    }
}
