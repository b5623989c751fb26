//! Finding addresses in a line. Whatever is part of a longer word, number or path of names is none.

use std::{
    borrow::Cow,
    net::{Ipv4Addr, Ipv6Addr},
};

use super::pseudonyms::{Kind, Pseudonyms, is_kernel_address};

/// Something that was found: where it ends, and what stands for it; `None`: it is one of those that stay.
type Found = (usize, Option<What>);

#[derive(Debug, PartialEq, Eq)]
enum What {
    Pointer(u64),
    Named(Kind, String),
}

/// Writes the line with pseudonyms.
pub(super) fn line(line: &str, pseudonyms: &mut Pseudonyms, out: &mut String) {
    let bytes = line.as_bytes();
    let (mut at, mut kept_from, mut last_ip_end) = (0, 0, usize::MAX);
    while at < bytes.len() {
        let found = if begins(bytes, at) {
            find(line, at, last_ip_end)
        } else {
            None
        };
        if let Some((end, what)) = found {
            if matches!(what, Some(What::Named(Kind::Ip, _))) {
                last_ip_end = end;
            }
            if let Some(what) = what {
                out.push_str(&line[kept_from..at]);
                out.push_str(&match what {
                    What::Pointer(address) => pseudonyms.pointer(address),
                    What::Named(kind, text) => pseudonyms.of(kind, text),
                });
                kept_from = end;
            }
            at = end;
        } else if is_word(bytes[at]) {
            while at < bytes.len() && is_word(bytes[at]) {
                at += 1;
            }
        } else {
            at += 1;
        }
    }
    out.push_str(&line[kept_from..]);
}

/// Serial numbers, by the words before them.
pub(super) fn serials<'a>(line: &'a str, pseudonyms: &mut Pseudonyms) -> Cow<'a, str> {
    let lower = line.to_ascii_lowercase();
    let heads = [
        "serialnumber",
        "serial number",
        "serial no",
        "serial_number",
        "serial=",
    ];
    let Some((at, head)) = heads
        .into_iter()
        .find_map(|head| Some((lower.find(head)?, head)))
    else {
        return Cow::Borrowed(line);
    };
    let rest = &line[at + head.len()..];
    let value = rest.trim_start_matches([':', '=', '#', '.', ' ', '\t']);
    let start = line.len() - value.len();
    let length = value
        .find([',', ' ', '\t', '\n', '"'])
        .unwrap_or(value.len());
    let value = &value[..length];
    // `SerialNumber=3` of a USB descriptor is the number of a text.
    if length < 4 || !value.bytes().any(|byte| byte.is_ascii_digit()) {
        return Cow::Borrowed(line);
    }
    let pseudonym = pseudonyms.of(Kind::Serial, value.to_owned());
    Cow::Owned(format!(
        "{}{pseudonym}{}",
        &line[..start],
        &line[start + length..]
    ))
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || !byte.is_ascii()
}

/// Whether something may begin here: not within a word, and where a colon is before it, not within what that belongs to
/// (`std::ab`, `0000:00:1f`).
fn begins(bytes: &[u8], at: usize) -> bool {
    match at.checked_sub(1).map(|before| bytes[before]) {
        None => true,
        Some(b':') if bytes[at] == b':' => false,
        Some(before) => !is_word(before),
    }
}

/// Whether the colon before belongs to a label (`addr:`), or there is none.
fn is_after_label(bytes: &[u8], at: usize) -> bool {
    let Some(colon) = at.checked_sub(1).filter(|before| bytes[*before] == b':') else {
        return true;
    };
    let word = bytes[..colon]
        .iter()
        .rev()
        .take_while(|byte| is_word(**byte));
    let word: Vec<u8> = word.copied().collect();
    let is_group = word.len() <= 4 && word.iter().all(u8::is_ascii_hexdigit);
    !word.is_empty() && !is_group
}

fn find(line: &str, at: usize, last_ip_end: usize) -> Option<Found> {
    let bytes = line.as_bytes();
    let first = bytes[at];
    if !first.is_ascii_hexdigit() && first != b':' {
        return None;
    }
    uuid(line, at)
        .or_else(|| pointer(line, at))
        .or_else(|| mac(line, at))
        .or_else(|| ipv4(line, at, last_ip_end))
        .or_else(|| ipv6(line, at))
}

/// How many bytes from `at` on are hex digits.
fn hex_digits(bytes: &[u8], at: usize) -> usize {
    let digits = bytes.get(at..).unwrap_or_default().iter();
    digits.take_while(|byte| byte.is_ascii_hexdigit()).count()
}

/// Whether a word ends there.
fn ends(bytes: &[u8], at: usize) -> bool {
    bytes.get(at).is_none_or(|byte| !is_word(*byte))
}

/// `8-4-4-4-12`
fn uuid(line: &str, at: usize) -> Option<Found> {
    let bytes = line.as_bytes();
    let mut end = at;
    for (index, digits) in [8, 4, 4, 4, 12].into_iter().enumerate() {
        if index > 0 {
            (bytes.get(end) == Some(&b'-')).then_some(())?;
            end += 1;
        }
        (hex_digits(bytes, end) == digits).then_some(())?;
        end += digits;
    }
    ends(bytes, end).then_some(())?;
    let text = line[at..end].to_ascii_lowercase();
    Some((end, Some(What::Named(Kind::Uuid, text))))
}

