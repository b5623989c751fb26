//! Protobuf's wire format without any schema: what a message holds, by field numbers alone.

use anyhow::{Context as _, Result, bail};

/// One field of a message.
#[derive(Clone, Debug, PartialEq)]
pub enum Field<'a> {
    /// Wire type 0.
    Varint(u64),
    /// Wire type 1.
    Fixed64(u64),
    /// Wire type 2: text, bytes or a message.
    Bytes(&'a [u8]),
}

/// A message's fields in their order.
#[derive(Clone, Debug, Default)]
pub struct Message<'a>(pub Vec<(u64, Field<'a>)>);

impl<'a> Message<'a> {
    /// Takes a message apart.
    pub fn parse(mut bytes: &'a [u8]) -> Result<Self> {
        let mut fields = Vec::new();
        while !bytes.is_empty() {
            let key = varint(&mut bytes)?;
            let field = match key & 7 {
                0 => Field::Varint(varint(&mut bytes)?),
                1 => {
                    let (word, rest) = bytes.split_first_chunk().context("cut within 64 bits")?;
                    bytes = rest;
                    Field::Fixed64(u64::from_le_bytes(*word))
                }
                2 => {
                    let len = usize::try_from(varint(&mut bytes)?)?;
                    let (content, rest) = bytes.split_at_checked(len).context("cut in a field")?;
                    bytes = rest;
                    Field::Bytes(content)
                }
                other => bail!("wire type {other}"),
            };
            fields.push((key >> 3, field));
        }
        Ok(Self(fields))
    }

    /// The last number of this field.
    #[must_use]
    pub fn number(&self, wanted: u64) -> Option<u64> {
        self.numbers(wanted).last()
    }

    /// All numbers of this field.
    pub fn numbers(&self, wanted: u64) -> impl Iterator<Item = u64> {
        self.0
            .iter()
            .filter_map(move |(number, field)| match field {
                Field::Varint(value) | Field::Fixed64(value) if *number == wanted => Some(*value),
                _ => None,
            })
    }

    /// All messages of this field.
    pub fn messages(&self, wanted: u64) -> Result<Vec<Message<'a>>> {
        let all = self.0.iter().filter_map(|(number, field)| match field {
            Field::Bytes(bytes) if *number == wanted => Some(Message::parse(bytes)),
            _ => None,
        });
        all.collect()
    }

    /// The last text of this field.
    #[must_use]
    pub fn text(&self, wanted: u64) -> Option<String> {
        let mut all = self.0.iter().filter_map(|(number, field)| match field {
            Field::Bytes(bytes) if *number == wanted => Some(bytes),
            _ => None,
        });
        all.next_back()
            .map(|bytes| String::from_utf8_lossy(bytes).into_owned())
    }
}

fn varint(bytes: &mut &[u8]) -> Result<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first().context("cut within a number")?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    bail!("a number of more than 64 bits")
}
