//! Many small numbers in few bytes: two letters each, and how often it comes again.
//!
//! A number of 12 bits is two letters of 64, the upper six bits first; digits after it say how often it is there where
//! that is more than once. The page's script reads them back.

/// 64 letters, none of which is a digit or means anything to JSON or HTML.
const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%()*+,-./";

/// The highest number.
pub(super) const MOST: u64 = 4095;

/// Numbers that follow each other.
pub(super) fn coded(numbers: impl IntoIterator<Item = u64>) -> String {
    let mut text = String::new();
    let mut last: Option<(u64, usize)> = None;
    for number in numbers {
        let number = number.min(MOST);
        match &mut last {
            Some((same, times)) if *same == number => *times += 1,
            _ => {
                put(&mut text, last);
                last = Some((number, 1));
            }
        }
    }
    put(&mut text, last);
    text
}

fn put(text: &mut String, run: Option<(u64, usize)>) {
    let Some((number, times)) = run else {
        return;
    };
    for six_bits in [number >> 6, number & 63] {
        text.push(char::from(LETTERS[six_bits as usize & 63]));
    }
    if times > 1 {
        text.push_str(&times.to_string());
    }
}

/// A part of a whole, in 4095ths; what is there is never nothing.
pub(super) fn part(part: u64, whole: u64) -> u64 {
    if part == 0 || whole == 0 {
        return 0;
    }
    let scaled = u128::from(part) * u128::from(MOST) / u128::from(whole);
    u64::try_from(scaled).unwrap_or(MOST).clamp(1, MOST)
}

/// A count by its magnitude, to within 0.6 %: 0 of none, else 1 + 64 times its binary logarithm.
pub(super) fn magnitude(count: u64) -> u64 {
    if count == 0 {
        return 0;
    }
    1 + ((count as f64).log2() * 64.0).round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// As the page's script does.
    fn decoded(text: &str) -> Vec<u64> {
        let letter = |c: char| LETTERS.iter().position(|&l| char::from(l) == c).unwrap() as u64;
        let mut numbers = Vec::new();
        let mut rest = text.chars().peekable();
        while let Some(first) = rest.next() {
            let number = letter(first) << 6 | letter(rest.next().unwrap());
            let mut times = String::new();
            while let Some(digit) = rest.next_if(char::is_ascii_digit) {
                times.push(digit);
            }
            let times = times.parse().unwrap_or(1);
            numbers.extend(std::iter::repeat_n(number, times));
        }
        numbers
    }

    proptest! {
        #[test]
        fn numbers_are_read_back(numbers in prop::collection::vec(prop_oneof![Just(0u64), 0u64..5000], 0..300)) {
            let expected: Vec<u64> = numbers.iter().map(|n| (*n).min(MOST)).collect();
            prop_assert_eq!(decoded(&coded(numbers)), expected);
        }

        #[test]
        fn a_count_is_known_by_its_magnitude(count in 1u64..1_000_000_000_000) {
            let back = 2f64.powf((magnitude(count) - 1) as f64 / 64.0);
            prop_assert!((back / count as f64 - 1.0).abs() < 0.006);
        }
    }

    #[test]
    fn what_repeats_is_short() {
        assert_eq!(coded([0; 600]), "AA600");
        assert_eq!(
            (part(1, 1_000_000), part(0, 5), part(5, 5), part(7, 5)),
            (1, 0, MOST, MOST)
        );
    }
}
