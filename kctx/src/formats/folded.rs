//! Sampled stacks, folded: what flamegraph.pl and inferno read.

use std::{
    collections::BTreeMap,
    io::{self, Write},
};

use super::{LeftOut, Line, StackLine, Writer};

/// Stacks that are kept apart. The probes' table has 4096 at a time; more come only from many windows.
const STACKS: usize = 1 << 15;

/// Sums the samples, and writes them in the end, sorted.
pub struct Folded<'a> {
    out: Box<dyn Write + 'a>,
    stacks: BTreeMap<String, u64>,
    others: u64,
}

impl<'a> Folded<'a> {
    /// Onto `out`, which should be buffered.
    #[must_use]
    pub fn new(out: Box<dyn Write + 'a>) -> Self {
        Self {
            out,
            stacks: BTreeMap::new(),
            others: 0,
        }
    }
}

impl Writer for Folded<'_> {
    fn line(&mut self, line: &Line) -> io::Result<()> {
        let Line::Stack(stack) = line else {
            return Ok(());
        };
        let folded = fold(stack);
        if self.stacks.len() >= STACKS && !self.stacks.contains_key(&folded) {
            self.others = self.others.saturating_add(stack.count);
            return Ok(());
        }
        let count = self.stacks.entry(folded).or_default();
        *count = count.saturating_add(stack.count);
        Ok(())
    }

    fn finish(&mut self) -> io::Result<LeftOut> {
        for (stack, count) in std::mem::take(&mut self.stacks) {
            writeln!(self.out, "{stack} {count}")?;
        }
        if self.others > 0 {
            writeln!(self.out, "others {}", self.others)?;
        }
        self.out.flush()?;
        Ok(LeftOut {
            samples: self.others,
            ..LeftOut::default()
        })
    }
}

/// The context, then the frames from the outermost on.
fn fold(stack: &StackLine) -> String {
    let parts = std::iter::once(&stack.context).chain(&stack.frames);
    let parts: Vec<String> = parts.map(|part| one_frame(part)).collect();
    parts.join(";")
}

/// What is a separator of the format cannot be in a frame.
fn one_frame(name: &str) -> String {
    let separates = |c: char| c == ';' || c.is_whitespace() || c.is_control();
    name.replace(separates, "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stack(context: &str, frames: &[&str], count: u64) -> Line {
        Line::Stack(StackLine {
            context: context.to_owned(),
            frames: frames.iter().map(|&frame| frame.to_owned()).collect(),
            count,
        })
    }

    fn folded(lines: &[Line]) -> (String, LeftOut) {
        let mut out = Vec::new();
        let mut writer = Folded::new(Box::new(&mut out));
        for line in lines {
            writer.line(line).unwrap();
        }
        let left_out = writer.finish().unwrap();
        drop(writer);
        (String::from_utf8(out).unwrap(), left_out)
    }

    #[test]
    fn samples_of_one_stack_are_one_line() {
        let (text, left_out) = folded(&[
            stack("softirq:NET_RX", &["net_rx_action", "f"], 3),
            stack("kthread:rcu", &[], 1),
            stack("softirq:NET_RX", &["net_rx_action", "f"], 4),
        ]);
        assert_eq!(text, "kthread:rcu 1\nsoftirq:NET_RX;net_rx_action;f 7\n");
        assert_eq!(left_out, LeftOut::default());
    }

    #[test]
    fn no_name_adds_a_frame_or_a_line() {
        let (text, _) = folded(&[stack("softirq:NET_RX", &["a;b c\nd [m]"], 1)]);
        assert_eq!(text, "softirq:NET_RX;a_b_c_d_[m] 1\n");
    }

    #[test]
    fn stacks_beyond_the_bound_are_one_line_and_counted() {
        let many: Vec<Line> = (0..STACKS + 2)
            .map(|n| stack("kthread:rcu", &[&format!("f{n}")], 2))
            .collect();
        let (text, left_out) = folded(&many);
        assert_eq!(text.lines().count(), STACKS + 1);
        assert_eq!(text.lines().last(), Some("others 4"));
        assert_eq!(left_out.samples, 4);
    }
}
