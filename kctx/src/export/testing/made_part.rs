//! Documents of which a list makes what lies between two marks.

/// Fails where `document` is not what `made` makes of it; writes it instead where `KCTX_WRITE_DOCS` is set. The marks name
/// the folder of the list, and `filter` is that of the test.
pub(crate) fn check_made_part(document: &str, list: &str, made: &str, filter: &str) {
    const WRITE: &str = "KCTX_WRITE_DOCS";
    let path = format!("{}/../{document}", env!("CARGO_MANIFEST_DIR"));
    let old = std::fs::read_to_string(&path).unwrap();
    let [begin, end] = ["begin", "end"].map(|edge| format!("<!-- made from {list}: {edge} -->\n"));
    let (before, rest) =
        (old.split_once(&begin)).expect("the document has the mark of the beginning");
    let (_, after) = (rest.split_once(&end)).expect("the document has the mark of the end");
    let new = format!("{before}{begin}\n{made}\n{end}{after}");
    if std::env::var_os(WRITE).is_some() {
        std::fs::write(&path, &new).unwrap();
        return;
    }
    assert!(
        old == new,
        "{document} is not what {list} makes: write it with `{WRITE}=1 cargo test -p kctx --lib {filter}`"
    );
}
