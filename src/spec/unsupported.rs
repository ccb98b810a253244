//! Keys that are known and do nothing yet: they are refused in so many words, never ignored.

use schemars::{Schema, SchemaGenerator, json_schema};

use super::decode::{Decode, Decoder};
use super::problem::Problem;
use super::tree::Node;

/// A key that does nothing yet, whatever its value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NotYet;

impl Decode for NotYet {
    fn decode(node: &Node, decoder: &mut Decoder) -> Option<Self> {
        let message = format!("{} is not supported yet", decoder.path());
        decoder.refuse(Problem::error(&node.span, message).hint("remove the key"))
    }

    fn missing() -> Option<Self> {
        Some(Self)
    }

    fn schema(_: &mut SchemaGenerator) -> Option<Schema> {
        None
    }
}

/// A switch that can only be off yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OffOnly;

impl Decode for OffOnly {
    fn decode(node: &Node, decoder: &mut Decoder) -> Option<Self> {
        if bool::decode(node, decoder)? {
            let message = format!("{}: true is not supported yet", decoder.path());
            return decoder.refuse(Problem::error(&node.span, message).hint("remove the key, or write false"));
        }
        Some(Self)
    }

    fn missing() -> Option<Self> {
        Some(Self)
    }

    fn schema(_: &mut SchemaGenerator) -> Option<Schema> {
        Some(json_schema!({ "const": false }))
    }
}
