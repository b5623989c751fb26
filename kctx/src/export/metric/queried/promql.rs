//! Names in a PromQL expression: as much of its grammar as it takes to tell metrics, labels and functions apart. A whole
//! parser would be forty crates for a test; promtool has one.

use std::collections::BTreeSet;

/// What an expression asks for.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Expression {
    pub(super) selectors: Vec<Selector>,
    /// Labels after `by`, `on` and their like.
    pub(super) grouped: BTreeSet<String>,
}

/// A metric, and which of its series.
#[derive(Debug, PartialEq)]
pub(super) struct Selector {
    pub(super) metric: String,
    pub(super) matchers: Vec<Matcher>,
}

/// A condition on a label.
#[derive(Debug, PartialEq)]
pub(super) struct Matcher {
    pub(super) label: String,
    value: String,
}

impl Matcher {
    /// The values that are spelled out: alternatives without anything that a pattern or Grafana would make another of.
    pub(super) fn plain_values(&self) -> impl Iterator<Item = &str> {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-|".contains(c);
        let plain = !self.value.is_empty() && self.value.chars().all(is_plain);
        plain.then(|| self.value.split('|')).into_iter().flatten()
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Name(String),
    Text(String),
    /// A number, a duration, a variable of Grafana's.
    Value,
    Sign(char),
}

const GROUPING: [&str; 6] = [
    "by",
    "without",
    "on",
    "ignoring",
    "group_left",
    "group_right",
];
const OPERATORS: [&str; 6] = ["and", "or", "unless", "atan2", "bool", "offset"];

impl Expression {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let tokens = tokens(text)?;
        let mut parsed = Self::default();
        let mut at = 0;
        while let Some(token) = tokens.get(at) {
            at += 1;
            let next = tokens.get(at);
            let opens = next == Some(&Token::Sign('('));
            match token {
                Token::Name(name) if GROUPING.contains(&name.as_str()) && opens => {
                    let labels = tokens[at..].iter().take_while(|t| **t != Token::Sign(')'));
                    for label in labels.inspect(|_| at += 1) {
                        if let Token::Name(label) = label {
                            parsed.grouped.insert(label.clone());
                        }
                    }
                }
                Token::Name(name) => {
                    let groups = matches!(next, Some(Token::Name(next)) if GROUPING.contains(&next.as_str()));
                    let is_function = opens || groups;
                    if !is_function && !OPERATORS.contains(&name.as_str()) {
                        let matchers = matchers(&tokens, &mut at)?;
                        let metric = name.clone();
                        parsed.selectors.push(Selector { metric, matchers });
                    }
                }
                Token::Sign('{') => return Err(format!("a selector without a metric: {text}")),
                _ => {}
            }
        }
        if parsed.selectors.is_empty() {
            return Err(format!("asks for nothing: {text}"));
        }
        Ok(parsed)
    }
}

/// What stands in the braces at `at`, if there are any; `at` is behind them afterwards.
fn matchers(tokens: &[Token], at: &mut usize) -> Result<Vec<Matcher>, String> {
    let mut matchers = Vec::new();
    if tokens.get(*at) != Some(&Token::Sign('{')) {
        return Ok(matchers);
    }
    *at += 1;
    loop {
        let rest = &tokens[*at..];
        match rest {
            [Token::Sign('}'), ..] => break *at += 1,
            [Token::Sign(','), ..] => *at += 1,
            [Token::Name(label), ..] => {
                let signs = rest[1..]
                    .iter()
                    .take_while(|t| matches!(t, Token::Sign('=' | '!' | '~')));
                let signs = signs.count();
                let Some(Token::Text(value)) = rest.get(1 + signs) else {
                    return Err(format!("{label} is compared with no text"));
                };
                let (label, value) = (label.clone(), value.clone());
                matchers.push(Matcher { label, value });
                *at += 2 + signs;
            }
            _ => return Err("braces that do not end".to_owned()),
        }
    }
    Ok(matchers)
}

fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
        let length = match first {
            '"' => {
                let end = rest[1..]
                    .find('"')
                    .ok_or_else(|| format!("a text that does not end: {text}"))?;
                tokens.push(Token::Text(rest[1..=end].to_owned()));
                end + 2
            }
            '0'..='9' | '$' => {
                tokens.push(Token::Value);
                rest[1..]
                    .find(|c| !is_name(c) && c != '.')
                    .map_or(rest.len(), |end| end + 1)
            }
            _ if is_name(first) => {
                let end = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
                tokens.push(Token::Name(rest[..end].to_owned()));
                end
            }
            _ => {
                if !first.is_whitespace() {
                    tokens.push(Token::Sign(first));
                }
                first.len_utf8()
            }
        };
        rest = &rest[length..];
    }
    Ok(tokens)
}

#[test]
fn metrics_labels_and_functions_are_told_apart() {
    let parsed = Expression::parse(
        "topk by (job) (3, histogram_quantile(0.99, sum by (le, vector) (rate(a_bucket{v=~\"x|y\", w!=\"\"}[$__rate_interval] offset 5m))))
         * on (instance) group_left () level:a:rate5m unless bool_flag > 1e-3",
    )
    .unwrap();
    let metrics: Vec<_> = parsed.selectors.iter().map(|s| s.metric.as_str()).collect();
    assert_eq!(metrics, ["a_bucket", "level:a:rate5m", "bool_flag"]);
    let grouped: Vec<_> = parsed.grouped.iter().map(String::as_str).collect();
    assert_eq!(grouped, ["instance", "job", "le", "vector"]);
    let matchers: Vec<_> = (parsed.selectors[0].matchers.iter())
        .map(|matcher| {
            (
                matcher.label.as_str(),
                matcher.plain_values().collect::<Vec<_>>(),
            )
        })
        .collect();
    assert_eq!(matchers, [("v", vec!["x", "y"]), ("w", vec![])]);
    for wrong in ["", "sum(1)", "{a=\"b\"}", "a{b=\"c\"", "a{b=1}", "a{b=\"c}"] {
        assert!(Expression::parse(wrong).is_err(), "{wrong}");
    }
}
