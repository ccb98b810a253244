//! Answers to the questions that packages ask while they are configured (debconf-devel(7)), as
//! the lines that `debconf-set-selections` reads.

use super::Error;

/// One answer.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Answer {
    /// The package that asks.
    pub package: String,
    /// The question, such as `tzdata/Areas`.
    pub question: String,
    /// The type of its template: `string`, `boolean`, `select`, `multiselect`, `note`, `text`,
    /// `password`.
    pub kind: String,
    /// The answer; may be empty.
    pub value: String,
}

/// The lines for `debconf-set-selections`, sorted, each ended.
///
/// # Errors
/// [`Error::Control`] for an answer that would not stay on its line or in its field.
pub fn selections(answers: &[Answer]) -> Result<String, Error> {
    let mut sorted: Vec<&Answer> = answers.iter().collect();
    sorted.sort();
    let mut text = String::new();
    for answer in sorted {
        let words = [&answer.package, &answer.question, &answer.kind];
        let broken =
            words.iter().any(|word| word.is_empty() || word.contains(|c: char| c.is_whitespace() || c.is_control()));
        if broken || answer.value.contains(['\n', '\r', '\0']) {
            let what = "debconf answer".to_owned();
            let reason = format!("{} {} does not fit on a line", answer.package, answer.question);
            return Err(Error::Control { what, line: 1, reason });
        }
        text.push_str(&format!("{} {} {} {}\n", answer.package, answer.question, answer.kind, answer.value));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_stays_on_its_line() {
        let answer = |value: &str| Answer {
            package: "tzdata".into(),
            question: "tzdata/Areas".into(),
            kind: "select".into(),
            value: value.into(),
        };
        assert_eq!(selections(&[answer("Etc")]).unwrap(), "tzdata tzdata/Areas select Etc\n");
        assert!(selections(&[answer("Etc\nevil evil boolean true")]).is_err());
    }
}
