//! A key together with what it was made of, so that two keys of one step can be told apart in words.

use serde::{Deserialize, Serialize};

use crate::digest::{Blake3, Key, KeyBuilder};

/// A key, and the digest of each input that went into it. No input itself is here: inputs may be secrets.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Recipe {
    /// The key.
    pub key: Key,
    /// Name of the step.
    pub step: String,
    /// What went into the key, in its order.
    pub inputs: Vec<Input>,
}

/// One input of a step.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Input {
    /// Its name.
    pub label: String,
    /// Digest of all of it.
    pub digest: Key,
    /// Digests of its elements, where they are to be told apart.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<Blake3>,
}

/// Builds a [`Recipe`]: each call adds the same to the key as that of [`KeyBuilder`], so that the inputs
/// say all that the key depends on.
pub struct RecipeBuilder {
    key: KeyBuilder,
    step: String,
    inputs: Vec<Input>,
}

impl RecipeBuilder {
    /// Starts a recipe for a step. `version` grows whenever the step's output may change.
    pub fn new(step: &str, version: u32) -> Self {
        let builder = Self { key: KeyBuilder::new(step, version), step: step.to_owned(), inputs: Vec::new() };
        builder.note("version", &[version.to_le_bytes()], false)
    }

    /// Adds one labelled field.
    #[must_use]
    pub fn field(mut self, label: &str, value: impl AsRef<[u8]>) -> Self {
        self.key = self.key.field(label, value.as_ref());
        self.note(label, &[value], false)
    }

    /// Adds a list.
    #[must_use]
    pub fn list<T: AsRef<[u8]>>(self, label: &str, values: impl IntoIterator<Item = T>) -> Self {
        self.all(label, values, false)
    }

    /// Adds a list whose elements can be told apart afterwards.
    #[must_use]
    pub fn members<T: AsRef<[u8]>>(self, label: &str, values: impl IntoIterator<Item = T>) -> Self {
        self.all(label, values, true)
    }

    /// Adds the key of another recipe, and takes over its step and its inputs.
    #[must_use]
    pub fn wrap(mut self, label: &str, inner: &Recipe) -> Self {
        self.key = self.key.field(label, inner.key);
        self.step.clone_from(&inner.step);
        self.inputs.extend(inner.inputs.iter().cloned());
        self
    }

    /// The recipe.
    pub fn finish(self) -> Recipe {
        Recipe { key: self.key.finish(), step: self.step, inputs: self.inputs }
    }

    fn all<T: AsRef<[u8]>>(mut self, label: &str, values: impl IntoIterator<Item = T>, apart: bool) -> Self {
        let values: Vec<T> = values.into_iter().collect();
        self.key = self.key.list(label, &values);
        self.note(label, &values, apart)
    }

    fn note<T: AsRef<[u8]>>(mut self, label: &str, values: &[T], apart: bool) -> Self {
        let members = values.iter().filter(|_| apart).map(|value| Blake3::of(value.as_ref())).collect();
        let digest = KeyBuilder::new("input", 1).list(label, values).finish();
        self.inputs.push(Input { label: label.to_owned(), digest, members });
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_that_of_the_same_fields() {
        let recipe = RecipeBuilder::new("x", 3).field("a", b"1").list("b", ["2", "3"]).members("c", ["4"]).finish();
        let key = KeyBuilder::new("x", 3).field("a", b"1").list("b", ["2", "3"]).list("c", ["4"]).finish();
        assert_eq!(recipe.key, key);
        let outer = RecipeBuilder::new("y", 1).wrap("step", &recipe).field("d", b"5").finish();
        assert_eq!(outer.key, KeyBuilder::new("y", 1).field("step", key).field("d", b"5").finish());
        assert_eq!(outer.step, "x");
    }

    #[test]
    fn inputs_differ_exactly_where_the_fields_do() {
        let recipe = |a: &str, b: &[&str]| RecipeBuilder::new("x", 1).field("a", a).members("b", b).finish();
        let digests = |recipe: &Recipe| recipe.inputs.iter().map(|input| input.digest).collect::<Vec<_>>();
        let (one, other) = (recipe("1", &["2", "3"]), recipe("1", &["23"]));
        assert_eq!(digests(&one)[..2], digests(&other)[..2]);
        assert_ne!(digests(&one)[2], digests(&other)[2]);
        assert_eq!(one.inputs[2].members, [Blake3::of(b"2"), Blake3::of(b"3")]);
        assert_ne!(one.key, other.key);
        assert_eq!(recipe("1", &["2", "3"]), one);
    }
}