/// Sixteen hex digits that are in the kernel's half, with `0x` or without.
fn pointer(line: &str, at: usize) -> Option<Found> {
    let bytes = line.as_bytes();
    let digits = match line.get(at..at + 2) {
        Some("0x" | "0X") => at + 2,
        _ => at,
    };
    let end = digits + 16;
    (hex_digits(bytes, digits) == 16 && ends(bytes, end)).then_some(())?;
    let address = u64::from_str_radix(&line[digits..end], 16).ok()?;
    is_kernel_address(address).then_some((end, Some(What::Pointer(address))))
}

/// Six groups of two hex digits or more (InfiniBand has twenty, netfilter writes two and a type).
fn mac(line: &str, at: usize) -> Option<Found> {
    let bytes = line.as_bytes();
    is_after_label(bytes, at).then_some(())?;
    let separator = *bytes
        .get(at + 2)
        .filter(|byte| matches!(byte, b':' | b'-'))?;
    let (mut end, mut groups) = (at, 0);
    loop {
        (hex_digits(bytes, end) == 2).then_some(())?;
        (end, groups) = (end + 2, groups + 1);
        if bytes.get(end) != Some(&separator) || hex_digits(bytes, end + 1) == 0 {
            break;
        }
        end += 1;
    }
    (groups >= 6 && ends(bytes, end)).then_some(())?;
    let text = line[at..end].to_ascii_lowercase().replace('-', ":");
    let of_all = |wanted: char| text.chars().all(|char| char == wanted || char == ':');
    let stays = of_all('0') || of_all('f');
    Some((end, (!stays).then_some(What::Named(Kind::Mac, text))))
}

/// Words after which four numbers are a version.
const VERSION_WORDS: [&str; 9] = [
    "version", "ver", "firmware", "fw", "release", "rev", "revision", "v", "build",
];

/// Four numbers up to 255, without zeros before them or all of three digits (`%pi4`).
fn ipv4(line: &str, at: usize, last_ip_end: usize) -> Option<Found> {
    let bytes = line.as_bytes();
    match at.checked_sub(1).map(|before| bytes[before]) {
        Some(b'.') => return None,
        // `linux-6.1.0.12`, but `10.0.0.1-10.0.0.9`
        Some(b'-') if last_ip_end != at - 1 => return None,
        _ => {}
    }
    let run = bytes[at..]
        .iter()
        .take_while(|byte| byte.is_ascii_digit() || **byte == b'.');
    let run = &line[at..at + run.count()];
    let run = run.trim_end_matches('.');
    let parts: Vec<&str> = run.split('.').collect();
    let [a, b, c, d] = parts[..] else {
        return None;
    };
    let padded = [a, b, c, d].iter().all(|part| part.len() == 3);
    let number = |part: &str| {
        let plain = part.len() == 1 || !part.starts_with('0');
        (plain || padded).then(|| part.parse::<u8>().ok()).flatten()
    };
    let address = Ipv4Addr::new(number(a)?, number(b)?, number(c)?, number(d)?);
    let end = at + run.len();
    // `6.1.0.12-generic`, `6.1.0.12-1`, `1.2.3.4_5`
    let follows = (bytes.get(end).copied(), bytes.get(end + 1).copied());
    let is_range = || {
        let other = line.get(end + 1..).unwrap_or_default();
        other.split('.').count() >= 4
    };
    match follows {
        (Some(b'-'), Some(next)) if next.is_ascii_alphabetic() => return None,
        (Some(b'-'), Some(next)) if next.is_ascii_digit() && !is_range() => return None,
        (Some(byte), _) if is_word(byte) => return None,
        _ => {}
    }
    let before = line[..at].trim_end_matches([' ', ':', '=', '\t']);
    let word = before
        .rsplit(|char: char| !char.is_ascii_alphanumeric())
        .next();
    let word = word.unwrap_or_default().to_ascii_lowercase();
    if VERSION_WORDS.contains(&word.as_str()) {
        return None;
    }
    let stays = address.is_loopback() || address.is_unspecified() || a == "255";
    let text = address.to_string();
    Some((end, (!stays).then_some(What::Named(Kind::Ip, text))))
}

/// Whatever the standard library takes for one.
fn ipv6(line: &str, at: usize) -> Option<Found> {
    let bytes = line.as_bytes();
    is_after_label(bytes, at).then_some(())?;
    let is_part = |byte: &&u8| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.');
    let length = bytes[at..].iter().take_while(is_part).count();
    let mut text = line[at..at + length].trim_end_matches('.');
    if text.ends_with(':') && !text.ends_with("::") {
        text = &text[..text.len() - 1];
    }
    let end = at + text.len();
    let colons = text.bytes().filter(|byte| *byte == b':').count();
    (colons >= 2 && ends(bytes, end)).then_some(())?;
    let address: Ipv6Addr = text.parse().ok()?;
    // Two words with `::` between them are rather a path of names (`bad::face`), unless something says that they are not.
    let says_so =
        bytes.get(end) == Some(&b'/') || at.checked_sub(1).map(|at| bytes[at]) == Some(b'[');
    let has_digit = text.bytes().any(|byte| byte.is_ascii_digit());
    if !has_digit && colons < 7 && !says_so {
        return None;
    }
    let stays = address.is_loopback() || address.is_unspecified();
    let text = match address.to_ipv4_mapped() {
        Some(mapped) => mapped.to_string(),
        None => address.to_string(),
    };
    Some((end, (!stays).then_some(What::Named(Kind::Ip, text))))
}
