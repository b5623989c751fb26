//! `kctx report --format html`: one file, with all that it needs.
//!
//! Tables are HTML already; what is drawn is JSON in the page, and its script draws it. The page fetches nothing, and its
//! policy lets it run no other script than its own, whatever a name has in it.

mod coded;
mod data;
pub(super) mod escape;
mod flame;
mod parts;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use sha2::{Digest as _, Sha256};

use self::{
    data::Data,
    escape::{escaped, script_json},
};
use super::{human::cut, reading::Reading, text};
use crate::diagnose::{Case, diagnose};

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// What the drawn parts stand in, until they are drawn.
const DRAWN: &str = include_str!("drawn.html");

/// Renders the page. It takes the timeline out of what was read.
pub fn render(reading: &mut Reading) -> anyhow::Result<String> {
    let data = Data::of(reading);
    let data = script_json(&serde_json::to_string(&data)?);
    let summary = &reading.summary;
    let case = Case {
        summary,
        evidence: &reading.evidence,
    };
    let title = format!("kctx: {}", cut(&summary.host.hostname, 60));
    let answer = parts::answer(summary, &diagnose(&case));
    let head = parts::head(summary, &reading.notes());
    let tables = text::page(summary);
    let changed = parts::changed(&reading.evidence, summary, reading.manifest.as_ref());
    let limits = parts::limits(reading.manifest.as_ref());
    let digest = STANDARD.encode(Sha256::digest(SCRIPT));
    Ok(format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; \
         script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n\
         <header><h1>{title}</h1><button id=\"theme\" type=\"button\">Dark or light</button></header>\n\
         <nav aria-label=\"Parts\"><a href=\"#answer\">Answer</a><a href=\"#when\">When</a><a href=\"#latency\">Latency</a>\
         <a href=\"#what\">What</a><a href=\"#stacks\">Stacks</a><a href=\"#happened\">Events</a>\
         <a href=\"#evidence\">Evidence</a><a href=\"#books\">Accounting</a></nav>\n<main>\n\
         <section id=\"answer\"><h2>Answer</h2>{answer}{head}</section>\n\
         {DRAWN}\
         <div id=\"what\"><h2>What ran, and what raised it</h2>{what}</div>\n\
         <div id=\"happened\"><h2>Events</h2>{happened}</div>\n\
         <div id=\"evidence\"><h2>Evidence: before and after</h2>{changed}</div>\n\
         <div id=\"books\"><h2>Accounting</h2>{books}{limits}</div>\n\
         </main>\n<div id=\"tip\" role=\"status\" aria-live=\"polite\" hidden></div>\n\
         <script type=\"application/json\" id=\"data\">{data}</script>\n<script>{SCRIPT}</script>\n</body>\n</html>\n",
        title = escaped(&title),
        what = tables.what,
        happened = tables.happened,
        books = tables.books,
    ))
}
