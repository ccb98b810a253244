//! A compact binary form for what passes between the program and its helper.
//!
//! Both ends are the same executable, so the form needs no versions; lengths are checked
//! all the same, because the helper answers for processes that are hostile.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

/// The bytes do not decode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed;

/// A value that can be written to and read from bytes.
pub(crate) trait Wire: Sized {
    fn put(&self, out: &mut Vec<u8>);
    fn get(input: &mut &[u8]) -> Result<Self, Malformed>;
}

/// Takes `len` bytes off the front of the input.
fn take<'a>(input: &mut &'a [u8], len: usize) -> Result<&'a [u8], Malformed> {
    let (head, rest) = input.split_at_checked(len).ok_or(Malformed)?;
    *input = rest;
    Ok(head)
}

macro_rules! wire_number {
    ($($type:ty),*) => {$(
        impl Wire for $type {
            fn put(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }
            fn get(input: &mut &[u8]) -> Result<Self, Malformed> {
                let bytes = take(input, size_of::<$type>())?;
                Ok(<$type>::from_le_bytes(bytes.try_into().map_err(|_| Malformed)?))
            }
        }
    )*};
}
wire_number!(u8, u32, i32, u64, i64);

impl Wire for usize {
    fn put(&self, out: &mut Vec<u8>) {
        (*self as u64).put(out);
    }
    fn get(input: &mut &[u8]) -> Result<Self, Malformed> {
        usize::try_from(u64::get(input)?).map_err(|_| Malformed)
    }
}

impl Wire for f64 {
    fn put(&self, out: &mut Vec<u8>) {
        self.to_bits().put(out);
    }
    fn get(input: &mut &[u8]) -> Result<Self, Malformed> {
        Ok(f64::from_bits(u64::get(input)?))
    }
}

impl Wire for bool {
    fn put(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }
    fn get(input: &mut &[u8]) -> Result<Self, Malformed> {
        match u8::get(input)? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Malformed),
        }
    }
}

/// Byte strings go through this type in fields of type `Vec<u8>`.
impl Wire for Vec<u8> {
    fn put(&self, out: &mut Vec<u8>) {
        self.len().put(out);
        out.extend_from_slice(self);
    }
    fn get(input: &mut &[u8]) -> Result<Self, Malformed> {
        let len = usize::get(input)?;
        Ok(take(input, len)?.to_vec())
    }
}

impl Wire for PathBuf {
    fn put(&self, out: &mut Vec<u8>) {
        self.as_os_str().as_bytes().to_vec().put(out);
    }
    fn get(input: &mut &[u8]) -> Result<Self, Malformed> {
        Ok(PathBuf::from(OsString::from_vec(Vec::get(input)?)))
    }
}

impl Wire for String {
    fn put(&self, out: &mut Vec<u8>) {
        self.as_bytes().to_vec().put(out);
    }
    fn get(input: &mut &[u8]) -> Result<Self, Malformed> {
        String::from_utf8(Vec::get(input)?).map_err(|_| Malformed)
    }
}

impl<T: Wire> Wire for Option<T> {
    fn put(&self, out: &mut Vec<u8>) {
        self.is_some().put(out);
        if let Some(value) = self {
            value.put(out);
        }
    }
    fn get(input: &mut &[u8]) -> Result<Self, Malformed> {
        Ok(if bool::get(input)? { Some(T::get(input)?) } else { None })
    }
}

impl<A: Wire, B: Wire> Wire for (A, B) {
    fn put(&self, out: &mut Vec<u8>) {
        self.0.put(out);
        self.1.put(out);
    }
    fn get(input: &mut &[u8]) -> Result<Self, Malformed> {
        Ok((A::get(input)?, B::get(input)?))
    }
}

macro_rules! wire_list {
    ($($type:ty),* $(,)?) => {$(
        impl $crate::wire::Wire for Vec<$type> {
            fn put(&self, out: &mut Vec<u8>) {
                self.len().put(out);
                for item in self {
                    item.put(out);
                }
            }
            fn get(input: &mut &[u8]) -> Result<Self, $crate::wire::Malformed> {
                let len = usize::get(input)?;
                // Grown as items arrive: a length that lies must not reserve memory.
                let mut list = Vec::new();
                for _ in 0..len {
                    list.push(<$type as $crate::wire::Wire>::get(input)?);
                }
                Ok(list)
            }
        }
    )*};
}
wire_list!(
    i32,
    Vec<u8>,
    PathBuf,
    (Vec<u8>, Vec<u8>),
    crate::session::Step,
    crate::changes::Change,
    crate::probe::Check,
);

/// Implements [`Wire`] for a struct, field by field.
macro_rules! wire_struct {
    ($name:ident { $($field:ident),* $(,)? }) => {
        impl $crate::wire::Wire for $name {
            fn put(&self, out: &mut Vec<u8>) {
                $($crate::wire::Wire::put(&self.$field, out);)*
            }
            fn get(input: &mut &[u8]) -> Result<Self, $crate::wire::Malformed> {
                Ok($name { $($field: $crate::wire::Wire::get(input)?),* })
            }
        }
    };
}
pub(crate) use wire_struct;

/// Implements [`Wire`] for an enum whose variants are unit, one-field tuples or structs.
macro_rules! wire_enum {
    ($name:ident { $($tag:literal => $variant:ident
        $(( $inner:ident ))? $({ $($field:ident),* })?),* $(,)? }) => {
        impl $crate::wire::Wire for $name {
            fn put(&self, out: &mut Vec<u8>) {
                match self {
                    $($name::$variant $(( $inner ))? $({ $($field),* })? => {
                        out.push($tag);
                        $($crate::wire::Wire::put($inner, out);)?
                        $($($crate::wire::Wire::put($field, out);)*)?
                    })*
                }
            }
            fn get(input: &mut &[u8]) -> Result<Self, $crate::wire::Malformed> {
                Ok(match <u8 as $crate::wire::Wire>::get(input)? {
                    $($tag => {
                        $(let $inner = $crate::wire::Wire::get(input)?;)?
                        $($(let $field = $crate::wire::Wire::get(input)?;)*)?
                        $name::$variant $(( $inner ))? $({ $($field),* })?
                    })*
                    _ => return Err($crate::wire::Malformed),
                })
            }
        }
    };
}
pub(crate) use wire_enum;

/// Decodes a whole message; bytes left over are an error.
pub(crate) fn decode<T: Wire>(mut input: &[u8]) -> Result<T, Malformed> {
    let value = T::get(&mut input)?;
    if input.is_empty() { Ok(value) } else { Err(Malformed) }
}
